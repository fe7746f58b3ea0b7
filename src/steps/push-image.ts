import { createReadStream } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import type { Digest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { version } from '../core/settings/schema.ts'
import type { Context } from '../delivery/context.ts'
import { formatRelease, requireApplication } from '../delivery/release-name.ts'
import { describeCommit } from '../delivery/source/commit.ts'
import { labels } from '../image/image.ts'
import { DEFAULT_IMAGE_FOLDER, type Layout, readLayout } from '../image/layout.ts'
import {
  formatReference,
  formatRepository,
  imageByDigest,
  type Reference,
  type Repository,
  withDigest,
  withTag,
} from '../registry/reference.ts'
import type { BlobOutcome, Descriptor, RegistryClient } from '../registry/types.ts'
import { imageRepository } from './inputs.ts'
import { defineStep } from './step.ts'

export const pushImage = defineStep({
  name: 'push-image',
  summary: 'Push the baked image, sending only what the registry lacks, and record the release.',
  example: 'push-image --to harbor.example.com/team/webapi',
  ci: { identity: true },
  inputs: z.object({
    imageFolder: z.string().default(DEFAULT_IMAGE_FOLDER).describe('Folder that bake-image wrote'),
    to: imageRepository.describe('Repository to push to'),
    env: z.string().optional().describe('Environment whose repository is meant'),
    tag: version.optional().describe('Tag; default: the version'),
    overwrite: z.boolean().default(false).describe('Move the tag if it points elsewhere'),
    record: z.boolean().default(true).describe('Write the release into the ledger'),
    reason: z.string().optional().describe('Why this release is made'),
  }),
  outputs: z.object({
    image: z.string().describe('Reference by digest'),
    digest: z.string().describe('Digest of the image'),
    release: z
      .string()
      .optional()
      .describe('Release, as application@version; none where it was not recorded'),
    present: z.number().describe('Blobs the registry had'),
    mounted: z.number().describe('Blobs taken from another repository there'),
    uploaded: z.number().describe('Blobs sent'),
    bytesSent: z.number().describe('Bytes sent'),
  }),
  fromSettings: (settings, environment) => {
    const first = Object.values(settings.environments).find(({ from }) => from === undefined)
    const target = environment?.image ?? first?.image
    return target ? { to: target } : {}
  },
  report: ({ image, release, present, mounted, uploaded, bytesSent }) => [
    `Pushed   ${image}`,
    `Release  ${release ?? 'none was recorded: this image can be retagged, not deployed'}`,
    `Blobs    ${present} there, ${mounted} mounted, ${uploaded} sent; ${bytesSent} bytes sent`,
  ],
  async run({ imageFolder, to: target, tag, overwrite, record, reason }, context) {
    const [layout, registry] = await Promise.all([
      readLayout(resolve(context.cwd, imageFolder)),
      context.registry(),
    ])
    const { digest } = layout.manifest
    const before = registry.bytesSent()
    const baked = releaseOf(layout)
    const release = record ? baked : undefined
    if (release && (await context.hasSettings())) {
      requireApplication(formatRelease(release), release.app, await context.settings())
    }
    if (release) await refuseOtherDigest(release, digest, context)
    const name = tag ?? baked?.version
    const reference = name === undefined ? withDigest(target, digest) : withTag(target, name)
    const counts = await pushUnlessThere({
      layout,
      target,
      reference,
      overwrite,
      registry,
      context,
    })
    if (release) await recordRelease(layout, release, target, reason, context)
    return {
      image: imageByDigest(target, digest),
      digest,
      release: release && formatRelease(release),
      ...counts,
      bytesSent: registry.bytesSent() - before,
    }
  },
})

type Counts = Record<BlobOutcome, number>

async function pushUnlessThere(options: {
  layout: Layout
  target: Repository
  reference: Reference
  overwrite: boolean
  registry: RegistryClient
  context: Context
}): Promise<Counts> {
  const { layout, target, reference, overwrite, registry, context } = options
  const blobs = new Map(
    [layout.content.config, ...layout.content.layers].map((blob) => [blob.digest, blob]),
  )
  const { base } = layout
  await registry.authorizePush(target, base?.registry === target.registry ? [base] : [])
  const existing = await registry.resolve(reference)
  if (existing === layout.manifest.digest) return { present: blobs.size, mounted: 0, uploaded: 0 }
  if (existing !== undefined && !overwrite) throw tagTaken(reference, existing, layout)
  const counts: Counts = { present: 0, mounted: 0, uploaded: 0 }
  let done = 0
  await Promise.all(
    [...blobs.values()].map(async (blob) => {
      const outcome = await pushBlob(layout, target, blob, registry)
      counts[outcome]++
      context.log.progress('pushing', ++done, blobs.size)
      context.log.debug(`${blob.digest} ${blob.size} bytes: ${outcome}`)
    }),
  )
  await registry.putManifest(reference, layout.manifest)
  return counts
}

async function pushBlob(
  layout: Layout,
  target: Repository,
  blob: Descriptor,
  registry: RegistryClient,
): Promise<BlobOutcome> {
  const path = await layout.blobPath(blob.digest)
  const { base } = layout
  if (path !== undefined)
    return registry.ensureBlob(target, blob, async () => createReadStream(path))
  if (base) return registry.ensureBlob(target, blob, () => registry.getBlob(base, blob), base)
  throw new StepError(
    'NOT_FOUND',
    `image layout ${layout.folder}: blob ${blob.digest} is missing`,
    {
      hint: 'Bake the image again.',
    },
  )
}

function tagTaken(reference: Reference, existing: Digest, layout: Layout): StepError {
  return new StepError(
    'CONFLICT',
    `${formatReference(reference)} is ${existing}, not ${layout.manifest.digest}`,
    { hint: 'Bake it as another version, or move the tag with `--overwrite`.' },
  )
}

function labelsOf({ config }: Layout): Record<string, string> {
  return config.config?.Labels ?? {}
}

function releaseOf(layout: Layout): { app: string; version: string } | undefined {
  const { [labels.application]: app, [labels.version]: number } = labelsOf(layout)
  return app !== undefined && number !== undefined ? { app, version: number } : undefined
}

/** A version keeps its digest for ever; checked before anything is sent. */
async function refuseOtherDigest(
  release: { app: string; version: string },
  digest: Digest,
  context: Context,
): Promise<void> {
  const known = await (await context.ledger()).findRelease(release.app, release.version)
  if (!known || known.digest === digest) return
  throw new StepError('CONFLICT', `${formatRelease(release)} is ${known.digest}, not ${digest}`, {
    hint: 'A release never changes. Bake this image as another version.',
  })
}

async function recordRelease(
  layout: Layout,
  { app, version: number }: { app: string; version: string },
  target: Repository,
  reason: string | undefined,
  context: Context,
): Promise<void> {
  const label = labelsOf(layout)
  const { actor } = context
  // Where the settings name an issuer, plain variables prove no identity.
  const who = await context.identify(undefined, { required: false, strict: false })
  const commit = label[labels.revision] ?? actor.commit
  const ledger = await context.ledger()
  await ledger.recordRelease({
    app,
    version: number,
    digest: layout.manifest.digest,
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
