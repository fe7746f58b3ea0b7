import { createReadStream } from 'node:fs'
import { isRepositoryName } from '../registry/reference.ts'
import { Refusal } from './refusal.ts'
import { created, digestOf, type RegistryRequest, type Reply, refusalReply } from './reply.ts'
import type { RegistryStore, Upload } from './store.ts'

export async function getBlob(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  const digest = digestOf(request.item)
  const blob = await store.blob(request.name, digest)
  if (!blob) throw new Refusal(404, 'BLOB_UNKNOWN', 'blob unknown to registry', digest)
  const headers = {
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    etag: `"${digest}"`,
    'cache-control': 'max-age=31536000',
  }
  const range = readRange(request.message.headers.range, blob.size)
  if (range === 'outside') {
    const error = new Refusal(416, 'RANGE_INVALID', 'the range is outside of the blob')
    return { ...refusalReply(error), headers: { 'content-range': `bytes */${blob.size}` } }
  }
  const { start, end } = range ?? { start: 0, end: blob.size - 1 }
  return {
    status: range ? 206 : 200,
    headers: {
      ...headers,
      'content-length': end - start + 1,
      ...(range ? { 'content-range': `bytes ${start}-${end}/${blob.size}` } : {}),
    },
    ...(request.method === 'HEAD' || end < start
      ? {}
      : { body: createReadStream(blob.path, { start, end, highWaterMark: 256 * 1024 }) }),
  }
}

/** RFC 9110, section 14.2: one range; other forms may be ignored. */
function readRange(header: string | undefined, size: number) {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? []
  if (!first && !last) return undefined
  const start = first ? Number(first) : Math.max(0, size - Number(last))
  const end = first && last ? Math.min(Number(last), size - 1) : size - 1
  return start >= size || end < start ? 'outside' : { start, end }
}

export async function deleteBlob(
  store: RegistryStore,
  { name, item }: RegistryRequest,
): Promise<Reply> {
  const digest = digestOf(item)
  if (!(await store.blob(name, digest))) {
    throw new Refusal(404, 'BLOB_UNKNOWN', 'blob unknown to registry', digest)
  }
  await store.unlinkBlob(name, digest)
  return { status: 202 }
}

export async function postUpload(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  const { name, query } = request
  const mount = query.get('mount')
  const from = query.get('from') ?? ''
  if (mount !== null && isRepositoryName(from)) {
    const digest = digestOf(mount)
    if (await store.mount(name, from, digest)) return created(`/v2/${name}/blobs/${digest}`, digest)
  }
  const upload = await store.begin(name)
  return query.has('digest') ? finish(store, request, upload) : uploadReply(202, upload)
}

export async function patchUpload(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  const upload = store.upload(request.name, request.item)
  const given = request.message.headers['content-range']
  const start = given === undefined ? upload.size : Number(/^(\d+)-\d+$/.exec(given)?.[1] ?? -1)
  if (start !== upload.size) {
    return { ...uploadReply(416, upload), body: '' }
  }
  await store.append(upload, request.message)
  return uploadReply(202, upload)
}

export async function putUpload(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  return finish(store, request, store.upload(request.name, request.item))
}

async function finish(store: RegistryStore, request: RegistryRequest, upload: Upload) {
  const digest = digestOf(request.query.get('digest'))
  await store.append(upload, request.message)
  await store.finish(upload, digest)
  return created(`/v2/${request.name}/blobs/${digest}`, digest)
}

export function uploadReply(status: number, { id, repository, size }: Upload): Reply {
  const location = `/v2/${repository}/blobs/uploads/${id}`
  const range = `0-${Math.max(0, size - 1)}`
  return { status, headers: { location, range, 'docker-upload-uuid': id } }
}
