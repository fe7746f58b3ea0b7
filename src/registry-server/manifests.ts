import type { IncomingMessage } from 'node:http'
import { type Digest, isDigest } from '../core/digest.ts'
import { parseObject } from '../core/http/body.ts'
import { isForeign, isIndex, manifestTypes, ownMediaType } from '../registry/manifest.ts'
import { isTag } from '../registry/reference.ts'
import { type Descriptor, type ImageManifest, mediaTypes } from '../registry/types.ts'
import { Refusal } from './refusal.ts'
import { created, digestOf, jsonReply, type RegistryRequest, type Reply } from './reply.ts'
import { manifestDigest, type RegistryStore } from './store.ts'

const LONGEST_MANIFEST = 4 << 20

async function findManifest(store: RegistryStore, name: string, reference: string) {
  const digest = isDigest(reference)
    ? reference
    : isTag(reference)
      ? await store.tagged(name, reference)
      : undefined
  const manifest = digest && (await store.manifest(name, digest))
  if (manifest) return manifest
  throw new Refusal(404, 'MANIFEST_UNKNOWN', 'manifest unknown', { name, reference })
}

export async function getManifest(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
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

export async function putManifest(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  const { name, item, message } = request
  if (!isDigest(item) && !isTag(item)) throw new Refusal(400, 'TAG_INVALID', 'invalid tag', item)
  const bytes = await readAll(message)
  const mediaType = (message.headers['content-type'] ?? '').split(';')[0]?.trim() ?? ''
  const parts = readParts(bytes, mediaType)
  const digest = manifestDigest(bytes, item)
  const missing = await missingParts(store, name, parts)
  if (missing.length > 0) {
    const message = 'blob unknown to registry'
    throw new Refusal(400, 'MANIFEST_BLOB_UNKNOWN', message, missing.join(', '))
  }
  const subject = parts.subject?.digest
  await store.addManifest(name, { mediaType, digest, bytes }, subject)
  if (!isDigest(item)) await store.tag(name, item, digest)
  const reply = created(`/v2/${name}/manifests/${digest}`, digest)
  return { ...reply, headers: { ...reply.headers, ...(subject ? { 'oci-subject': subject } : {}) } }
}

async function readAll(message: IncomingMessage): Promise<Buffer> {
  const tooLong = new Refusal(413, 'MANIFEST_INVALID', 'the manifest is longer than 4 MiB')
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

type Part = Pick<Descriptor, 'digest'> & Partial<Descriptor>

/** What a manifest names. */
interface Parts {
  manifests: Part[]
  blobs: Part[]
  subject: Part | undefined
}

/**
 * As other registries do, it looks at nothing of a descriptor but its digest: what is odd there is
 * the client's to refuse, and tests of the client need it here.
 */
function readParts(bytes: Buffer, mediaType: string): Parts {
  const invalid = (why: string) => new Refusal(400, 'MANIFEST_INVALID', 'manifest invalid', why)
  if (!manifestTypes.includes(mediaType)) throw invalid(`unknown media type "${mediaType}"`)
  const content = parseObject(bytes.toString())
  if (content === undefined) throw invalid('it is not JSON')
  const own = ownMediaType(bytes)
  if (own !== undefined && own !== mediaType) {
    throw invalid(`mediaType is "${own}", Content-Type "${mediaType}"`)
  }
  const { manifests, config, layers, subject } = content
  const all = (value: unknown): Part[] => {
    // Go writes null for an empty list.
    const list: unknown = value === null ? [] : value
    if (Array.isArray(list) && list.every(isPart)) return list
    throw invalid('a descriptor lacks its digest')
  }
  const [about] = all(subject ? [subject] : [])
  if (isIndex({ mediaType })) return { manifests: all(manifests), blobs: [], subject: about }
  return { manifests: [], blobs: [...all([config]), ...all(layers)], subject: about }
}

function isPart(value: unknown): value is Part {
  return isDigest((value as Partial<Part> | null)?.digest ?? '')
}

async function missingParts(
  store: RegistryStore,
  name: string,
  { manifests, blobs }: Parts,
): Promise<Digest[]> {
  const missing: Digest[] = []
  for (const { digest } of manifests) {
    if (!(await store.hasManifest(name, digest))) missing.push(digest)
  }
  for (const { digest, mediaType = '' } of blobs) {
    if (!isForeign({ mediaType }) && !(await store.blob(name, digest))) missing.push(digest)
  }
  return missing
}

export async function deleteManifest(
  store: RegistryStore,
  request: RegistryRequest,
): Promise<Reply> {
  const { name, item } = request
  const { digest } = await findManifest(store, name, item)
  if (isDigest(item)) await store.removeManifest(name, digest)
  else await store.untag(name, item)
  return { status: 202 }
}

export async function listReferrers(
  store: RegistryStore,
  request: RegistryRequest,
): Promise<Reply> {
  const kind = request.query.get('artifactType')
  const found = await store.referrers(request.name, digestOf(request.item))
  const manifests = found.map(({ mediaType, digest, bytes }) => {
    const content = JSON.parse(bytes.toString()) as Partial<ImageManifest> & {
      artifactType?: string
    }
    // Of an artifact that names no type, it is the type of its config.
    const { annotations, artifactType = content.config?.mediaType } = content
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
