import type { Digest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { labels } from '../image/image.ts'
import { parseReference, type Reference, sameRepository } from '../registry/reference.ts'
import type { EnvironmentSettings } from '../settings.ts'
import { type HostResponse, isSuccess } from '../targets/responses.ts'
import type { HostImage, HostImages, Target } from '../targets/target.ts'
import type { Context } from './context.ts'
import { type ImageNeeds, imageNeeds } from './retention.ts'

/**
 * Why an image stays: an instance was made from it, a rollback would need it, or it is one of the
 * newest. `none`: nobody needs it. `foreign`: it is another application's, and nothing is done to it.
 */
export type ImageUse = 'runs' | 'stopped' | 'rollback' | 'newest' | 'none' | 'foreign'

export interface FoundImage {
  host: string
  image: HostImage
  use: ImageUse
  /** As the ledger knows it, else as its label says. */
  version: string | undefined
  digests: Digest[]
  /** Its names in the environment's repository. */
  own: string[]
}

export interface FoundImages {
  found: FoundImage[]
  responses: HostResponse<HostImage[]>[]
}

/** The images of every host, with what each is needed for; `keep` counts as for `retention`. */
export async function findImages(
  { environment, target, keep }: { environment: EnvironmentSettings; target: Target; keep: number },
  context: Context,
): Promise<FoundImages> {
  const { app } = await context.settings()
  const [needs, responses] = await Promise.all([
    imageNeeds(await environmentsOf(environment, context), keep, context),
    requireImages(environment, target).list(),
  ])
  const judge = (host: string, image: HostImage) =>
    judgeImage(host, image, { app, environment, needs })
  const found = responses
    .filter(isSuccess)
    .flatMap(({ host, value }) => value.map((image) => judge(host, image)))
  return { found, responses }
}

export function requireImages({ name }: EnvironmentSettings, { images }: Target): HostImages {
  if (images) return images
  throw new StepError('INPUT_INVALID', `the target of ${name} clears images away itself`, {
    hint: 'Nothing has to be done here.',
  })
}

/** All whose images are in the same repository: what any of them needs stays. */
async function environmentsOf({ image }: EnvironmentSettings, context: Context): Promise<string[]> {
  const { environments } = await context.settings()
  return Object.entries(environments).flatMap(([name, other]) =>
    sameRepository(other.image, image) ? [name] : [],
  )
}

interface Judging {
  app: string
  environment: EnvironmentSettings
  needs: ImageNeeds
}

export function judgeImage(
  host: string,
  image: HostImage,
  { app, environment, needs }: Judging,
): FoundImage {
  const own = image.references.flatMap((text) => {
    const reference = readReference(text)
    const isHere = reference && sameRepository(reference, environment.image)
    return isHere ? [{ text, reference }] : []
  })
  const digests = own.flatMap(({ reference: { digest } }) => (digest ? [digest] : []))
  const of = image.labels[labels.application]
  const isOwn = own.length > 0 && (of === undefined || of === app)
  const release = needs.releases.find(({ digest }) => digests.includes(digest))
  return {
    host,
    image,
    digests,
    own: isOwn ? own.map(({ text }) => text) : [],
    version: release?.version ?? image.labels[labels.version],
    use: isOwn ? useOf(image, digests, needs) : 'foreign',
  }
}

/** Undefined for a name that is none of ours: engines keep more than registries allow. */
function readReference(text: string): Reference | undefined {
  try {
    return parseReference(text)
  } catch {
    return undefined
  }
}

function useOf({ usedBy }: HostImage, digests: readonly Digest[], needs: ImageNeeds): ImageUse {
  if (usedBy.some(({ running }) => running)) return 'runs'
  if (usedBy.length > 0) return 'stopped'
  if (digests.some((digest) => needs.deployed.has(digest))) return 'rollback'
  return digests.some((digest) => needs.newest.has(digest)) ? 'newest' : 'none'
}

/** Takes the environment's own names from each image; gives what was removed. */
export async function removeImages(
  images: readonly FoundImage[],
  store: HostImages,
  { signal, log }: Pick<Context, 'signal' | 'log'>,
  check: () => Promise<void> = async () => {},
): Promise<void> {
  for (const { host, own, version } of images) {
    signal.throwIfAborted()
    await check()
    for (const reference of own) await store.remove(host, reference)
    log.info(`${host}: removed the image of ${version ?? own[0]}`)
  }
}

/** An image on a host, for people: `webapi@1.4.2`, else its digest. */
export function nameOfImage({ version, digests, image: { id } }: FoundImage, app: string): string {
  return version === undefined ? (digests[0] ?? id) : `${app}@${version}`
}
