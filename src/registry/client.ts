import { pipeline, Readable, type Transform } from 'node:stream'
import { type Digest, isDigest, sha256, verifyingStream } from '../core/digest.ts'
import { isStepError, StepError } from '../core/errors.ts'
import { wait } from '../core/retry.ts'
import { type Answer, connectionError, failure, header, readBody, readJson } from './answer.ts'
import { deleteScopes, pullScopes, pushScopes } from './auth.ts'
import { followLocation } from './origin.ts'
import { formatReference, formatRepository, type Reference, type Repository } from './reference.ts'
import { type Call, createTransport, type Transport, type TransportOptions } from './transport.ts'
import { type Descriptor, type Manifest, mediaTypes, type RegistryClient } from './types.ts'
import { createBlobPush } from './upload.ts'

export type RegistryClientOptions = TransportOptions

/** The media types of manifests that we can read, as an Accept header. */
const MANIFESTS: readonly string[] = [
  mediaTypes.ociManifest,
  mediaTypes.ociIndex,
  mediaTypes.dockerManifest,
  mediaTypes.dockerIndex,
]

/**
 * A client for all registries. Connections and tokens are kept until `close`. A registry on loopback
 * or named in `insecure` is spoken to in plain http, every other one over TLS.
 */
export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const transport = createTransport(options)
  return {
    authorizePush: (target, sources = []) =>
      transport.authorize(target.registry, pushScopes(target, sources)),
    getManifest: (reference) => getManifest(transport, reference),
    resolve: (reference) => resolve(transport, reference),
    putManifest: (reference, manifest) => putManifest(transport, reference, manifest),
    deleteManifest: (repository, digest) => deleteManifest(transport, repository, digest),
    hasBlob: (repository, digest) => hasBlob(transport, repository, digest),
    getBlob: (repository, blob) => getBlob(transport, repository, blob, options.signal),
    ensureBlob: createBlobPush(transport, options),
    listTags: (repository) => listTags(transport, repository),
    bytesSent: () => transport.bytesSent(),
    close: () => transport.close(),
  }
}

function manifestCall(method: 'GET' | 'HEAD', what: string, reference: Reference): Call {
  const { registry, name, tag, digest } = reference
  return {
    what: `${what} ${formatReference(reference)}`,
    method,
    registry,
    to: `/v2/${name}/manifests/${digest ?? tag ?? 'latest'}`,
    scopes: pullScopes(reference),
    headers: { accept: MANIFESTS.join(', ') },
  }
}

async function getManifest(transport: Transport, reference: Reference): Promise<Manifest> {
  const call = manifestCall('GET', 'reading', reference)
  return transport.again(async () => {
    const answer = await transport.sendOnce(call)
    if (answer.status !== 200) throw await failure(call.what, answer, reference.registry)
    const bytes = await readBody(call.what, answer)
    const digest = sha256(bytes)
    const said = header(answer, 'docker-content-digest')
    const expected = reference.digest ?? (said && isDigest(said) ? said : digest)
    if (digest !== expected) throw altered(call.what, digest, expected)
    return { mediaType: mediaTypeOf(call.what, answer, bytes), digest, bytes }
  })
}

function altered(what: string, got: string, expected: string): StepError {
  return new StepError('VERIFY_FAILED', `${what}: got ${got}, not ${expected}`, {
    hint: 'The content was changed on the way or in the registry. Do not use it.',
  })
}

/** The Content-Type, or what the manifest says of itself where the server names a general type. */
function mediaTypeOf(what: string, answer: Answer, bytes: Buffer): string {
  const [type = ''] = (header(answer, 'content-type') ?? '').split(';')
  if (MANIFESTS.includes(type.trim())) return type.trim()
  const own = readOwnType(bytes)
  if (own && MANIFESTS.includes(own)) return own
  throw new StepError('COMMAND_FAILED', `${what}: "${type || own}" is not an image's media type`, {
    hint: 'Only OCI images and Docker images of schema 2 can be read. Push the image again.',
  })
}

function readOwnType(bytes: Buffer): string | undefined {
  try {
    const { mediaType } = JSON.parse(bytes.toString()) as { mediaType?: unknown }
    return typeof mediaType === 'string' ? mediaType : undefined
  } catch {
    return undefined
  }
}

async function resolve(transport: Transport, reference: Reference): Promise<Digest | undefined> {
  const answer = await transport.send(manifestCall('HEAD', 'looking up', reference))
  await answer.discard()
  if (answer.status === 404) return undefined
  const digest = header(answer, 'docker-content-digest')
  if (answer.status === 200 && digest && isDigest(digest)) {
    if (reference.digest === undefined || reference.digest === digest) return digest
    throw altered(`looking up ${formatReference(reference)}`, digest, reference.digest)
  }
  // Some registries leave the digest out; and an answer to HEAD has no body to say what is wrong.
  try {
    return (await getManifest(transport, reference)).digest
  } catch (error) {
    if (isStepError(error, 'NOT_FOUND')) return undefined
    throw error
  }
}

