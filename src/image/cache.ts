import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { constants } from 'node:fs'
import {
  copyFile,
  type FileHandle,
  link,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
  utimes,
} from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, readChunks } from '../core/digest.ts'
import { throwIfCancelled } from '../core/errors.ts'
import { replaceFile, stageFile } from '../core/files/atomic-file.ts'
import { readOwn } from '../core/files/own-files.ts'
import type { Layer, LayerPlan } from './layers.ts'
import { entriesOf } from './war/entries.ts'

/**
 * Layers by content, kept between builds: an unchanged layer is neither compressed nor written
 * again. A key hashes the content, never a path or a date on this machine.
 *
 * CI shares this folder between branches, so its content is not trusted. A record counts only with
 * this user's seal (an HMAC), and a blob only while it has the record's digest; everything else is
 * built again from the WAR.
 */
export interface LayerCache {
  folder: string
  /** The key of this user's seals. Without it no record is read or written. */
  sealKey?: Buffer | undefined
}

/** Raise it whenever the same plan gives other bytes than before. */
const FORMAT = 'crosscloud-layer-2'
/** Entries that were not used for so many milliseconds are removed. */
const KEPT = 30 * 24 * 3_600_000

export function layerKey(plan: LayerPlan): string {
  const hash = createHash('sha256').update(`${FORMAT}\n${plan.root}\n`)
  for (const { path, file, folder = [] } of entriesOf(plan)) {
    const content = file ? [file.mode, file.time, file.identity] : folder
    hash.update(JSON.stringify([path, ...content]))
  }
  return hash.digest('hex')
}

/** The blob of a layer in the cache. */
export function cachedBlob(cache: LayerCache, digest: Digest): string {
  return join(blobFolder(cache), digest.slice('sha256:'.length))
}

const blobFolder = ({ folder }: LayerCache) => join(folder, 'blobs')
const recordFolder = ({ folder }: LayerCache) => join(folder, 'layers')
const recordPath = (cache: LayerCache, key: string) => join(recordFolder(cache), `${key}.json`)

/** The layer of a key, if its record has our seal and its blob is whole. */
export async function findLayer(
  cache: LayerCache,
  key: string,
  signal?: AbortSignal,
): Promise<Layer | undefined> {
  const record = recordPath(cache, key)
  const text = await readSealed(cache, record, key)
  if (text === undefined) return undefined
  const layer = JSON.parse(text) as Layer
  const blob = cachedBlob(cache, layer.digest)
  if (!(await isWhole(blob, layer, signal))) return undefined
  const now = new Date()
  await Promise.all([record, blob].map((path) => utimes(path, now, now).catch(() => {})))
  return layer
}

/** The seal binds the record to its key: the record of another layer is not accepted. */
function sealOf(sealKey: Buffer, key: string, text: string): string {
  return createHmac('sha256', sealKey).update(`${key}\n${text}`).digest('hex')
}

/** The text of a record; undefined when it is missing, truncated, or sealed with another key. */
export async function readSealed(
  { sealKey }: LayerCache,
  path: string,
  key: string,
): Promise<string | undefined> {
  if (sealKey === undefined) return undefined
  const record = await readOwn(path).catch(() => '')
  const seal = Buffer.from(record.slice(0, record.indexOf('\n')))
  const text = record.slice(seal.length + 1)
  const expected = Buffer.from(sealOf(sealKey, key, text))
  const isOurs = seal.length === expected.length && timingSafeEqual(seal, expected)
  return isOurs ? text : undefined
}

/**
 * Hashes the blob each time: image layouts share the file by hard link and could be written to, and
 * a date proves nothing, as CI unpacks it from an archive.
 */
async function isWhole(
  path: string,
  { size, digest }: Layer,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(() => undefined)
  if (!file) return false
  try {
    const found = await file.stat()
    if (!found.isFile() || found.size !== size) return false
    const hash = createHash('sha256')
    for await (const chunk of readChunks(file.fd, 0, size)) {
      throwIfCancelled(signal)
      hash.update(chunk)
    }
    return `sha256:${hash.digest('hex')}` === digest
  } finally {
    await file.close()
  }
}

/** Writes a blob beside the others, under a name of its own until its digest is known. */
export async function stageBlob(
  cache: LayerCache,
  write: (file: FileHandle) => Promise<void>,
): Promise<string> {
  const folder = blobFolder(cache)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return stageFile(join(folder, 'blob'), write, { mode: 0o644, durable: false })
}

export async function keepBlob(cache: LayerCache, staged: string, digest: Digest): Promise<void> {
  await rename(staged, cachedBlob(cache, digest))
}

/** Records a layer under its key, and removes layers that were not used for long. */
export async function keepLayer(cache: LayerCache, key: string, layer: Layer): Promise<void> {
  await mkdir(recordFolder(cache), { recursive: true, mode: 0o700 })
  await writeSealed(cache, recordPath(cache, key), key, JSON.stringify(layer))
  await Promise.all([blobFolder(cache), recordFolder(cache)].map(sweep))
}

export async function writeSealed(
  { sealKey }: LayerCache,
  path: string,
  key: string,
  text: string,
): Promise<void> {
  if (sealKey === undefined) return
  const record = `${sealOf(sealKey, key, text)}\n${text}`
  await replaceFile(path, record, { mode: 0o644, durable: false })
}

/** By last use, which is the atime; files left by killed processes are removed the same way. */
export async function sweep(folder: string): Promise<void> {
  const oldest = Date.now() - KEPT
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    const found = await stat(path).catch(() => undefined)
    if (found && found.atimeMs < oldest) await rm(path, { force: true })
  }
}

/** Puts a cached blob into a layout: a hard link when both are on one disk, otherwise a copy. */
export async function placeBlob(cache: LayerCache, digest: Digest, target: string): Promise<void> {
  const source = cachedBlob(cache, digest)
  await link(source, target).catch(() => copyFile(source, target))
}
