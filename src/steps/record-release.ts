import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import { withoutMark } from '../core/git/commit.ts'
import type { Context } from '../delivery/context.ts'
import { openImage } from '../delivery/image/remote-image.ts'
import { formatRelease, requireApplication } from '../delivery/release-name.ts'
import {
  recordRelease as record,
  refuseOtherDigest,
  releaseOf,
} from '../delivery/release-record.ts'
import { labels } from '../image/image.ts'
import {
  formatReference,
  formatRepository,
  imageByDigest,
  type Reference,
} from '../registry/reference.ts'
import type { EnvironmentSettings } from '../settings.ts'
import { imageReference, reasonInput, remote } from './inputs.ts'
import { defineStep } from './step.ts'

export const recordRelease = defineStep({
  name: 'record-release',
  summary: 'Record an image of the registry as a release, by what its own labels say.',
  example: 'record-release --image harbor.example.com/team/webapi:1.4.2 --env test',
  ci: { identity: true },
  inputs: z.object({
    image: remote(imageReference.describe('Image that bake-image made, by tag or digest')),
    env: remote(z.string().describe('First environment, whose repository has the image')),
    reason: reasonInput,
  }),
  outputs: z.object({
    release: z.string().describe('Release, as application@version'),
    image: z.string().describe('Reference by digest'),
    digest: z.string().describe('Digest of the image'),
    warMd5: z.string().describe('MD5 of the WAR, as its image says'),
  }),
  report: ({ release, image, warMd5 }) => [
    `Recorded ${release}`,
    `Image    ${image}`,
    `WAR MD5  ${warMd5}`,
  ],
  async run({ image: given, env, reason }, context) {
    const environment = await context.environment(env)
    requireFirst(environment, given)
    const image = await openImage(await context.registry(), given, { what: 'the image' })
    const found = image.config.config?.Labels ?? {}
    const release = releaseOf(found)
    if (release === undefined) throw notBaked(given)
    requireApplication(formatRelease(release), release.app, await context.settings())
    await requireSignedCommit(found[labels.revision], given, context)
    const { digest } = image.manifest
    await refuseOtherDigest(release, digest, context)
    const target = environment.image
    await record(release, { digest, labels: found, target, reason }, context)
    return {
      release: formatRelease(release),
      image: imageByDigest(target, digest),
      digest,
      warMd5: found[labels.warMd5] ?? '',
    }
  },
})

/** Other repositories are of other environments, which an image reaches by promotion alone. */
function requireFirst({ name, from, image }: EnvironmentSettings, given: Reference): void {
  if (from !== undefined) {
    throw new StepError(
      'INPUT_INVALID',
      `a release begins in the first environment, and ${name} comes after ${from}`,
      { hint: `Record it in ${from}, then \`crosscloud promote --to ${name}\`.` },
    )
  }
  if (formatRepository(given) === formatRepository(image)) return
  throw new StepError(
    'INPUT_INVALID',
    `${formatReference(given)} is not in ${formatRepository(image)}, the repository of ${name}`,
    { hint: `Push it there: \`crosscloud push-image --env ${name}\`.` },
  )
}

const notBaked = (given: Reference) =>
  new StepError('INPUT_INVALID', `${formatReference(given)} does not say which release it is`, {
    hint: 'Its labels are missing: make it with `crosscloud bake-image`.',
  })

/** A job whose token names a commit records images of that commit only. */
async function requireSignedCommit(
  commit: string | undefined,
  given: Reference,
  context: Context,
): Promise<void> {
  const { job } = await context.identify(undefined, { required: false, strict: false })
  if (job?.sha === undefined || commit === undefined) return
  if (withoutMark(commit) === job.sha) return
  throw new StepError(
    'CONFLICT',
    `${formatReference(given)} was built from ${commit}, and the job's token is of ${job.sha}`,
    { hint: 'Record it in the pipeline that built it.' },
  )
}
