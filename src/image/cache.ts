import { createHash, randomUUID } from 'node:crypto'
import {
  copyFile,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestFile, isDigest } from '../core/digest.ts'
import type { Layer, LayerPlan } from './layers.ts'

/**
 * Layers by content, kept between builds: an unchanged layer is neither compressed nor written
 * again. A key hashes what goes in, never a path or a date on this machine.
 */
export interface LayerCache {
  folder: string
}

/** Raised whenever the bytes of a layer would come out otherwise than before. */
const FORMAT = 'crosscloud-layer-1'
/** What nobody asked for in so many milliseconds is removed. */
const KEPT = 30 * 24 * 3_600_000
/**
 * The mtime of a blob whose digest was compared. A layout shares the file, so a careless hand may
 * write into it; whatever has another mtime is read and compared again.
 */
const SOUND = new Date(1000)

export function layerKey(plan: LayerPlan): string {
  const hash = createHash('sha256').update(`${FORMAT}\n${plan.root}\n`)
  for (const { path, mode, identity } of plan.files) {
    hash.update(JSON.stringify([path, mode, identity]))
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

/** The layer of a key, if its record is legible and its blob is whole. */
export async function findLayer(cache: LayerCache, key: string): Promise<Layer | undefined> {
  const record = recordPath(cache, key)
  const layer = await readRecord(record)
  if (!layer || !(await isWhole(cachedBlob(cache, layer.digest), layer))) return undefined
  const now = new Date()
  await utimes(record, now, now).catch(() => {})
  return layer
}

async function readRecord(path: string): Promise<Layer | undefined> {
  try {
    const layer = JSON.parse(await readFile(path, 'utf8')) as Layer
    // What a crash or another program left there is as good as nothing.
    return isDigest(layer.digest) && isDigest(layer.diffId) && layer.files ? layer : undefined
  } catch {
    return undefined
  }
}

async function isWhole(path: string, { size, digest }: Layer): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  if (found?.size !== size) return false
  const checked = found.mtimeMs === SOUND.getTime()
  if (!checked && `sha256:${(await digestFile(path)).sha256}` !== digest) return false
  await utimes(path, new Date(), SOUND).catch(() => {})
  return true
}

/** A path beside the blobs to write a new one to. */
export async function stagedBlob(cache: LayerCache): Promise<string> {
  await mkdir(blobFolder(cache), { recursive: true, mode: 0o700 })
  return join(blobFolder(cache), `.staged-${randomUUID()}`)
}

/** Takes over a blob written to a staged path. */
export async function keepBlob(cache: LayerCache, staged: string, digest: Digest): Promise<void> {
  await utimes(staged, new Date(), SOUND)
  await rename(staged, cachedBlob(cache, digest))
}

/** Remembers a layer under its key, and forgets those that were not used for long. */
export async function keepLayer(cache: LayerCache, key: string, layer: Layer): Promise<void> {
  await mkdir(recordFolder(cache), { recursive: true, mode: 0o700 })
  const path = recordPath(cache, key)
  const staged = `${path}.${randomUUID()}`
  await writeFile(staged, JSON.stringify(layer))
  await rename(staged, path)
  await Promise.all([blobFolder(cache), recordFolder(cache)].map(sweep))
}

/** By the last use, which is the atime; leftovers of killed runs go the same way. */
async function sweep(folder: string): Promise<void> {
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
