import type Docker from 'dockerode'
import { isStepError, StepError } from '../../core/errors.ts'
import { engineError, type HostName, messageOf, pullError, statusOf } from './errors.ts'
import type { RegistryCredential } from './host.ts'

/** milliseconds */
const INSPECT_TIMEOUT = 60_000
/** A pull without progress for so long is given up. */
const STALL_TIMEOUT = 300_000

interface PullOptions {
  docker: Docker
  host: HostName
  credentials: (registry: string) => Promise<RegistryCredential | undefined>
  /** Ends the pull. */
  signal: AbortSignal
}

/** Pulls an image by digest, unless the engine has it. Errors inside the response's stream count, too. */
export async function pullImage(
  { docker, host, credentials, signal }: PullOptions,
  image: string,
  onProgress?: (done: number, total: number) => void,
): Promise<void> {
  if (!/@sha256:[0-9a-f]{64}$/.test(image)) {
    throw new StepError('INPUT_INVALID', `host ${host.name}: pulling ${image}: it has no digest`, {
      hint: 'Containers are made from registry/name@sha256:… only.',
    })
  }
  if (await hasImage(docker, host, image)) return
  const credential = await credentials(registryOf(image))
  const stall = new AbortController()
  const giveUp = () => stall.abort(new DOMException('no progress', 'TimeoutError'))
  const timer = setTimeout(giveUp, STALL_TIMEOUT)
  const abortSignal = AbortSignal.any([signal, stall.signal])
  try {
    const login = credential && {
      authconfig: { ...credential, serveraddress: registryOf(image) },
    }
    const stream = await docker.pull(image, { abortSignal, ...login })
    const progress = layerProgress(onProgress)
    for await (const event of jsonLines<PullEvent>(stream)) {
      timer.refresh()
      if (event.error) throw pullError(host, image, event.errorDetail?.message ?? event.error)
      progress(event)
    }
  } catch (error) {
    if (isStepError(error)) throw error
    if (signal.aborted) throw engineError(host, 'pulling', abortError(signal))
    if (stall.signal.aborted)
      throw pullError(host, image, 'timed out, no progress for 5 minutes', error)
    if (statusOf(error) === undefined) throw engineError(host, `pulling ${image}`, error)
    throw pullError(host, image, messageOf(error), error)
  } finally {
    clearTimeout(timer)
  }
  if (await hasImage(docker, host, image)) return
  throw new StepError(
    'NOT_FOUND',
    `host ${host.name}: pulling ${image}: the engine does not have it`,
    {
      hint: 'Pull the image by hand on that host to see more.',
    },
  )
}

function abortError(signal: AbortSignal): unknown {
  return isStepError(signal.reason) ? signal.reason : new DOMException('cancelled', 'AbortError')
}

async function hasImage(docker: Docker, host: HostName, image: string): Promise<boolean> {
  const abortSignal = AbortSignal.timeout(INSPECT_TIMEOUT)
  try {
    // dockerode takes no signal here.
    await Promise.race([docker.getImage(image).inspect(), aborted(abortSignal)])
    return true
  } catch (error) {
    if (statusOf(error) === 404) return false
    throw engineError(host, `looking for ${image}`, error)
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

/** The part before the first slash when it is a host, as docker decides it. */
function registryOf(image: string): string {
  const first = image.includes('/') ? image.slice(0, image.indexOf('/')) : ''
  return /[.:]|^localhost$/.test(first) ? first : 'docker.io'
}

interface PullEvent {
  id?: string
  status?: string
  progressDetail?: { current?: number; total?: number }
  error?: string
  errorDetail?: { message?: string }
}

/** Sums the layers' downloads up. */
function layerProgress(onProgress: ((done: number, total: number) => void) | undefined) {
  const layers = new Map<string, { current: number; total: number }>()
  return ({ id, status, progressDetail }: PullEvent) => {
    const { current, total } = progressDetail ?? {}
    if (!onProgress || !id || status !== 'Downloading' || !current || !total) return
    layers.set(id, { current, total })
    let [done, all] = [0, 0]
    for (const layer of layers.values()) {
      done += layer.current
      all += layer.total
    }
    onProgress(done, all)
  }
}

/** What an engine reports while it works: one JSON object a line. */
export async function* jsonLines<T>(stream: NodeJS.ReadableStream): AsyncGenerator<T> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk as unknown as Buffer, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.trim()) yield JSON.parse(line) as T
  }
  if (rest.trim()) yield JSON.parse(rest) as T
}