async function putManifest(
  transport: Transport,
  reference: Reference,
  manifest: Manifest,
): Promise<void> {
  const { registry, name, tag, digest } = reference
  const what = tag
    ? `tagging ${formatReference({ registry, name, tag })}`
    : `pushing ${formatRepository(reference)}@${manifest.digest}`
  if (
    sha256(manifest.bytes) !== manifest.digest ||
    (digest ?? manifest.digest) !== manifest.digest
  ) {
    throw altered(what, sha256(manifest.bytes), digest ?? manifest.digest)
  }
  const answer = await transport.send({
    what,
    method: 'PUT',
    registry,
    to: `/v2/${name}/manifests/${tag ?? manifest.digest}`,
    scopes: pushScopes(reference),
    headers: { 'content-type': manifest.mediaType },
    body: manifest.bytes,
  })
  if (answer.status !== 201 && answer.status !== 200) throw await failure(what, answer, registry)
  await answer.discard()
  const said = header(answer, 'docker-content-digest')
  if (said !== undefined && said !== manifest.digest) throw altered(what, said, manifest.digest)
}

async function deleteManifest(
  transport: Transport,
  repository: Repository,
  digest: Digest,
): Promise<boolean> {
  const { registry, name } = repository
  const what = `removing ${formatRepository(repository)}@${digest}`
  const to = `/v2/${name}/manifests/${digest}`
  const scopes = deleteScopes(repository)
  const answer = await transport.send({ what, method: 'DELETE', registry, to, scopes })
  const { status } = answer
  if (status !== 405) {
    if (status !== 202 && status !== 200 && status !== 404) {
      throw await failure(what, answer, registry)
    }
    await answer.discard()
    return status !== 404
  }
  await answer.discard()
  throw new StepError('COMMAND_FAILED', `${what}: ${registry} removes nothing`, {
    hint: 'Allow it there: storage.delete.enabled in the configuration of docker-registry.',
  })
}

function blobCall(
  method: 'GET' | 'HEAD',
  what: string,
  repository: Repository,
  digest: Digest,
): Call {
  return {
    what: `${what} ${formatRepository(repository)}@${digest}`,
    method,
    registry: repository.registry,
    to: `/v2/${repository.name}/blobs/${digest}`,
    scopes: pullScopes(repository),
  }
}

async function hasBlob(
  transport: Transport,
  repository: Repository,
  digest: Digest,
): Promise<boolean> {
  const call = blobCall('HEAD', 'looking up', repository, digest)
  const answer = await transport.send(call)
  if (answer.status === 200 || answer.status === 404) {
    await answer.discard()
    return answer.status === 200
  }
  throw await failure(call.what, answer, repository.registry)
}

async function getBlob(
  transport: Transport,
  repository: Repository,
  blob: Pick<Descriptor, 'digest' | 'size'>,
  signal: AbortSignal,
): Promise<Readable> {
  const call = blobCall('GET', 'fetching', repository, blob.digest)
  const answer = await transport.send(call)
  if (answer.status !== 200) throw await failure(call.what, answer, repository.registry)
  const checked: Transform = verifyingStream(call.what, blob)
  const bytes = Readable.from(resumed(transport, call, answer, signal), { objectMode: false })
  pipeline(bytes, checked, () => {})
  return checked
}

/** The body, continued with Range requests when its connection breaks. */
async function* resumed(transport: Transport, call: Call, first: Answer, signal: AbortSignal) {
  let answer = first
  let received = 0
  for (let breaks = 0; ; ) {
    try {
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        received += chunk.length
        yield chunk
      }
      return
    } catch (error) {
      const fault = connectionError(call.what, error)
      if (signal.aborted || !fault.retryable || ++breaks > 3) throw fault
      await wait(200 * breaks, signal)
      answer = await transport.send({ ...call, headers: { range: `bytes=${received}-` } })
      if (answer.status === 206) continue
      await answer.discard()
      throw fault
    }
  }
}

/** distribution-spec, "Listing Tags": pages are linked as in RFC 8288. */
async function listTags(transport: Transport, repository: Repository): Promise<string[]> {
  const what = `listing the tags of ${formatRepository(repository)}`
  const tags = new Set<string>()
  let to: string | URL | undefined = `/v2/${repository.name}/tags/list?n=1000`
  const seen = new Set<string>()
  while (to !== undefined) {
    const { registry } = repository
    const answer: Answer = await transport.send({
      what,
      method: 'GET',
      registry,
      to,
      scopes: pullScopes(repository),
    })
    if (answer.status !== 200) throw await failure(what, answer, registry)
    const page = (await readJson(what, answer)).tags
    for (const tag of Array.isArray(page) ? page : []) if (typeof tag === 'string') tags.add(tag)
    const next = /<([^>]*)>\s*;[^,]*\brel="?next\b/i.exec(header(answer, 'link') ?? '')?.[1]
    to = next === undefined ? undefined : followLocation(what, answer.url, next)
    if (to && seen.has(to.href)) break
    if (to) seen.add(to.href)
  }
  return [...tags]
}
