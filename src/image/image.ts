import { type Digest, sha256 } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import {
  type Descriptor,
  type ImageManifest,
  type Manifest,
  mediaTypes,
} from '../registry/types.ts'
import type { ImageConfig } from './config.ts'
import type { Layer } from './layers.ts'

/** The labels that describe the image. */
export const labels = {
  application: 'org.opencontainers.image.title',
  version: 'org.opencontainers.image.version',
  revision: 'org.opencontainers.image.revision',
  created: 'org.opencontainers.image.created',
  source: 'org.opencontainers.image.source',
  baseDigest: 'org.opencontainers.image.base.digest',
  warMd5: 'io.crosscloud.war.md5',
  warSha256: 'io.crosscloud.war.sha256',
  warSize: 'io.crosscloud.war.size',
  warLayout: 'io.crosscloud.war.layout',
  webapp: 'io.crosscloud.webapp',
  /** JSON: paths that the application writes. */
  writable: 'io.crosscloud.writable',
} as const

/** The annotation that names a layer, so that it is found without reading the others. */
export const LAYER_ANNOTATION = 'io.crosscloud.layer'

/** Crosscloud's folder inside the image, without the leading `/`. */
export const OWN_FOLDER = '.crosscloud'

/** The image below our layers. `scratch` has no layers. */
export interface BaseImage {
  digest: Digest | undefined
  manifest: ImageManifest
  config: ImageConfig
}

export function scratchBase(architecture: string): BaseImage {
  return {
    digest: undefined,
    manifest: {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, digest: sha256(''), size: 0 },
      layers: [],
    },
    config: { architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [] } },
  }
}

export interface Image {
  manifest: Manifest
  content: ImageManifest
  config: ImageConfig
  configBytes: Buffer
}

const layerTypes: Record<string, string> = {
  [mediaTypes.dockerLayerGzip]: mediaTypes.ociLayerGzip,
  'application/vnd.docker.image.rootfs.diff.tar': 'application/vnd.oci.image.layer.v1.tar',
}

/**
 * The base with our layers on top, as an OCI image. In the base's descriptors only media types
 * change; its blobs stay the same, so none of them is read or sent again.
 */
export function composeImage(options: {
  base: BaseImage
  layers: readonly Layer[]
  labels: Record<string, string>
  created: string
  entrypoint?: string[]
}): Image {
  const { base, layers, created } = options
  const { config: baseConfig } = base
  if (baseConfig.rootfs.diff_ids.length !== base.manifest.layers.length) {
    throw new StepError('INPUT_INVALID', 'base image: its config and manifest differ in layers')
  }
  const config: ImageConfig = {
    ...baseConfig,
    created,
    config: {
      ...baseConfig.config,
      ...(options.entrypoint && { Entrypoint: options.entrypoint }),
      Labels: sorted({ ...foreignLabels(baseConfig), ...options.labels }),
    },
    rootfs: {
      type: 'layers',
      diff_ids: [...baseConfig.rootfs.diff_ids, ...layers.map(({ diffId }) => diffId)],
    },
    history: [
      ...baseHistory(base),
      ...layers.map(({ name }) => ({ created, created_by: 'crosscloud', comment: name })),
    ],
  }
  const configBytes = Buffer.from(JSON.stringify(config))
  const content: ImageManifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: descriptor(mediaTypes.ociConfig, configBytes),
    layers: [...base.manifest.layers.map(asOciLayer), ...layers.map(layerDescriptor)],
  }
  const bytes = Buffer.from(JSON.stringify(content))
  return {
    manifest: { mediaType: mediaTypes.ociManifest, digest: sha256(bytes), bytes },
    content,
    config,
    configBytes,
  }
}

/**
 * Labels that describe the base itself, such as its version or commit (image-spec, annotations.md):
 * the image gets its own.
 */
const OWN_LABEL = /^(?:org\.opencontainers\.image|io\.crosscloud)\./

function foreignLabels({ config }: ImageConfig): Record<string, string> {
  const all = Object.entries(config?.Labels ?? {})
  return Object.fromEntries(all.filter(([name]) => !OWN_LABEL.test(name)))
}

/** Tools compare the history with the layers; an incomplete history is replaced. */
function baseHistory({ config, manifest }: BaseImage): NonNullable<ImageConfig['history']> {
  const { history = [], created } = config
  const entries = history.filter(({ empty_layer: empty }) => !empty)
  if (entries.length === manifest.layers.length) return history
  return manifest.layers.map(({ digest }) => ({
    ...(created !== undefined && { created }),
    created_by: 'base image',
    comment: digest,
  }))
}

function layerDescriptor({ name, digest, size }: Layer): Descriptor {
  return {
    mediaType: mediaTypes.ociLayerGzip,
    digest,
    size,
    annotations: { [LAYER_ANNOTATION]: name },
  }
}

/** The base may be an image of crosscloud as well: the annotations of its layers are removed. */
function asOciLayer({ annotations, ...layer }: Descriptor): Descriptor {
  const { [LAYER_ANNOTATION]: _, ...others } = annotations ?? {}
  return {
    ...layer,
    mediaType: layerTypes[layer.mediaType] ?? layer.mediaType,
    ...(Object.keys(others).length > 0 && { annotations: others }),
  }
}

export function descriptor(mediaType: string, bytes: Buffer): Descriptor {
  return { mediaType, digest: sha256(bytes), size: bytes.length }
}

function sorted(values: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Finds one of our layers by its annotation; the topmost counts. */
export function findLayer(content: ImageManifest, name: string): Descriptor | undefined {
  return content.layers.findLast((layer) => layer.annotations?.[LAYER_ANNOTATION] === name)
}
