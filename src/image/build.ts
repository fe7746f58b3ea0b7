import { createHash, randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { crc32 } from 'node:zlib'
import { type Digest, isDigest } from '../core/digest.ts'
import { throwIfCancelled } from '../core/errors.ts'
import { deflatedMember, isSmall, type LayerSink, requireWhole, writeMember } from './gzip.ts'
import type { LayerFile, LayerName, LayerPlan } from './layers.ts'
import { padding, tarEnd, tarHeader } from './tar.ts'

/** A written layer: OCI image-spec, layer.md; `diffId` is over the tar, `digest` over the blob. */
export interface Layer {
  name: LayerName
  diffId: Digest
  digest: Digest
  /** bytes of the blob */
  size: number
  files: LayerContent[]
}

export interface LayerContent {
  /** Absolute inside the image, with the leading `/`. */
  path: string
  /** hex */
  md5: string
}

/** Raised whenever the bytes of a layer would come out otherwise than before. */
const FORMAT = 'crosscloud-layer-1'

/**
 * Layers by content, kept between builds: an unchanged layer is neither compressed nor written
 * again. A key hashes what goes in, never a path or a date on this machine.
 */
export interface LayerCache {
  folder: string
}

export function layerKey(plan: LayerPlan): string {
  const hash = createHash('sha256').update(`${FORMAT}\n${plan.root}\n`)
  for (const { path, mode, identity } of plan.files) {
    hash.update(JSON.stringify([path, mode, identity]))
  }
  return hash.digest('hex')
}

/** The blob of a layer in the cache. */
export function cachedBlob(cache: LayerCache, digest: Digest): string {
  return join(cache.folder, 'blobs', digest.slice('sha256:'.length))
}

/** Gives the layer from the cache, or writes it there. */
export async function buildLayer(
  plan: LayerPlan,
  cache: LayerCache,
  signal?: AbortSignal,
): Promise<Layer> {
  const record = join(cache.folder, 'layers', `${layerKey(plan)}.json`)
  const known = await readRecord(record, plan.name)
  if (known && (await isWhole(cache, known))) return known
  const layer = await writeLayer(plan, cache, signal)
  await mkdir(dirname(record), { recursive: true, mode: 0o700 })
  const staged = `${record}.${randomUUID()}`
  await writeFile(staged, JSON.stringify(layer))
  await rename(staged, record)
  return layer
}

async function readRecord(path: string, name: LayerName): Promise<Layer | undefined> {
  try {
    const layer = { ...(JSON.parse(await readFile(path, 'utf8')) as Layer), name }
    // What a crash or another program left there is as good as nothing.
    return isDigest(layer.digest) && isDigest(layer.diffId) && layer.files ? layer : undefined
  } catch {
    return undefined
  }
}

async function isWhole(cache: LayerCache, layer: Layer): Promise<boolean> {
  const path = cachedBlob(cache, layer.digest)
  const found = await stat(path).catch(() => undefined)
  if (found?.size !== layer.size) return false
  const now = new Date()
  await utimes(path, now, now).catch(() => {})
  return true
}

async function writeLayer(
  plan: LayerPlan,
  cache: LayerCache,
  signal: AbortSignal | undefined,
): Promise<Layer> {
  const blobs = join(cache.folder, 'blobs')
  await mkdir(blobs, { recursive: true, mode: 0o700 })
  const staged = join(blobs, `.staged-${randomUUID()}`)
  const file = await open(staged, 'wx', 0o600)
  const hashes = { blob: createHash('sha256'), tar: createHash('sha256') }
  let size = 0
  const sink: LayerSink = {
    async blob(bytes) {
      throwIfCancelled(signal)
      hashes.blob.update(bytes)
      size += bytes.length
      await file.appendFile(bytes)
    },
    tar: (bytes) => void hashes.tar.update(bytes),
  }
  try {
    const files = await writeEntries(plan, sink)
    await file.close()
    const digest: Digest = `sha256:${hashes.blob.digest('hex')}`
    const diffId: Digest = `sha256:${hashes.tar.digest('hex')}`
    await rename(staged, cachedBlob(cache, digest))
    return { name: plan.name, diffId, digest, size, files }
  } catch (error) {
    await file.close().catch(() => {})
    await rm(staged, { force: true })
    throw error
  }
}

/** Collected plain bytes are deflated together, in members of about this size. */
const BATCH = 256 * 1024

async function writeEntries(plan: LayerPlan, sink: LayerSink): Promise<LayerContent[]> {
  const contents: LayerContent[] = []
  let pending: Buffer[] = []
  let pendingSize = 0
  const flush = async () => {
    if (pendingSize > 0) await sink.blob(deflatedMember(Buffer.concat(pending)))
    pending = []
    pendingSize = 0
  }
  const add = async (bytes: Buffer) => {
    sink.tar(bytes)
    pending.push(bytes)
    pendingSize += bytes.length
    if (pendingSize >= BATCH) await flush()
  }
  const directories = new Set<string>()
  for (const file of plan.files) {
    for (const path of newDirectories(plan.root, file.path, directories)) {
      await add(tarHeader({ path, type: 'directory', mode: 0o755, size: 0 }))
    }
    const { source } = file
    await add(tarHeader({ path: file.path, type: 'file', mode: file.mode, size: source.size }))
    const md5 = isSmall(source) ? await addSmall(file, add) : await flushAndWrite(file, flush, sink)
    contents.push({ path: `/${file.path}`, md5 })
    await add(padding(source.size))
  }
  await add(tarEnd())
  await flush()
  return contents
}

async function flushAndWrite(
  file: LayerFile,
  flush: () => Promise<void>,
  sink: LayerSink,
): Promise<string> {
  await flush()
  return writeMember(file.source, sink)
}

async function addSmall(file: LayerFile, add: (bytes: Buffer) => Promise<void>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of file.source.read()) chunks.push(Buffer.from(chunk))
  const content = Buffer.concat(chunks)
  requireWhole(file.source, content.length, crc32(content))
  await add(content)
  return createHash('md5').update(content).digest('hex')
}

/** The folders from `root` down to the file that were not written yet, outermost first. */
function newDirectories(root: string, path: string, written: Set<string>): string[] {
  const added: string[] = []
  for (let folder = dirname(path); folder.length >= root.length; folder = dirname(folder)) {
    if (folder === '.' || written.has(folder)) break
    written.add(folder)
    added.unshift(folder)
  }
  return added
}

/** Puts a cached blob where a layout wants it: the same file when both are on one disk. */
export async function placeBlob(cache: LayerCache, digest: Digest, target: string): Promise<void> {
  const source = cachedBlob(cache, digest)
  try {
    await link(source, target)
  } catch {
    const { copyFile } = await import('node:fs/promises')
    await copyFile(source, target)
  }
}
