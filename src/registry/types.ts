import type { Readable } from 'node:stream'
import type { Digest } from '../core/digest.ts'
import type { Reference, Repository } from './reference.ts'

/** OCI image-spec, descriptor.md. */
export interface Descriptor {
  mediaType: string
  digest: Digest
  /** bytes */
  size: number
  annotations?: Record<string, string>
  platform?: { os: string; architecture: string; variant?: string }
}

/** A manifest or an index exactly as the registry holds it: its digest is over these bytes. */
export interface Manifest {
  mediaType: string
  digest: Digest
  bytes: Buffer
}

export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const

/** The content of an image manifest (not of an index). */
export interface ImageManifest {
  schemaVersion: 2
  mediaType?: string
  config: Descriptor
  layers: Descriptor[]
  annotations?: Record<string, string>
}

/** What happened to a blob that the target should have. */
export type BlobOutcome = 'present' | 'mounted' | 'uploaded'

/** Everything the rest of the program asks of image registries. Built in client.ts. */
export interface RegistryClient {
  /**
   * Gets the right to push to `target` and to mount from `sources`, so that one token serves all
   * requests that follow. Not needed for correctness; it saves round trips and fails early.
   */
  authorizePush(target: Repository, sources?: readonly Repository[]): Promise<void>
  /** Fetches a manifest and checks its digest. NOT_FOUND names the reference. */
  getManifest(reference: Reference): Promise<Manifest>
  /** The digest a reference has now, or undefined when it does not exist (404). */
  resolve(reference: Reference): Promise<Digest | undefined>
  /** Puts the bytes under the reference's tag, or its digest; fails unless the registry reports the same digest. */
  putManifest(reference: Reference, manifest: Manifest): Promise<void>
  /** Removes a manifest and every tag it has; false when it is not there. */
  deleteManifest(repository: Repository, digest: Digest): Promise<boolean>
  /** The blob as a stream that fails at its end unless digest and size are right. */
  getBlob(repository: Repository, blob: Pick<Descriptor, 'digest' | 'size'>): Promise<Readable>
  /**
   * Makes sure the repository has the blob: HEAD, then mount from `mountFrom` (same registry only),
   * then upload what `open` gives. `open` is called again for each retry.
   */
  ensureBlob(
    repository: Repository,
    blob: Pick<Descriptor, 'digest' | 'size'>,
    open: () => Promise<Readable>,
    mountFrom?: Repository,
  ): Promise<BlobOutcome>
  /** Request-body bytes sent so far: what a push really cost. */
  bytesSent(): number
  close(): void
}
