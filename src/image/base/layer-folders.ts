import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { type Digest, digestingStream } from '../../core/digest.ts'
import { StepError, throwIfCancelled } from '../../core/errors.ts'
import type { LayerFolders } from './folders.ts'

const GZIP = Buffer.from([0x1f, 0x8b])
/** RFC 8878, 3.1.1. */
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])

/**
 * Reads the headers of a layer's tar from a stream; no content is kept. The tar must match its
 * diffID, because the record is used for every image with that diffID.
 * @returns undefined when it is compressed with zstd, which Node 20 cannot read
 */
export async function readLayerFolders(
  blob: Readable,
  diffId: Digest,
  signal?: AbortSignal,
): Promise<LayerFolders | undefined> {
  const start = await firstBytes(blob)
  if (start.subarray(0, ZSTD.length).equals(ZSTD)) {
    blob.destroy()
    return undefined
  }
  const { extract } = await import('tar-stream')
  const hashed = digestingStream()
  const unpack = extract()
  const found: LayerFolders = { folders: {}, links: {}, files: {}, removed: [], emptied: [] }
  const reading = (async () => {
    for await (const entry of unpack) {
      note(entry.header, found)
      entry.resume()
    }
  })()
  const unzip = start.subarray(0, GZIP.length).equals(GZIP)
    ? [createGunzip({ chunkSize: 256 * 1024 })]
    : []
  try {
    await Promise.all([pipeline([blob, ...unzip, hashed.stream, unpack]), reading])
  } catch (error) {
    throwIfCancelled(signal)
    if (error instanceof StepError) throw error
    throw new StepError('INPUT_INVALID', 'is not a readable tar archive', { cause: error })
  }
  if (hashed.result().digest === diffId) return found
  throw new StepError('VERIFY_FAILED', `is not ${diffId}, as the image says`)
}

async function firstBytes(blob: Readable): Promise<Buffer> {
  for await (const chunk of blob.iterator({ destroyOnReturn: false })) {
    blob.unshift(chunk)
    return chunk as Buffer
  }
  return Buffer.alloc(0)
}

interface Header {
  name: string
  type?: string | null
  mode?: number
  uid?: number
  gid?: number
  linkname?: string | null
  pax?: unknown
}

/** OCI image-spec, layer.md, "Whiteouts". */
const REMOVED = '.wh.'
const EMPTIED = '.wh..wh..opq'

function note(header: Header, found: LayerFolders): void {
  const { name, type, mode = 0o755, linkname } = header
  // tar-stream takes paths and sizes from pax records, and leaves ids to us.
  const pax = (header.pax ?? {}) as Record<string, string | undefined>
  const [uid, gid] = [Number(pax.uid ?? header.uid ?? 0), Number(pax.gid ?? header.gid ?? 0)]
  const path = relative(name)
  const file = posix.basename(path)
  const folder = relative(posix.dirname(path))
  if (file === EMPTIED) found.emptied.push(folder)
  else if (file.startsWith(REMOVED)) {
    found.removed.push(relative(posix.join(folder, file.slice(REMOVED.length))))
  } else if (path === '') return
  else if (type === 'directory') found.folders[path] = [uid, gid, mode & 0o7777]
  else if (type === 'symlink') found.links[path] = linkname ?? ''
  else found.files[folder] ??= file
}

/** The tar path: without `./` or `/` at its start, or `/` at its end. */
function relative(name: string): string {
  return posix.join('/', name).replace(/^\/|\/$/g, '')
}
