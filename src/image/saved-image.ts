import { createReadStream } from 'node:fs'
import { type FileHandle, readFile, rm } from 'node:fs/promises'
import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { sha256 } from '../core/digest.ts'
import { StepError, throwIfCancelled } from '../core/errors.ts'
import { mediaTypes } from '../registry/types.ts'
import { type LayerCache, stageBlob } from './cache.ts'
import { type ImageConfig, readImageConfig } from './config.ts'
import { type KeptLayer, keepSavedLayer } from './saved-layer.ts'
import { createFileTree, type FileTree } from './tree.ts'

/** An image that an engine has written out. */
export interface SavedImage {
  config: ImageConfig
  /** Of each layer, lowest first, its blob in the cache; undefined where the base has it. */
  layers: (KeptLayer | undefined)[]
  /** What its layers together have below the paths that were asked for. */
  tree: FileTree
}

export interface SaveOptions {
  cache: LayerCache
  /** How many of the lowest layers need no blob, as the registry has them. */
  known: number
  /** Absolute paths below which files are looked at. */
  roots: readonly string[]
  signal: AbortSignal
}

/** A file of the archive: in memory while it is small, else beside the blobs of the cache. */
type Part = { bytes: Buffer } | { path: string }

/**
 * Reads what `docker save` writes (image-spec of Docker, v1.2; also the OCI layout that newer engines
 * write with it). Every layer must match its diffID.
 */
export async function readSavedImage(stream: Readable, options: SaveOptions): Promise<SavedImage> {
  const { cache, known, roots, signal } = options
  const parts = new Map<string, Part>()
  try {
    const links = await unpack(stream, parts, options)
    const part = (name: string) => {
      const found = parts.get(links.get(name) ?? name)
      if (found) return found
      throw unreadable(`lacks ${name}`)
    }
    const { config: name, layers: names } = readManifest(await textOf(part('manifest.json')))
    const config = readConfig(await textOf(part(name)))
    const diffIds = config.rootfs.diff_ids
    if (diffIds.length !== names.length)
      throw unreadable('its config and manifest differ in layers')
    const tree = createFileTree(roots)
    const layers: SavedImage['layers'] = []
    for (const [index, diffId] of diffIds.entries()) {
      const open = () => contentOf(part(names[index] ?? ''))
      const keep = { cache, diffId, tree, signal, isKept: index >= known }
      layers.push(await keepSavedLayer(open, keep))
    }
    return { config, layers, tree }
  } finally {
    for (const part of parts.values()) if ('path' in part) await rm(part.path, { force: true })
  }
}

/** Files of this size stay in memory. */
const SMALL = 256 * 1024

/** Puts the archive's files into `parts`; returns its links: equal layers are written once. */
async function unpack(
  stream: Readable,
  parts: Map<string, Part>,
  { cache, signal }: SaveOptions,
): Promise<Map<string, string>> {
  const { extract } = await import('tar-stream')
  const links = new Map<string, string>()
  const unpacking = extract()
  const reading = (async () => {
    for await (const entry of unpacking) {
      const { name, type, size = 0, linkname } = entry.header
      if (type === 'symlink') links.set(name, posix.join(posix.dirname(name), linkname ?? ''))
      else if (type === 'link') links.set(name, linkname ?? '')
      if (type !== 'file') {
        entry.resume()
        continue
      }
      const chunks = entry as AsyncIterable<Buffer>
      if (size <= SMALL) parts.set(name, { bytes: await buffer(chunks) })
      else parts.set(name, { path: await stageBlob(cache, (file) => append(file, chunks, signal)) })
    }
  })()
  try {
    await Promise.all([pipeline(stream, unpacking, { signal }), reading])
  } catch (error) {
    throwIfCancelled(signal)
    if (error instanceof StepError) throw error
    throw new StepError('UNAVAILABLE', 'the engine broke off while it wrote the image out', {
      hint: 'Run the command again.',
      cause: error,
    })
  }
  return links
}

async function append(file: FileHandle, chunks: AsyncIterable<Buffer>, signal: AbortSignal) {
  for await (const chunk of chunks) {
    throwIfCancelled(signal)
    await file.appendFile(chunk)
  }
}

const textOf = (part: Part) => ('bytes' in part ? part.bytes : readFile(part.path))

async function* contentOf(part: Part): AsyncGenerator<Buffer> {
  if ('bytes' in part) yield part.bytes
  else yield* createReadStream(part.path, { highWaterMark: 1 << 20 })
}

function readManifest(bytes: Buffer): { config: string; layers: string[] } {
  const parsed: unknown = parseJson(bytes)
  const [image, ...others] = Array.isArray(parsed) ? parsed : []
  const { Config: config, Layers: layers } = (image ?? {}) as { Config?: string; Layers?: string[] }
  if (others.length === 0 && typeof config === 'string' && Array.isArray(layers)) {
    return { config, layers }
  }
  throw unreadable('has a manifest.json of another kind')
}

/** Without what the classic builder notes of its last container. */
function readConfig(bytes: Buffer): ImageConfig {
  const blob = { mediaType: mediaTypes.dockerConfig, digest: sha256(bytes), size: bytes.length }
  const read = readImageConfig(bytes, { schemaVersion: 2, config: blob, layers: [] })
  const { container: _, container_config: __, ...config } = read
  return config as ImageConfig
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    return undefined
  }
}

function unreadable(why: string): StepError {
  return new StepError('INPUT_INVALID', `what the engine wrote out as an image ${why}`, {
    hint: 'Build with another version of the engine, and report this.',
  })
}
