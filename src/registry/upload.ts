import { Readable } from 'node:stream'
import pLimit from 'p-limit'
import { explain, isStepError, StepError } from '../core/errors.ts'
import { header } from '../core/http/body.ts'
import type { HttpResponse } from '../core/http/client.ts'
import { followLocation } from './origin.ts'
import { formatRepository, type Repository } from './reference.ts'
import { failure } from './response.ts'
import { pushScopes } from './scopes.ts'
import type { Transport, TransportOptions } from './transport.ts'
import type { BlobOutcome, Descriptor, RegistryClient } from './types.ts'

/** More make Harbor's database response 500 (goharbor/harbor#15048). */
const MOST_UPLOADS = 4
/** How long giving up an upload may delay the error that caused it, in milliseconds. */
const GIVE_UP_TIMEOUT = 2000

/** One blob on its way to one repository. */
interface Push {
  what: string
  target: Repository
  blob: Pick<Descriptor, 'digest' | 'size'>
  open: () => Promise<Readable>
}

/** `ensureBlob`: one flight for each repository and digest, and few uploads at a time. */
export function createBlobPush(
  transport: Transport,
  { log }: Pick<TransportOptions, 'log'>,
): RegistryClient['ensureBlob'] {
  const flights = new Map<string, Promise<BlobOutcome>>()
  const slots = new Map<string, ReturnType<typeof pLimit>>()
  const slotsOf = (registry: string) => {
    const known = slots.get(registry) ?? pLimit(MOST_UPLOADS)
    slots.set(registry, known)
    return known
  }

  const push = async (push: Push, from: Repository | undefined): Promise<BlobOutcome> => {
    if (await isPresent(transport, push)) return 'present'
    const session = from && (await mount(transport, push, from))
    if (session === 'mounted') return 'mounted'
    await slotsOf(push.target.registry)(() => upload(transport, push, session))
    log.debug(`uploaded ${push.blob.digest} to ${formatRepository(push.target)}`)
    return 'uploaded'
  }

  return (target, blob, open, mountFrom) => {
    const key = `${target.registry}/${target.name}@${blob.digest}`
    const running = flights.get(key)
    if (running) return running
    const from = mountable(target, mountFrom)
    const what = `pushing ${formatRepository(target)}@${blob.digest}`
    const flight = push({ what, target, blob, open }, from).finally(() => flights.delete(key))
    flights.set(key, flight)
    return flight
  }
}

function mountable(target: Repository, from: Repository | undefined): Repository | undefined {
  return from?.registry === target.registry && from.name !== target.name ? from : undefined
}

async function isPresent(transport: Transport, push: Push): Promise<boolean> {
  const { what, target, blob } = push
  const scopes = pushScopes(target)
  const to = `/v2/${target.name}/blobs/${blob.digest}`
  const response = await transport.send({
    what,
    method: 'HEAD',
    registry: target.registry,
    to,
    scopes,
  })
  await response.discard()
  // Anything but a plain yes: an upload that is refused has an error document, a HEAD has none.
  return response.status === 200
}

/**
 * distribution-spec, "Mounting a blob from another repository". Gives the session to upload to when
 * the registry answers 202 instead, and nothing when it refuses (no pull right on the source).
 */
async function mount(
  transport: Transport,
  push: Push,
  from: Repository,
): Promise<'mounted' | URL | undefined> {
  const { what, target, blob } = push
  const { registry } = target
  const scopes = pushScopes(target, [from])
  const query = `mount=${encodeURIComponent(blob.digest)}&from=${encodeURIComponent(from.name)}`
  const to = `/v2/${target.name}/blobs/uploads/?${query}`
  try {
    const response = await transport.send({ what, method: 'POST', registry, to, scopes })
    await response.discard()
    if (response.status === 201) return 'mounted'
    return response.status === 202 ? sessionOf(what, response) : undefined
  } catch (error) {
    // The token service may refuse the pair of scopes where the target alone is allowed.
    if (isStepError(error, 'UNAUTHORIZED') || isStepError(error, 'FORBIDDEN')) return undefined
    throw error
  }
}

