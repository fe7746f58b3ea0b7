import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { explain, isStepError, StepError } from '../../core/errors.ts'
import { type ImageConfig, readImageConfig } from '../../image/config.ts'
import { findLayer, labels } from '../../image/image.ts'
import { isIndex, readIndex, readManifest } from '../../registry/manifest.ts'
import {
  formatReference,
  type Reference,
  type Repository,
  withDigest,
} from '../../registry/reference.ts'
import type { Descriptor, ImageManifest, Manifest, RegistryClient } from '../../registry/types.ts'

/** Where the image keeps what we put beside the web application. */
export const TEMPLATES_FOLDER = '.crosscloud/config'
export const MANIFEST_FILE = 'files.md5'
/** What a server unpacks a .war file to. */
export const UNPACKED_FILE = 'unpacked.md5'
export const START_SCRIPT = 'start.sh'

/** Configs and our two text layers are small; anything larger is refused. */
const LARGEST_TEXT = 32 * 2 ** 20

export interface RemoteImage {
  reference: Reference
  manifest: Manifest
  content: ImageManifest
  config: ImageConfig
}

/** Reads an image's manifest and config; of an index, the image for linux and `architecture`. */
export async function openImage(
  registry: RegistryClient,
  given: Reference,
  { what, architecture = 'amd64' }: { what: string; architecture?: string },
): Promise<RemoteImage> {
  try {
    const manifest = await registry.getManifest(given)
    if (!isIndex(manifest)) return await readImage(registry, given, manifest)
    return await chooseImage(registry, given, readIndex(manifest.bytes), architecture)
  } catch (error) {
    throw explain(`${what} ${formatReference(given)}`, error)
  }
}

async function readImage(
  registry: RegistryClient,
  reference: Reference,
  manifest: Manifest,
): Promise<RemoteImage> {
  if (isIndex(manifest)) {
    throw new StepError('INPUT_INVALID', `${manifest.digest} is an index inside an index`, {
      hint: 'Name the image itself by its digest.',
    })
  }
  const content = readManifest(manifest.bytes)
  const config = readImageConfig(await readBlob(registry, reference, content.config), content)
  return { reference, manifest, content, config }
}

async function chooseImage(
  registry: RegistryClient,
  given: Reference,
  children: readonly Descriptor[],
  architecture: string,
): Promise<RemoteImage> {
  const open = async ({ digest }: Descriptor) => {
    const reference = withDigest(given, digest)
    return readImage(registry, reference, await registry.getManifest(reference))
  }
  const isWanted = (platform?: { os?: string; architecture?: string }) =>
    platform?.os === 'linux' && platform.architecture === architecture
  const found = children.find(({ platform }) => isWanted(platform))
  if (found) return open(found)
  const known = children.map(({ platform }) => platform).filter(isPlatform)
  // An index need not name platforms (image-spec, image-index.md); the images themselves do.
  for (const child of children.filter(({ platform }) => !platform)) {
    const image = await open(child).catch((error: unknown) => {
      if (isStepError(error, 'INPUT_INVALID')) return undefined
      throw error
    })
    if (image && isWanted(image.config)) return image
    if (image) known.push(image.config)
  }
  const names = known.map(({ os, architecture }) => `${os}/${architecture}`)
  throw new StepError('NOT_FOUND', `has no image for linux/${architecture}`, {
    hint:
      names.length > 0
        ? `It has ${names.join(', ')}. Choose one with \`--architecture\`.`
        : 'It has no image at all.',
  })
}

/** Signatures and proofs of an image stand beside it as `unknown/unknown`. */
function isPlatform<T extends { os: string }>(platform: T | undefined): platform is T {
  return Boolean(platform) && platform?.os !== 'unknown'
}

/** A blob that is small by its nature. */
export async function readBlob(
  registry: RegistryClient,
  repository: Repository,
  blob: Descriptor,
): Promise<Buffer> {
  if (blob.size > LARGEST_TEXT) {
    throw new StepError('INPUT_INVALID', `${blob.digest} has ${blob.size} bytes; too many to read`)
  }
  const chunks: Buffer[] = []
  for await (const chunk of await registry.getBlob(repository, blob)) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** The files of a small layer of ours, by their path from `root`; undefined without the layer. */
export async function readLayerFiles(
  registry: RegistryClient,
  image: RemoteImage,
  name: string,
  root: string,
): Promise<Map<string, Buffer> | undefined> {
  const layer = findLayer(image.content, name)
  if (!layer) return undefined
  const { extract } = await import('tar-stream')
  const files = new Map<string, Buffer>()
  const unpack = extract()
  const reading = (async () => {
    let total = 0
    for await (const entry of unpack) {
      const chunks: Buffer[] = []
      for await (const chunk of entry as AsyncIterable<Buffer>) {
        total += chunk.length
        if (total > LARGEST_TEXT) throw new StepError('INPUT_INVALID', `layer ${name} is too large`)
        chunks.push(chunk)
      }
      if (entry.header.type !== 'file') continue
      const path = entry.header.name
      if (path.startsWith(`${root}/`)) files.set(path.slice(root.length + 1), Buffer.concat(chunks))
    }
  })()
  const blob = await registry.getBlob(image.reference, layer)
  await Promise.all([pipeline(blob, createGunzip(), unpack), reading])
  return files
}

/** A label that every image of ours has. */
export function requireLabel(image: RemoteImage, name: keyof typeof labels): string {
  const value = image.config.config?.Labels?.[labels[name]]
  if (value !== undefined) return value
  throw new StepError(
    'INPUT_INVALID',
    `${formatReference(image.reference)} has no label ${labels[name]}`,
    { hint: 'Only images made by `crosscloud bake-image` can be deployed and verified.' },
  )
}
