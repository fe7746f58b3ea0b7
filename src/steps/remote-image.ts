import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { explain, StepError } from '../core/errors.ts'
import { findLayer, type ImageConfig, labels } from '../image/image.ts'
import {
  formatReference,
  type Reference,
  type Repository,
  withDigest,
} from '../registry/reference.ts'
import {
  type Descriptor,
  type ImageManifest,
  type Manifest,
  mediaTypes,
  type RegistryClient,
} from '../registry/types.ts'

/** Where the image keeps what we put beside the web application. */
export const TEMPLATES_FOLDER = '.crosscloud/config'
export const MANIFEST_FILE = 'files.md5'
export const START_SCRIPT = 'start.sh'

/** Configs and our two text layers are small; a registry that says otherwise is not believed. */
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
  asked: Reference,
  { what, architecture = 'amd64' }: { what: string; architecture?: string },
): Promise<RemoteImage> {
  try {
    let reference = asked
    let manifest = await registry.getManifest(asked)
    if (isIndex(manifest)) {
      const { manifests = [] } = JSON.parse(manifest.bytes.toString()) as {
        manifests?: Descriptor[]
      }
      reference = withDigest(asked, chooseImage(manifests, architecture).digest)
      manifest = await registry.getManifest(reference)
    }
    const content = JSON.parse(manifest.bytes.toString()) as ImageManifest
    const config = await readText(registry, reference, content.config)
    return { reference, manifest, content, config: JSON.parse(config.toString()) as ImageConfig }
  } catch (error) {
    throw explain(`${what} ${formatReference(asked)}`, error)
  }
}

function isIndex({ mediaType }: Manifest): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerIndex
}

function chooseImage(manifests: readonly Descriptor[], architecture: string): Descriptor {
  const found = manifests.find(
    ({ platform }) => platform?.os === 'linux' && platform.architecture === architecture,
  )
  if (found) return found
  const known = manifests.map(({ platform }) => `${platform?.os}/${platform?.architecture}`)
  throw new StepError('NOT_FOUND', `has no image for linux/${architecture}`, {
    hint: `It has ${known.join(', ')}. Choose one with \`--architecture\`.`,
  })
}

async function readText(
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

/** The files of one of our small layers, by their path from `root`; undefined without the layer. */
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
