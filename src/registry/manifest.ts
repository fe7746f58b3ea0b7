import { isDigest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { type Descriptor, type ImageManifest, type Manifest, mediaTypes } from './types.ts'

/*
 * The one reader of manifests and indexes, whoever wrote them (OCI image-spec, manifest.md and
 * image-index.md; Docker's schema 2 has the same form). Go writes `null` for an empty list.
 */

export function isIndex({ mediaType }: Pick<Manifest, 'mediaType'>): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerIndex
}

/** What an index names. */
export function readIndex(bytes: Buffer): Descriptor[] {
  const { manifests } = parseObject(bytes)
  return descriptors(manifests ?? [])
}

/** Config and layers of an image, or of another artifact that is kept as if it were one. */
export function readManifest(bytes: Buffer): ImageManifest {
  const content = parseObject(bytes) as Partial<ImageManifest>
  const [config, ...layers] = descriptors([content.config, ...list(content.layers ?? [])])
  return { ...content, config, layers } as ImageManifest
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString())
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // told below
  }
  throw broken('is not JSON')
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
