import { randomUUID } from 'node:crypto'
import { access, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { type Digest, isDigest, sha256 } from '../core/digest.ts'
import { errorCodeOf, explain, isStepError, StepError } from '../core/errors.ts'
import { readManifest } from '../registry/manifest.ts'
import { formatReference, parseReference, type Reference } from '../registry/reference.ts'
import {
  type Descriptor,
  type ImageManifest,
  type Manifest,
  mediaTypes,
} from '../registry/types.ts'
import { type LayerCache, placeBlob } from './cache.ts'
import { type ImageConfig, readImageConfig } from './config.ts'
import type { Image } from './image.ts'
import type { Layer } from './layers.ts'

/** Relative to the folder a step runs in. */
export const DEFAULT_IMAGE_FOLDER = '.crosscloud/image'

/** On the image's entry in index.json: the repository with the base's blobs. */
const BASE_ANNOTATION = 'io.crosscloud.base'

/**
 * Writes an OCI image layout (image-spec, image-layout.md) without the base's blobs: a push takes
 * them from the base's repository. The folder appears complete or not at all.
 */
export async function writeLayout(
  folder: string,
  image: Image,
  layers: readonly Pick<Layer, 'digest'>[],
  cache: LayerCache,
  base: Reference | undefined,
): Promise<void> {
  await refuseForeignFolder(folder)
  const target = resolve(folder)
  const staged = join(dirname(target), `.${basename(target)}-${randomUUID()}`)
  const blobs = join(staged, 'blobs', 'sha256')
  try {
    await mkdir(blobs, { recursive: true })
    const write = (digest: Digest, bytes: Buffer) => writeFile(join(blobs, hex(digest)), bytes)
    await write(image.content.config.digest, image.configBytes)
    await write(image.manifest.digest, image.manifest.bytes)
    for (const layer of new Map(layers.map((layer) => [layer.digest, layer])).values()) {
      await placeBlob(cache, layer.digest, join(blobs, hex(layer.digest)))
    }
    await writeFile(join(staged, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
    await writeFile(join(staged, 'index.json'), indexJson(image.manifest, base))
    await rm(target, { recursive: true, force: true })
    await rename(staged, target)
  } catch (error) {
    await rm(staged, { recursive: true, force: true })
    throw error
  }
}

/** Only a layout or an empty folder may be replaced. */
async function refuseForeignFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined)
  if (!found) return
  const isLayout = await access(join(folder, 'oci-layout')).then(
    () => true,
    () => false,
  )
  if (isLayout || (found.isDirectory() && (await readdir(folder)).length === 0)) return
  throw new StepError('CONFLICT', `${folder} exists and is not an image layout`, {
    hint: 'Choose another folder with `--image-folder`; nothing was deleted.',
  })
}

function indexJson(manifest: Manifest, base: Reference | undefined): string {
  const entry: Descriptor = {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.length,
    ...(base && { annotations: { [BASE_ANNOTATION]: formatReference(base) } }),
  }
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [entry] }
  return `${JSON.stringify(index, null, 2)}\n`
}

/** An image on disk. */
export interface Layout {
  folder: string
  manifest: Manifest
  content: ImageManifest
  config: ImageConfig
  /** The base image; its repository has the blobs that this layout lacks. */
  base: Reference | undefined
  /** Path of a blob, or undefined when the layout lacks it. */
  blobPath(digest: Digest): Promise<string | undefined>
}

export async function readLayout(folder: string): Promise<Layout> {
  const path = (digest: string) => join(folder, 'blobs', 'sha256', hex(digest))
  const entry = parseIndex(folder, await readPart(folder, join(folder, 'index.json')))
  const bytes = await readBlob(folder, path(entry.digest), entry.digest)
  const { content, config } = await readContent(folder, bytes, path)
  const base = entry.annotations?.[BASE_ANNOTATION]
  return {
    folder,
    manifest: { mediaType: entry.mediaType, digest: entry.digest, bytes },
    content,
    config,
    base: base === undefined ? undefined : parseReference(base),
    async blobPath(digest) {
      return access(path(digest)).then(
        () => path(digest),
        () => undefined,
      )
    },
  }
}

async function readContent(folder: string, bytes: Buffer, path: (digest: string) => string) {
  try {
    const content = readManifest(bytes)
    const { digest } = content.config
    const config = readImageConfig(await readBlob(folder, path(digest), digest), content)
    return { content, config }
  } catch (error) {
    throw isStepError(error, 'INPUT_INVALID') ? explain(`image layout ${folder}`, error) : error
  }
}

function parseIndex(folder: string, text: string): Descriptor {
  let index: { manifests?: Descriptor[] } | null = null
  try {
    index = JSON.parse(text)
  } catch {
    // Reported below.
  }
  const [entry, ...others] = index?.manifests ?? []
  if (entry && others.length === 0 && isDigest(entry.digest)) return entry
  throw new StepError('INPUT_INVALID', `image layout ${folder}: expected exactly one image`, {
    hint: 'Bake the image again.',
  })
}

async function readBlob(folder: string, path: string, digest: Digest): Promise<Buffer> {
  const bytes = await readFile(path).catch((error) => {
    throw notALayout(folder, error)
  })
  if (sha256(bytes) === digest) return bytes
  throw new StepError('VERIFY_FAILED', `image layout ${folder}: blob ${digest} was changed`, {
    hint: 'Bake the image again.',
  })
}

async function readPart(folder: string, path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error) => {
    throw notALayout(folder, error)
  })
}

function notALayout(folder: string, error: unknown): StepError {
  if (errorCodeOf(error) !== 'ENOENT') throw error
  return new StepError('NOT_FOUND', `${folder} is not an image layout`, {
    hint: 'Run `crosscloud bake-image` first, or name its folder with `--image-folder`.',
    cause: error,
  })
}

function hex(digest: string): string {
  return digest.slice('sha256:'.length)
}
