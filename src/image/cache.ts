import { createHash, createHmac, randomUUID, timingSafeEqual } from 'node:crypto'
import { constants } from 'node:fs'
import {
  copyFile,
  link,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, readChunks } from '../core/digest.ts'
import { throwIfCancelled } from '../core/errors.ts'
import { readOwn } from '../core/own.ts'
import type { Layer, LayerPlan } from './layers.ts'
import { entriesOf } from './war/entries.ts'

/**
 * Layers by content, kept between builds: an unchanged layer is neither compressed nor written
 * again. A key hashes what goes in, never a path or a date on this machine.
 *
 * CI hands this folder from one branch to another, so what lies there is anybody's word. A record
 * counts only with this user's own seal on it, and a blob only while it has the record's digest;
 * all else is made anew from the WAR.
 */
export interface LayerCache {
  folder: string
  /** What this user seals records with. Without it none is believed, and none is written. */
  sealKey?: Buffer | undefined
}

/** Raised whenever the bytes of a layer would come out otherwise than before. */
const FORMAT = 'crosscloud-layer-2'
/** What nobody asked for in so many milliseconds is removed. */
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

/** The seal binds the record to its key: another layer's record says nothing of this one. */
function sealOf(sealKey: Buffer, key: string, text: string): string {
  return createHmac('sha256', sealKey).update(`${key}\n${text}`).digest('hex')
}

/** What a crash or another hand left there is as good as nothing. */
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
 * Read each time: a layout shares the file, so a careless hand may write into it, and a date proves
 * nothing, as an archive brings its own along.
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

/** A path beside the blobs to write a new one to. */
export async function stagedBlob(cache: LayerCache): Promise<string> {
  await mkdir(blobFolder(cache), { recursive: true, mode: 0o700 })
  return join(blobFolder(cache), `.staged-${randomUUID()}`)
}

/** Takes over a blob written to a staged path. */
export async function keepBlob(cache: LayerCache, staged: string, digest: Digest): Promise<void> {
  await rename(staged, cachedBlob(cache, digest))
}

/** Remembers a layer under its key, and forgets those that were not used for long. */
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
  const staged = `${path}.${randomUUID()}`
  await writeFile(staged, `${sealOf(sealKey, key, text)}\n${text}`)
  await rename(staged, path)
}

/** By the last use, which is the atime; leftovers of killed runs go the same way. */
export async function sweep(folder: string): Promise<void> {
  const oldest = Date.now() - KEPT
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    const found = await stat(path).catch(() => undefined)
    if (found && found.atimeMs < oldest) await rm(path, { force: true })
  }
}

/** Puts a cached blob where a layout wants it: the same file when both are on one disk. */
export async function placeBlob(cache: LayerCache, digest: Digest, target: string): Promise<void> {
  const source = cachedBlob(cache, digest)
  await link(source, target).catch(() => copyFile(source, target))
}
