import { createReadStream } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { type Digest, isDigest } from '../core/digest.ts'
import { isRepositoryName, isTag } from '../registry/reference.ts'
import { type Descriptor, mediaTypes } from '../registry/types.ts'
import { manifestDigest, type RegistryStore, refusal, type Upload } from './store.ts'

/** One request to the registry API, taken apart. */
export interface RegistryRequest {
  method: string
  name: string
  kind: 'manifest' | 'blob' | 'upload' | 'tags' | 'referrers'
  /** A tag, a digest or an upload's id; empty for none. */
  item: string
  query: URLSearchParams
  message: IncomingMessage
}

export interface Reply {
  status: number
  headers?: Record<string, string | number>
  body?: Readable | Buffer | string
}

const ROUTE =
  /^\/v2\/(.+)\/(?:(manifests)\/([^/]+)|blobs\/(uploads)(?:\/([^/]*))?|(blobs)\/([^/]+)|(tags)\/list|(referrers)\/([^/]+))$/
const LONGEST_MANIFEST = 4 << 20

/** Undefined when the path is none of the API's; names that could leave the folder are refused. */
export function parsePath(
  path: string,
): Pick<RegistryRequest, 'name' | 'kind' | 'item'> | undefined {
  const [, name = '', manifests, reference, uploads, id, blobs, digest, tags, referrers, subject] =
    ROUTE.exec(path) ?? []
  if (!name) return undefined
  if (!isRepositoryName(name)) throw refusal(400, 'NAME_INVALID', 'invalid repository name')
  if (manifests) return { name, kind: 'manifest', item: reference ?? '' }
  if (uploads) return { name, kind: 'upload', item: id ?? '' }
  if (blobs) return { name, kind: 'blob', item: digest ?? '' }
  if (tags) return { name, kind: 'tags', item: '' }
  if (referrers) return { name, kind: 'referrers', item: subject ?? '' }
  return undefined
}

/** https://github.com/opencontainers/distribution-spec, end-1 to end-13. */
export async function answerRequest(
  store: RegistryStore,
  request: RegistryRequest,
): Promise<Reply> {
  const verb = request.method === 'HEAD' ? 'GET' : request.method
  const handler = handlers[`${verb} ${request.kind}`]
  if (!handler) throw refusal(405, 'UNSUPPORTED', 'the operation is unsupported')
  return handler(store, request)
}

type Handler = (store: RegistryStore, request: RegistryRequest) => Promise<Reply>

const handlers: Record<string, Handler> = {
  'GET blob': getBlob,
  'DELETE blob': deleteBlob,
  'POST upload': postUpload,
  'PATCH upload': patchUpload,
  'PUT upload': putUpload,
  'GET upload': async (store, { name, item }) => uploadReply(204, store.upload(name, item)),
  'DELETE upload': async (store, { name, item }) => {
    await store.cancel(store.upload(name, item))
    return { status: 204 }
  },
  'GET manifest': getManifest,
  'PUT manifest': putManifest,
  'DELETE manifest': deleteManifest,
  'GET tags': listTags,
  'GET referrers': listReferrers,
}

function digestOf(text: string | null): Digest {
  if (text && isDigest(text)) return text
  throw refusal(400, 'DIGEST_INVALID', 'provided digest is not sha256 and 64 hex digits')
}

