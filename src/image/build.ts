import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { Digest } from '../core/digest.ts'
import { throwIfCancelled } from '../core/errors.ts'
import { findLayer, keepBlob, keepLayer, type LayerCache, layerKey, stageBlob } from './cache.ts'
import { deflatedMember, isSmall, type LayerSink, requireWhole, writeMember } from './gzip.ts'
import type { Layer, LayerContent, LayerFile, LayerPlan } from './layers.ts'
import { padding, tarEnd, tarHeader } from './tar.ts'
import { entriesOf } from './war/entries.ts'

/** The layer from the cache, or written into it. */
export async function buildLayer(
  plan: LayerPlan,
  cache: LayerCache,
  signal?: AbortSignal,
): Promise<Layer> {
  const key = layerKey(plan)
  const known = await findLayer(cache, key, signal)
  if (known) return { ...known, name: plan.name }
  const layer = await writeLayer(plan, cache, signal)
  await keepLayer(cache, key, layer)
  return layer
}

async function writeLayer(
  plan: LayerPlan,
  cache: LayerCache,
  signal: AbortSignal | undefined,
): Promise<Layer> {
  const hashes = { blob: createHash('sha256'), tar: createHash('sha256') }
  let size = 0
  let files: LayerContent[] = []
  const staged = await stageBlob(cache, async (file) => {
    files = await writeEntries(plan, {
      async blob(bytes) {
        throwIfCancelled(signal)
        hashes.blob.update(bytes)
        size += bytes.length
        await file.appendFile(bytes)
      },
      tar: (bytes) => void hashes.tar.update(bytes),
    })
  })
  const digest: Digest = `sha256:${hashes.blob.digest('hex')}`
  const diffId: Digest = `sha256:${hashes.tar.digest('hex')}`
  await keepBlob(cache, staged, digest)
  return { name: plan.name, diffId, digest, size, files }
}

/** Small plain files are deflated together, in members of about this size. */
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
  for (const { path, file, folder } of entriesOf(plan)) {
    if (folder) {
      const [uid, gid, mode] = folder
      await add(tarHeader({ path, type: 'directory', uid, gid, mode, size: 0 }))
      continue
    }
    const { mode, time, source } = file
    await add(tarHeader({ path, type: 'file', mode, time, size: source.size }))
    const md5 = isSmall(source) ? await addSmall(file, add) : await flushAndWrite(file, flush, sink)
    contents.push({ path: `/${path}`, md5 })
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
