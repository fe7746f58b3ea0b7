import { createReadStream } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import type { Digest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { version } from '../core/settings/schema.ts'
import type { Context } from '../delivery/context.ts'
import { formatRelease, requireApplication } from '../delivery/release-name.ts'
import {
  firstEnvironment,
  recordRelease,
  refuseOtherDigest,
  releaseOf,
} from '../delivery/release-record.ts'
import { DEFAULT_IMAGE_FOLDER, type Layout, readLayout } from '../image/layout.ts'
import {
  formatReference,
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
  ci: { identity: true, asksServer: true },
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
    const imageLabels = labelsOf(layout)
    const baked = releaseOf(imageLabels)
    const release = record ? baked : undefined
    if (release && (await context.hasSettings())) {
      requireApplication(formatRelease(release), release.app, await context.settings())
    }
    // A server looks itself, when it records the release.
    const server = release && (await context.server?.())
    if (release && !server) await refuseOtherDigest(release, digest, context)
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
    const image = imageByDigest(target, digest)
    if (server) {
      const env = firstEnvironment(await context.settings(), target)
      await server.recordRelease({ image, env, ...(reason && { reason }) })
    } else if (release) {
      await recordRelease(release, { digest, labels: imageLabels, target, reason }, context)
    }
    return {
      image,
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

const labelsOf = ({ config }: Layout): Record<string, string> => config.config?.Labels ?? {}
