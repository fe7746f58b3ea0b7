import { StepError } from '../../core/errors.ts'
import { isDirty } from '../../core/git/commit.ts'
import type { Image } from '../../image/image.ts'
import type { WarDigests } from '../../image/war/war.ts'
import type { Release } from '../../ledger/ledger.ts'
import { parseRepository, type Reference, withDigest } from '../../registry/reference.ts'
import type { Context } from '../context.ts'
import { formatRelease } from '../release-name.ts'
import { openImage, readBlob } from './remote-image.ts'

export interface RecordedImage {
  image: Image
  reference: Reference
}

/**
 * The image of a release that was made before from the same WAR and commit: a job that runs again
 * must not build it anew, as a Dockerfile gives another digest each time, and a release keeps its own.
 * CONFLICT for a release that was made from something else.
 */
export async function findRecordedImage(
  { app, number, commit }: { app: string; number: string | undefined; commit?: string | undefined },
  { sha256 }: WarDigests,
  context: Context,
): Promise<RecordedImage | undefined> {
  if (number === undefined || !(await context.hasSettings())) return undefined
  const release = await (await context.ledger()).findRelease(app, number)
  if (!release) return undefined
  const difference = differenceOf(release, { sha256, commit: commit ?? context.actor.commit })
  if (difference !== undefined) {
    throw new StepError(
      'CONFLICT',
      `${formatRelease(release)} is recorded already, ${difference}`,
      {
        hint: 'A release never changes. Build this image as another version.',
      },
    )
  }
  const registry = await context.registry()
  const place = withDigest(parseRepository(release.repository), release.digest)
  const found = await openImage(registry, place, { what: `image of ${formatRelease(release)}` })
  const configBytes = await readBlob(registry, place, found.content.config)
  context.log.info(
    `${formatRelease(release)} is recorded already: its image is taken, not built again`,
  )
  const { manifest, content, config, reference } = found
  return { image: { manifest, content, config, configBytes }, reference }
}

function differenceOf(
  release: Release,
  { sha256, commit }: { sha256: string; commit: string | undefined },
): string | undefined {
  if (release.warSha256 !== sha256) return `with another WAR (MD5 ${release.warMd5})`
  if (release.commit !== commit) return `from commit ${release.commit ?? '(none)'}`
  if (commit === undefined) return 'and no commit says that the Dockerfile is the same'
  return isDirty(commit) ? 'from files that are in no commit' : undefined
}