async function getBlob(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  const digest = digestOf(request.item)
  const blob = await store.blob(request.name, digest)
  if (!blob) throw refusal(404, 'BLOB_UNKNOWN', 'blob unknown to registry', digest)
  const headers = {
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    etag: `"${digest}"`,
    'cache-control': 'max-age=31536000',
  }
  const range = readRange(request.message.headers.range, blob.size)
  if (range === 'outside') {
    const error = refusal(416, 'RANGE_INVALID', 'the range is outside of the blob')
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

async function deleteBlob(store: RegistryStore, { name, item }: RegistryRequest): Promise<Reply> {
  const digest = digestOf(item)
  if (!(await store.blob(name, digest))) {
    throw refusal(404, 'BLOB_UNKNOWN', 'blob unknown to registry', digest)
  }
  await store.unlinkBlob(name, digest)
  return { status: 202 }
}

async function postUpload(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
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

async function patchUpload(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  const upload = store.upload(request.name, request.item)
  const given = request.message.headers['content-range']
  const start = given === undefined ? upload.size : Number(/^(\d+)-\d+$/.exec(given)?.[1] ?? -1)
  if (start !== upload.size) {
    return { ...uploadReply(416, upload), body: '' }
  }
  await store.append(upload, request.message)
  return uploadReply(202, upload)
}

async function putUpload(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  return finish(store, request, store.upload(request.name, request.item))
}

async function finish(store: RegistryStore, request: RegistryRequest, upload: Upload) {
  const digest = digestOf(request.query.get('digest'))
  await store.append(upload, request.message)
  await store.finish(upload, digest)
  return created(`/v2/${request.name}/blobs/${digest}`, digest)
}

function created(location: string, digest: Digest): Reply {
  return { status: 201, headers: { location, 'docker-content-digest': digest } }
}

function uploadReply(status: number, { id, repository, size }: Upload): Reply {
  const location = `/v2/${repository}/blobs/uploads/${id}`
  const range = `0-${Math.max(0, size - 1)}`
  return { status, headers: { location, range, 'docker-upload-uuid': id } }
}

async function findManifest(store: RegistryStore, name: string, reference: string) {
  const digest = isDigest(reference)
    ? reference
    : isTag(reference)
      ? await store.tagged(name, reference)
      : undefined
  const manifest = digest && (await store.manifest(name, digest))
  if (manifest) return manifest
  throw refusal(404, 'MANIFEST_UNKNOWN', 'manifest unknown', { name, reference })
}

async function getManifest(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  const { mediaType, digest, bytes } = await findManifest(store, request.name, request.item)
  return {
    status: 200,
    headers: {
      'content-type': mediaType,
      'content-length': bytes.length,
      'docker-content-digest': digest,
      etag: `"${digest}"`,
    },
    ...(request.method === 'HEAD' ? {} : { body: bytes }),
  }
}

interface ManifestContent {
  mediaType?: unknown
  config?: Descriptor
  layers?: Descriptor[]
  manifests?: Descriptor[]
  subject?: Descriptor
  artifactType?: string
  annotations?: Record<string, string>
}

const INDEXES: readonly string[] = [mediaTypes.ociIndex, mediaTypes.dockerIndex]
const IMAGES: readonly string[] = [mediaTypes.ociManifest, mediaTypes.dockerManifest]

async function putManifest(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  const { name, item, message } = request
  if (!isDigest(item) && !isTag(item)) throw refusal(400, 'TAG_INVALID', 'invalid tag', item)
  const bytes = await readAll(message)
  const mediaType = (message.headers['content-type'] ?? '').split(';')[0]?.trim() ?? ''
  const content = readManifest(bytes, mediaType)
  const digest = manifestDigest(bytes, item)
  const missing = await missingParts(store, name, content)
  if (missing.length > 0) {
    const message = 'blob unknown to registry'
    throw refusal(400, 'MANIFEST_BLOB_UNKNOWN', message, missing.join(', '))
  }
  const subject = content.subject?.digest
  await store.addManifest(name, { mediaType, digest, bytes }, subject)
  if (!isDigest(item)) await store.tag(name, item, digest)
  const reply = created(`/v2/${name}/manifests/${digest}`, digest)
  return { ...reply, headers: { ...reply.headers, ...(subject ? { 'oci-subject': subject } : {}) } }
}

async function readAll(message: IncomingMessage): Promise<Buffer> {
  const tooLong = refusal(413, 'MANIFEST_INVALID', 'the manifest is longer than 4 MiB')
  if (Number(message.headers['content-length'] ?? 0) > LONGEST_MANIFEST) throw tooLong
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > LONGEST_MANIFEST) throw tooLong
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function readManifest(bytes: Buffer, mediaType: string): ManifestContent {
  const invalid = (why: string) => refusal(400, 'MANIFEST_INVALID', 'manifest invalid', why)
  if (!INDEXES.includes(mediaType) && !IMAGES.includes(mediaType)) {
    throw invalid(`unknown media type "${mediaType}"`)
  }
  let content: ManifestContent
  try {
    content = JSON.parse(bytes.toString()) as ManifestContent
  } catch {
    throw invalid('not JSON')
  }
  if (typeof content !== 'object' || content === null) throw invalid('not an object')
  if (content.mediaType !== undefined && content.mediaType !== mediaType) {
    throw invalid(`mediaType is "${String(content.mediaType)}", Content-Type "${mediaType}"`)
  }
  // Go writes `null` for an empty list.
  for (const name of ['manifests', 'layers'] as const) {
    if ((content[name] as unknown) === null) content[name] = []
  }
  const { manifests, config, layers, subject } = content
  const parts = INDEXES.includes(mediaType) ? manifests : layers && config && [config, ...layers]
  const all = Array.isArray(parts) ? [...parts, ...(subject ? [subject] : [])] : undefined
  if (!all?.every((part) => isDigest(String(part?.digest))))
    throw invalid('a descriptor is missing')
  return content
}

async function missingParts(
  store: RegistryStore,
  name: string,
  { manifests = [], config, layers = [] }: ManifestContent,
): Promise<Digest[]> {
  const missing: Digest[] = []
  for (const { digest } of manifests) {
    if (!(await store.hasManifest(name, digest))) missing.push(digest)
  }
  for (const { digest, mediaType } of config ? [config, ...layers] : []) {
    if (/\.foreign\.|\.nondistributable\./.test(mediaType)) continue
    if (!(await store.blob(name, digest))) missing.push(digest)
  }
  return missing
}

async function deleteManifest(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  const { name, item } = request
  const { digest } = await findManifest(store, name, item)
  if (isDigest(item)) await store.removeManifest(name, digest)
  else await store.untag(name, item)
  return { status: 202 }
}

async function listTags(store: RegistryStore, { name, query }: RegistryRequest): Promise<Reply> {
  const tags = await store.tags(name)
  if (!tags) throw refusal(404, 'NAME_UNKNOWN', 'repository name not known to registry', { name })
  return pageReply(`/v2/${name}/tags/list`, query, tags, (page) => ({ name, tags: page }))
}

/** One page after `last`, at most `n` long, with a Link to the next. `all` is sorted. */
export function pageReply(
  path: string,
  query: URLSearchParams,
  all: readonly string[],
  body: (page: string[]) => object,
): Reply {
  const last = query.get('last')
  const asked = query.get('n')
  const n = asked !== null && /^\d+$/.test(asked) ? Number(asked) : 10_000
  const rest = last === null ? [...all] : all.filter((name) => name > last)
  const page = rest.slice(0, n)
  const end = page.at(-1)
  const more = end !== undefined && rest.length > page.length
  const next = more ? `<${path}?last=${encodeURIComponent(end)}&n=${n}>; rel="next"` : undefined
  return {
    ...jsonReply(200, body(page)),
    headers: { 'content-type': 'application/json', ...(next ? { link: next } : {}) },
  }
}

async function listReferrers(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  const kind = request.query.get('artifactType')
  const found = await store.referrers(request.name, digestOf(request.item))
  const manifests = found.map(({ mediaType, digest, bytes }) => {
    const content = JSON.parse(bytes.toString()) as ManifestContent
    const artifactType = content.artifactType ?? content.config?.mediaType
    const { annotations } = content
    return { mediaType, digest, size: bytes.length, artifactType, annotations }
  })
  const wanted = manifests.filter(({ artifactType }) => kind === null || artifactType === kind)
  const reply = jsonReply(200, {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: wanted,
  })
  const filters = kind === null ? {} : { 'oci-filters-applied': 'artifactType' }
  return { ...reply, headers: { 'content-type': mediaTypes.ociIndex, ...filters } }
}

export function jsonReply(status: number, value: object): Reply {
  return {
    status,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(value),
  }
}

export function refusalReply(error: {
  status: number
  code: string
  message: string
  detail?: unknown
}): Reply {
  const { status, code, message, detail } = error
  return jsonReply(status, { errors: [{ code, message, ...(detail ? { detail } : {}) }] })
}
