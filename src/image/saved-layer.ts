import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { Readable, type Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import type { Digest } from '../core/digest.ts'
import { StepError, throwIfCancelled } from '../core/errors.ts'
import { findLayer, keepBlob, keepLayer, type LayerCache, stageBlob } from './cache.ts'
import type { Layer } from './layers.ts'
import type { FileTree } from './tree.ts'

/** A layer whose blob is in the cache. */
export type KeptLayer = Pick<Layer, 'diffId' | 'digest' | 'size'>

interface KeepOptions {
  cache: LayerCache
  diffId: Digest
  tree: FileTree
  /** Whether its blob is wanted, too. */
  isKept: boolean
  signal: AbortSignal
}

const GZIP = Buffer.from([0x1f, 0x8b])
/** Jars do not get smaller: more effort would cost seconds and save a percent. */
const LEVEL = 1

/**
 * Notes the files of a layer in the tree and puts its blob into the cache: compressed as it came, else
 * by gzip, once for all images with this layer. VERIFY_FAILED when it is not what the image says.
 */
export async function keepSavedLayer(
  open: () => AsyncGenerator<Buffer>,
  { cache, diffId, tree, isKept, signal }: KeepOptions,
): Promise<KeptLayer | undefined> {
  const isCompressed = await startsWith(open(), GZIP)
  const tar = () => (isCompressed ? gunzip(open()) : open())
  if ((await tree.addLayer(tar(), signal)) !== diffId) {
    throw new StepError('VERIFY_FAILED', `the engine wrote out a layer that is not ${diffId}`, {
      hint: 'Run the command again; if this stays, the disk of the engine is damaged.',
    })
  }
  if (!isKept) return undefined
  const key = createHash('sha256').update(`saved layer 1\n${diffId}`).digest('hex')
  const found = await findLayer(cache, key, signal)
  if (found) return found
  const blob = isCompressed ? open() : gzip(open())
  const kept: Layer = { name: 'built', diffId, ...(await keep(blob, cache, signal)), files: [] }
  await keepLayer(cache, key, kept)
  return kept
}

async function keep(blob: AsyncIterable<Buffer>, cache: LayerCache, signal: AbortSignal) {
  const hash = createHash('sha256')
  let size = 0
  const staged = await stageBlob(cache, async (file: FileHandle) => {
    for await (const chunk of blob) {
      throwIfCancelled(signal)
      hash.update(chunk)
      size += chunk.length
      await file.appendFile(chunk)
    }
  })
  const digest: Digest = `sha256:${hash.digest('hex')}`
  await keepBlob(cache, staged, digest)
  return { digest, size }
}

async function startsWith(content: AsyncGenerator<Buffer>, start: Buffer): Promise<boolean> {
  for await (const chunk of content) return chunk.subarray(0, start.length).equals(start)
  return false
}

const gzip = (content: AsyncGenerator<Buffer>) =>
  through(content, createGzip({ level: LEVEL, chunkSize: 256 * 1024 }))
const gunzip = (content: AsyncGenerator<Buffer>) =>
  through(content, createGunzip({ chunkSize: 256 * 1024 }))

function through(content: AsyncGenerator<Buffer>, by: Transform): AsyncIterable<Buffer> {
  // An error comes out where the result is read.
  pipeline(Readable.from(content, { objectMode: false }), by).catch(() => {})
  return by
}
