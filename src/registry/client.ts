import { pipeline, Readable, type Transform } from 'node:stream'
import { type Digest, isDigest, sha256, verifyingStream } from '../core/digest.ts'
import { isStepError, StepError } from '../core/errors.ts'
import { header } from '../core/http/body.ts'
import type { HttpResponse } from '../core/http/client.ts'
import { connectionError } from '../core/http/errors.ts'
import { wait } from '../core/retry.ts'
import { manifestTypes, ownMediaType } from './manifest.ts'
import { formatReference, formatRepository, type Reference, type Repository } from './reference.ts'
import { failure, REGISTRY, readDocument } from './response.ts'
import { deleteScopes, pullScopes, pushScopes } from './scopes.ts'
import { type Call, createTransport, type Transport, type TransportOptions } from './transport.ts'
import type { Descriptor, Manifest, RegistryClient } from './types.ts'
import { createBlobPush } from './upload.ts'

export type RegistryClientOptions = TransportOptions

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
    getBlob: (repository, blob) => getBlob(transport, repository, blob, options.signal),
    ensureBlob: createBlobPush(transport, options),
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
    headers: { accept: manifestTypes.join(', ') },
  }
}

async function getManifest(transport: Transport, reference: Reference): Promise<Manifest> {
  const call = manifestCall('GET', 'reading', reference)
  return transport.again(async () => {
    const response = await transport.sendOnce(call)
    if (response.status !== 200) throw await failure(call.what, response, reference.registry)
    const bytes = await readDocument(call.what, response)
    const digest = sha256(bytes)
    const reported = header(response.headers, 'docker-content-digest')
    const expected = reference.digest ?? (reported && isDigest(reported) ? reported : digest)
    if (digest !== expected) throw altered(call.what, digest, expected)
    return { mediaType: mediaTypeOf(call.what, response, bytes), digest, bytes }
  })
}

function altered(what: string, got: string, expected: string): StepError {
  return new StepError('VERIFY_FAILED', `${what}: got ${got}, not ${expected}`, {
    hint: 'The content was changed on the way or in the registry. Do not use it.',
  })
}

/** The Content-Type, or what the manifest says of itself where the server names a general type. */
function mediaTypeOf(what: string, response: HttpResponse, bytes: Buffer): string {
  const [type = ''] = (header(response.headers, 'content-type') ?? '').split(';')
  if (manifestTypes.includes(type.trim())) return type.trim()
  const own = ownMediaType(bytes)
  if (own && manifestTypes.includes(own)) return own
  throw new StepError('COMMAND_FAILED', `${what}: "${type || own}" is not an image's media type`, {
    hint: 'Only OCI images and Docker images of schema 2 can be read. Push the image again.',
  })
}

async function resolve(transport: Transport, reference: Reference): Promise<Digest | undefined> {
  const response = await transport.send(manifestCall('HEAD', 'looking up', reference))
  await response.discard()
  if (response.status === 404) return undefined
  const digest = header(response.headers, 'docker-content-digest')
  if (response.status === 200 && digest && isDigest(digest)) {
    if (reference.digest === undefined || reference.digest === digest) return digest
    throw altered(`looking up ${formatReference(reference)}`, digest, reference.digest)
  }
  // Some registries leave the digest out; and a response to HEAD has no body with the error.
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
  const response = await transport.send({
    what,
    method: 'PUT',
    registry,
    to: `/v2/${name}/manifests/${tag ?? manifest.digest}`,
    scopes: pushScopes(reference),
    headers: { 'content-type': manifest.mediaType },
    body: manifest.bytes,
  })
  if (response.status !== 201 && response.status !== 200)
    throw await failure(what, response, registry)
  await response.discard()
  const reported = header(response.headers, 'docker-content-digest')
  if (reported !== undefined && reported !== manifest.digest)
    throw altered(what, reported, manifest.digest)
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
  const response = await transport.send({ what, method: 'DELETE', registry, to, scopes })
  const { status } = response
  if (status !== 405) {
    if (status !== 202 && status !== 200 && status !== 404) {
      throw await failure(what, response, registry)
    }
    await response.discard()
    return status !== 404
  }
  await response.discard()
  throw new StepError('COMMAND_FAILED', `${what}: ${registry} removes nothing`, {
    hint: 'Allow it there: storage.delete.enabled in the configuration of docker-registry.',
  })
}

async function getBlob(
  transport: Transport,
  repository: Repository,
  blob: Pick<Descriptor, 'digest' | 'size'>,
  signal: AbortSignal,
): Promise<Readable> {
  const call: Call = {
    what: `fetching ${formatRepository(repository)}@${blob.digest}`,
    method: 'GET',
    registry: repository.registry,
    to: `/v2/${repository.name}/blobs/${blob.digest}`,
    scopes: pullScopes(repository),
  }
  const response = await transport.send(call)
  if (response.status !== 200) throw await failure(call.what, response, repository.registry)
  const checked: Transform = verifyingStream(call.what, blob)
  const bytes = Readable.from(resumed(transport, call, response, signal), { objectMode: false })
  pipeline(bytes, checked, () => {})
  return checked
}

/** The body, continued with Range requests when its connection breaks. */
async function* resumed(
  transport: Transport,
  call: Call,
  first: HttpResponse,
  signal: AbortSignal,
) {
  let response = first
  let received = 0
  for (let breaks = 0; ; ) {
    try {
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        received += chunk.length
        yield chunk
      }
      return
    } catch (error) {
      const problem = connectionError(call.what, error, REGISTRY)
      if (signal.aborted || !problem.retryable || ++breaks > 3) throw problem
      await wait(200 * breaks, signal)
      response = await transport.send({ ...call, headers: { range: `bytes=${received}-` } })
      if (response.status === 206) continue
      await response.discard()
      throw problem
    }
  }
}
