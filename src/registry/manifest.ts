import { isDigest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { parseObject } from '../core/http/body.ts'
import { type Descriptor, type ImageManifest, type Manifest, mediaTypes } from './types.ts'

/*
 * The reader of manifests and indexes, from any builder (OCI image-spec, manifest.md and
 * image-index.md; Docker's schema 2 has the same form). Go writes `null` for an empty list.
 */

/** The media types of manifests that can be read. */
export const manifestTypes: readonly string[] = [
  mediaTypes.ociManifest,
  mediaTypes.ociIndex,
  mediaTypes.dockerManifest,
  mediaTypes.dockerIndex,
]

export function isIndex({ mediaType }: Pick<Manifest, 'mediaType'>): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerIndex
}

/** The media type that a manifest names itself; undefined where it names none. */
export function ownMediaType(bytes: Buffer): string | undefined {
  const mediaType = parseObject(bytes.toString())?.mediaType
  return typeof mediaType === 'string' ? mediaType : undefined
}

/** A foreign layer stays where its URLs lead; no registry has it (image-spec, layer.md). */
export function isForeign({ mediaType }: Pick<Descriptor, 'mediaType'>): boolean {
  return /\.foreign\.|\.nondistributable\./.test(mediaType)
}

/** What an index names. */
export function readIndex(bytes: Buffer): Descriptor[] {
  const { manifests } = readObject(bytes)
  return descriptors(manifests ?? [])
}

/** Config and layers of an image, or of another artifact that is kept as if it were one. */
export function readManifest(bytes: Buffer): ImageManifest {
  const content = readObject(bytes) as Partial<ImageManifest>
  const [config, ...layers] = descriptors([content.config, ...list(content.layers ?? [])])
  return { ...content, config, layers } as ImageManifest
}

function readObject(bytes: Buffer): Record<string, unknown> {
  const content = parseObject(bytes.toString())
  if (content === undefined) throw broken('is not JSON')
  return content
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [value]
}

function descriptors(values: unknown): Descriptor[] {
  if (Array.isArray(values) && values.every(isDescriptor)) return values
  throw broken('lacks a media type, a digest or a size')
}

function isDescriptor(value: unknown): value is Descriptor {
  const { mediaType, digest, size } = (value ?? {}) as Partial<Descriptor>
  return (
    typeof mediaType === 'string' &&
    typeof digest === 'string' &&
    isDigest(digest) &&
    Number.isSafeInteger(size)
  )
}

function broken(why: string): StepError {
  return new StepError('INPUT_INVALID', `its manifest ${why}`, {
    hint: 'Only what an OCI or Docker registry calls an image, or an index, can be read. Push it again.',
  })
}
