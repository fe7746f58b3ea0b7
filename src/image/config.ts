import { type Digest, isDigest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import type { ImageManifest } from '../registry/types.ts'

/**
 * OCI image-spec, config.md: the fields that are read and written; other fields of the base are
 * kept.
 */
export interface ImageConfig {
  created?: string
  architecture: string
  os: string
  config?: {
    User?: string
    Env?: string[]
    Entrypoint?: string[]
    Cmd?: string[]
    WorkingDir?: string
    Labels?: Record<string, string>
    ExposedPorts?: Record<string, object>
    [key: string]: unknown
  }
  rootfs: { type: 'layers'; diff_ids: Digest[] }
  history?: { created?: string; created_by?: string; comment?: string; empty_layer?: boolean }[]
  [key: string]: unknown
}

type Fields = Record<string, unknown>

/**
 * Reads an image's config. Go writes `null` for empty fields, and Docker accepts a text in place of
 * a list: both are normalized to the types above. A Helm chart, or another artifact that only looks
 * like an image, is refused.
 */
export function readImageConfig(bytes: Buffer, { config: blob }: ImageManifest): ImageConfig {
  const read = parseFields(bytes)
  const rootfs = isFields(read?.rootfs) ? read.rootfs : undefined
  const diffIds = rootfs?.diff_ids ?? []
  if (!read || !rootfs || !Array.isArray(diffIds) || !diffIds.every(isDigestText)) {
    throw new StepError(
      'INPUT_INVALID',
      `it is no container image: its config is ${blob.mediaType}`,
      {
        hint: 'Name an image that a container can be started from, not a chart or another artifact.',
      },
    )
  }
  const { history, config, ...rest } = withoutNulls(read)
  return {
    ...rest,
    ...(isFields(config) && { config: runConfig(config) }),
    rootfs: { type: 'layers', diff_ids: diffIds },
    ...(Array.isArray(history) && { history: history.filter(isFields) }),
  } as unknown as ImageConfig
}

/** The settings a container is started with. */
function runConfig(config: Fields): Fields {
  const fields = withoutNulls(config)
  for (const name of ['Entrypoint', 'Cmd', 'Env']) {
    if (fields[name] !== undefined) fields[name] = [fields[name]].flat().filter(isText)
  }
  if (isFields(fields.Labels)) {
    fields.Labels = Object.fromEntries(
      Object.entries(fields.Labels).filter(([, value]) => isText(value)),
    )
  } else delete fields.Labels
  return fields
}

function parseFields(bytes: Buffer): Fields | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString())
    return isFields(value) ? value : undefined
  } catch {
    return undefined
  }
}

const isText = (value: unknown) => typeof value === 'string'
const isDigestText = (value: unknown): value is Digest => isText(value) && isDigest(value as string)

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function withoutNulls(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))
}
