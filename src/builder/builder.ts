import type { Readable } from 'node:stream'

/** A Docker Engine that builds images. */
export interface ImageBuilder {
  /**
   * Builds from a context. COMMAND_FAILED, with the failing instruction and its last lines, when the
   * Dockerfile fails; the aborted signal of the builder stops the build.
   */
  build(request: BuildRequest): Promise<BuiltImage>
  /** An image that the engine has; undefined when it has none of that name. */
  find(reference: string): Promise<EngineImage | undefined>
  /** The image as a tar stream, as `docker save` writes it. */
  save(id: string): Promise<Readable>
  close(): void
}

export interface BuildRequest {
  context: Readable
  /** Path of the Dockerfile in the context. */
  dockerfile: string
  args: Readonly<Record<string, string>>
  target: string | undefined
  /** linux/amd64 */
  platform: string
  labels: Readonly<Record<string, string>>
  /** Registries whose images the Dockerfile names, as those images name them. */
  registries: readonly string[]
  /** Gets each line of the build's output at once. */
  onLine(line: string): void
}

export interface BuiltImage {
  /** `sha256:…`, as this engine calls it. */
  id: string
  /** `name@sha256:…` of the images that the build itself says it has begun from. */
  from: string[]
}

export interface EngineImage {
  architecture: string
  /** `name@sha256:…`: how registries call it. */
  digests: string[]
  /** diffIDs of its layers, lowest first. */
  layers: string[]
}
