import type { Digest } from '../core/digest.ts'
import { explain, StepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { isForeign, isIndex, readIndex, readManifest } from './manifest.ts'
import { formatReference, type Reference, sameRepository, withDigest } from './reference.ts'
import type { BlobOutcome, Descriptor, Manifest, RegistryClient } from './types.ts'

export interface CopyOptions {
  /** Move the target's tag when it holds another digest. */
  overwrite: boolean
  log: Log
  /** `linux/amd64` or `linux/arm/v7`: copy this image of an index only; the digest is then its own. */
  platform?: string | undefined
}

export interface CopyResult {
  digest: Digest
  /** False when the target was equal already. */
  changed: boolean
  blobs: Record<BlobOutcome, number>
}

/** An index of indexes is allowed; a deeper nest is a mistake. */
const DEEPEST = 3

/**
 * Copies an image, or an index with all its images, by digest: what arrives has the digest of what
 * left. Nothing is written when the target is equal already. CONFLICT when the target's tag holds
 * another digest and `overwrite` is not set.
 */
export async function copyImage(
  client: RegistryClient,
  source: Reference,
  target: Reference,
  options: CopyOptions,
): Promise<CopyResult> {
  const blobs = { present: 0, mounted: 0, uploaded: 0 }
  const authorized = client.authorizePush(target, [source])
  if (source.registry === target.registry) await authorized
  const reading = client.getManifest(source)
  reading.catch(() => {})
  await authorized
  const held = target.tag === undefined ? undefined : await client.resolve(tagOf(target))
  const wanted = options.platform === undefined ? source.digest : undefined
  if (held !== undefined && held === wanted) return { digest: held, changed: false, blobs }

  const manifest = await selectPlatform(client, source, await reading, options.platform)
  const { digest } = manifest
  refuseOtherDigest(target, digest)
  const there = target.tag === undefined ? await client.resolve(withDigest(target, digest)) : held
  if (there === digest) return { digest, changed: false, blobs }
  if (!options.overwrite) refuseTaken(target, held, digest)

  if (!sameRepository(source, target)) {
    const count = (outcome: BlobOutcome) => {
      blobs[outcome]++
    }
    await copyContent(client, source, target, manifest, count, 0)
  }
  await client.putManifest(target.tag ? tagOf(target) : withDigest(target, digest), manifest)
  options.log.debug(`copied ${formatReference(source)} to ${formatReference(target)}`)
  return { digest, changed: true, blobs }
}

function tagOf({ registry, name, tag = '' }: Reference): Reference {
  return { registry, name, tag }
}

function refuseOtherDigest(target: Reference, digest: Digest): void {
  if (target.digest === undefined || target.digest === digest) return
  throw new StepError('INPUT_INVALID', `${formatReference(target)} cannot hold ${digest}`, {
    hint: 'Leave the digest out of the target.',
  })
}

/** CONFLICT when the target's tag holds another digest: a tag is not moved unless that is asked for. */
export function refuseTaken(target: Reference, held: Digest | undefined, digest: Digest): void {
  if (held === undefined || held === digest) return
  const message = `${formatReference(tagOf(target))} is ${held} already, not ${digest}`
  throw new StepError('CONFLICT', message, {
    hint: 'Use another tag, or say overwrite to move this one.',
  })
}

/** Everything that `manifest` names, but not itself: a registry wants the parts first. */
async function copyContent(
  client: RegistryClient,
  source: Reference,
  target: Reference,
  manifest: Manifest,
  count: (outcome: BlobOutcome) => void,
  depth: number,
): Promise<void> {
  if (isIndex(manifest)) {
    if (depth >= DEEPEST) {
      throw new StepError('INPUT_INVALID', `${formatReference(source)}: indexes nested too deep`)
    }
    await Promise.all(
      readChildren(source, manifest).map(async ({ digest }) => {
        const place = withDigest(target, digest)
        if ((await client.resolve(place)) === digest) return
        const child = await client.getManifest(withDigest(source, digest))
        await copyContent(client, source, target, child, count, depth + 1)
        await client.putManifest(place, child)
      }),
    )
    return
  }
  await Promise.all(
    readBlobs(source, manifest).map(async (blob) => {
      const open = () => client.getBlob(source, blob)
      count(await client.ensureBlob(target, blob, open, source))
    }),
  )
}

async function selectPlatform(
  client: RegistryClient,
  source: Reference,
  manifest: Manifest,
  platform: string | undefined,
): Promise<Manifest> {
  if (platform === undefined || !isIndex(manifest)) return manifest
  const children = readChildren(source, manifest)
  const child =
    children.find((child) => formatPlatform(child) === platform) ??
    children.find((child) => formatPlatform(child)?.startsWith(`${platform}/`))
  if (child) return client.getManifest(withDigest(source, child.digest))
  const known = children.map(formatPlatform).filter((name) => name !== undefined)
  throw new StepError('NOT_FOUND', `${formatReference(source)} has no image for ${platform}`, {
    hint: `It has: ${known.join(', ') || 'none with a platform'}.`,
  })
}

function formatPlatform({ platform }: Descriptor): string | undefined {
  if (!platform) return undefined
  const { os, architecture, variant } = platform
  return variant ? `${os}/${architecture}/${variant}` : `${os}/${architecture}`
}

function readChildren(source: Reference, { bytes }: Manifest): Descriptor[] {
  return unique(named(source, () => readIndex(bytes)))
}

/** Config and layers, each once, without foreign layers. */
function readBlobs(source: Reference, { bytes }: Manifest): Descriptor[] {
  const { config, layers } = named(source, () => readManifest(bytes))
  return unique([config, ...layers].filter((blob) => !isForeign(blob)))
}

function named<T>(source: Reference, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw explain(formatReference(source), error)
  }
}

function unique(descriptors: Descriptor[]): Descriptor[] {
  return [...new Map(descriptors.map((descriptor) => [descriptor.digest, descriptor])).values()]
}
