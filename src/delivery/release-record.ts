import type { Digest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { labels } from '../image/image.ts'
import { formatRepository, type Repository } from '../registry/reference.ts'
import type { Settings } from '../settings.ts'
import type { Context } from './context.ts'
import { formatRelease, type ReleaseName } from './release-name.ts'
import { describeCommit } from './source/commit.ts'

/** An image that is in the registry. */
export interface PushedImage {
  digest: Digest
  /** What bake-image wrote into it. */
  labels: Readonly<Record<string, string>>
  target: Repository
  reason: string | undefined
}

/** The release that an image says it is. */
export function releaseOf(found: Readonly<Record<string, string>>): ReleaseName | undefined {
  const { [labels.application]: app, [labels.version]: version } = found
  return app !== undefined && version !== undefined ? { app, version } : undefined
}

/** A version keeps its digest for ever. */
export async function refuseOtherDigest(
  release: ReleaseName,
  digest: Digest,
  context: Context,
): Promise<void> {
  const known = await (await context.ledger()).findRelease(release.app, release.version)
  if (!known || known.digest === digest) return
  throw new StepError('CONFLICT', `${formatRelease(release)} is ${known.digest}, not ${digest}`, {
    hint: 'A release never changes. Bake this image as another version.',
  })
}

/** Writes who made the release, of what, into the ledger. */
export async function recordRelease(
  { app, version }: ReleaseName,
  { digest, labels: label, target, reason }: PushedImage,
  context: Context,
): Promise<void> {
  const { actor } = context
  // Where the settings name an issuer, plain variables prove no identity.
  const who = await context.identify(undefined, { required: false, strict: false })
  const commit = label[labels.revision] ?? actor.commit
  const ledger = await context.ledger()
  await ledger.recordRelease({
    app,
    version,
    digest,
    baseDigest: label[labels.baseDigest] as Digest | undefined,
    warMd5: label[labels.warMd5] ?? '',
    warSha256: label[labels.warSha256] ?? '',
    warSize: Number(label[labels.warSize] ?? 0),
    repository: formatRepository(target),
    commit,
    ...(await describeCommit(commit, context)),
    branch: actor.branch,
    pipelineUrl: actor.pipelineUrl,
    jobUrl: actor.jobUrl,
    reason,
    bakedBy: who.login,
    bakedIdentity: who.identity,
    bakedById: who.id,
    bakedByMail: who.mail,
    bakedAt: new Date().toISOString(),
  })
}

/** The version after the last one: of the server's ledger where one is named, else of our own. */
export async function nextVersion(app: string, context: Context): Promise<string> {
  const server = await context.server?.()
  if (server === undefined) return (await context.ledger()).nextVersion(app)
  return server.nextVersion(app, firstEnvironment(await context.settings()))
}

/** Where a release begins; with a repository, the environment that has its image there. */
export function firstEnvironment(
  { environments, file }: Pick<Settings, 'environments' | 'file'>,
  repository?: Repository,
): string {
  const firsts = Object.entries(environments).filter(([, { from }]) => from === undefined)
  const wanted = repository && formatRepository(repository)
  const isThere = ({ image }: { image?: Repository | undefined }) =>
    image !== undefined && formatRepository(image) === wanted
  const [name] = firsts.find(([, environment]) => isThere(environment)) ?? firsts[0] ?? []
  if (name !== undefined) return name
  throw new StepError('INPUT_INVALID', `${file}: no environment is the first`, {
    hint: 'Add one without `from:` under environments; a release begins there.',
  })
}