function sessionOf(what: string, response: HttpResponse): URL {
  return followLocation(what, response.url, header(response.headers, 'location'))
}

/** POST and one PUT, from the start each time: Harbor cannot resume, and a session may be gone. */
async function upload(transport: Transport, push: Push, given: URL | undefined): Promise<void> {
  let session = given
  let renewed = false
  await transport.again(async () => {
    const url = session ?? (await begin(transport, push))
    session = undefined
    try {
      await send(transport, push, url)
    } catch (error) {
      await giveUp(transport, push, url)
      if (!isStepError(error, 'UNAUTHORIZED') || !error.retryable) throw error
      if (renewed) throw error.with({ retryable: false, retryAfter: undefined, cause: undefined })
      renewed = true
      throw error
    }
  })
}

async function begin(transport: Transport, push: Push): Promise<URL> {
  const { what, target } = push
  const { registry } = target
  const response = await transport.sendOnce({
    what,
    method: 'POST',
    registry,
    to: `/v2/${target.name}/blobs/uploads/`,
    scopes: pushScopes(target),
  })
  if (response.status !== 202) throw await failure(what, response, registry)
  await response.discard()
  return sessionOf(what, response)
}

async function send(transport: Transport, push: Push, session: URL): Promise<void> {
  const { what, target, blob } = push
  const { registry } = target
  const to = new URL(session)
  const digest = `digest=${encodeURIComponent(blob.digest)}`
  to.search = to.search ? `${to.search}&${digest}` : digest
  const source = await push.open()
  source.on('error', () => {})
  try {
    const response = await transport.sendOnce({
      what,
      method: 'PUT',
      registry,
      to,
      scopes: pushScopes(target),
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(blob.size),
      },
      body: Readable.from(exactly(what, source, blob.size), { objectMode: false }),
    })
    if (response.status === 404 || response.status === 416)
      throw lost(await failure(what, response))
    if (response.status !== 201 && response.status !== 204)
      throw await failure(what, response, registry)
    await response.discard()
    const reported = header(response.headers, 'docker-content-digest')
    if (reported !== undefined && reported !== blob.digest) {
      throw new StepError('VERIFY_FAILED', `${what}: the registry took it for ${reported}`)
    }
  } finally {
    source.destroy()
  }
}

/** The session is unknown: another registry process responseed, or it was cleaned away. */
function lost(error: StepError): StepError {
  const hint = 'The registry forgot the upload. Try again later.'
  return error.with({ code: 'UNAVAILABLE', hint, retryable: true })
}

/** Fails before a request with the wrong number of bytes can end as if it were whole. */
async function* exactly(what: string, source: Readable, size: number) {
  let sent = 0
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      sent += chunk.length
      if (sent > size) break
      yield chunk
    }
  } catch (error) {
    // Explained here: beyond this point it would look like an error of the connection.
    throw explain(what, error)
  }
  if (sent === size) return
  const amount = sent > size ? `more than ${size}` : `${sent} instead of ${size}`
  throw new StepError('VERIFY_FAILED', `${what}: the source gave ${amount} bytes`, {
    hint: 'The content was changed while it was read. Build it again.',
  })
}

/** distribution-spec, "Cancel a blob upload", as far as the registry still listens. */
async function giveUp(transport: Transport, { what, target }: Push, session: URL) {
  try {
    const response = await transport.sendOnce({
      what,
      method: 'DELETE',
      registry: target.registry,
      to: session,
      scopes: pushScopes(target),
      signal: AbortSignal.timeout(GIVE_UP_TIMEOUT),
    })
    await response.discard()
  } catch {
    // The error that led here is the one that matters; registries purge old uploads by themselves.
  }
}
