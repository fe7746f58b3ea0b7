import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { type Digest, sha256 } from '../../../src/core/digest.ts'
import type { ImageConfig } from '../../../src/image/config.ts'
import { descriptor } from '../../../src/image/image.ts'
import { padding, tarEnd, tarHeader } from '../../../src/image/tar.ts'
import { type Reference, type Repository, withDigest } from '../../../src/registry/reference.ts'
import {
  type Descriptor,
  type ImageManifest,
  type Manifest,
  mediaTypes,
  type RegistryClient,
} from '../../../src/registry/types.ts'

/** A tiny image for tests: its manifest, and its blobs by digest. */
export interface TestImage {
  manifest: Manifest
  blobs: Map<Digest, Buffer>
}

/** A layer's tar: a folder of user 1000, and a file. */
function makeTar(text: string): Buffer {
  const file = { path: 'srv/text', type: 'file', mode: 0o644, size: text.length } as const
  const folder = { path: 'srv/webapps', type: 'directory', mode: 0o2775, size: 0 } as const
  return Buffer.concat([
    tarHeader({ ...folder, path: 'srv', mode: 0o755 }),
    tarHeader({ ...folder, uid: 1000, gid: 1001 }),
    tarHeader(file),
    Buffer.from(text),
    padding(text.length),
    tarEnd(),
  ])
}

/** An image of `layers` layers; another `seed` gives other digests. */
export function makeImage(seed: string, { layers = 2, architecture = 'amd64' } = {}): TestImage {
  const blobs = new Map<Digest, Buffer>()
  const add = (mediaType: string, bytes: Buffer): Descriptor => {
    const digest = sha256(bytes)
    blobs.set(digest, bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const contents = Array.from({ length: layers }, (_, i) => makeTar(`${seed} layer ${i}`))
  const config = {
    architecture,
    os: 'linux',
    created: '2026-01-01T00:00:00Z',
    config: { Labels: { seed } },
    rootfs: { type: 'layers', diff_ids: contents.map((bytes) => sha256(bytes)) },
    history: contents.map(() => ({ created: '2026-01-01T00:00:00Z', created_by: 'test' })),
  }
  const content: ImageManifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: add(mediaTypes.ociConfig, Buffer.from(JSON.stringify(config))),
    layers: contents.map((bytes) => add(mediaTypes.ociLayerGzip, gzipSync(bytes))),
  }
  return { manifest: toManifest(mediaTypes.ociManifest, content), blobs }
}

/** The image with another config, and manifest if need be. */
export function rewrite(
  image: TestImage,
  change: { config?: object; whole?: object; manifest?: object; type?: string },
): TestImage {
  const content = JSON.parse(image.manifest.bytes.toString()) as ImageManifest
  const config = JSON.parse(String(image.blobs.get(content.config.digest))) as ImageConfig
  config.config = { ...config.config, ...change.config }
  const bytes = Buffer.from(JSON.stringify({ ...config, ...change.whole }))
  content.config = descriptor(change.type ?? content.config.mediaType, bytes)
  return {
    manifest: toManifest(image.manifest.mediaType, { ...content, ...change.manifest }),
    blobs: new Map([...image.blobs, [content.config.digest, bytes]]),
  }
}

/** An index of images, one for each platform. */
export function makeIndex(images: { image: TestImage; architecture: string }[]): Manifest {
  const manifests = images.map(({ image, architecture }) => ({
    mediaType: image.manifest.mediaType,
    digest: image.manifest.digest,
    size: image.manifest.bytes.length,
    platform: { os: 'linux', architecture },
  }))
  return toManifest(mediaTypes.ociIndex, {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests,
  })
}

export function toManifest(mediaType: string, content: object): Manifest {
  const bytes = Buffer.from(JSON.stringify(content))
  return { mediaType, digest: sha256(bytes), bytes }
}

export async function pushBlobs(client: RegistryClient, place: Repository, image: TestImage) {
  await Promise.all(
    [...image.blobs].map(([digest, bytes]) =>
      client.ensureBlob(place, { digest, size: bytes.length }, async () => Readable.from([bytes])),
    ),
  )
}

/** Pushes the blobs, then the manifest under the reference's tag or its own digest. */
export async function pushImage(client: RegistryClient, place: Reference, image: TestImage) {
  await pushBlobs(client, place, image)
  const { manifest } = image
  await client.putManifest(place.tag ? place : withDigest(place, manifest.digest), manifest)
}
