import { startDeadline } from '../../../core/deadline.ts'
import { describe, errorCodeOf, StepError } from '../../../core/errors.ts'
import { wait } from '../../../core/retry.ts'
import { HEALTH_LABEL, readHealthLabel } from '../container-options.ts'
import { portTaken } from '../errors.ts'
import type { ContainerInfo, HealthSettings, Host } from '../host.ts'
import { formatHealth, type HealthEndpoint } from '../notation.ts'

const POLL = 250
/** milliseconds, all of them */
const REQUEST_TIMEOUT = 5000
const PORT_CHECK_TIMEOUT = 2000
/** How long a container without a health check must run. */
const SETTLING = 3000

/** The health check a container was created with; `otherwise` for containers without that label. */
export function ownHealth(
  labels: Readonly<Record<string, string>> | undefined,
  otherwise: HealthSettings | undefined,
): HealthSettings | undefined {
  const kept = labels?.[HEALTH_LABEL]
  if (kept === undefined) return otherwise
  try {
    const health = readHealthLabel(kept)
    if (health === null) return undefined
    return health.timeout > 0 ? health : otherwise
  } catch {
    return otherwise
  }
}

/**
 * Waits until a started container responds with 2xx, or, without health settings, has run for 3 s.
 * Fails at once when it ends or is started again by its host, VERIFY_FAILED after the timeout.
 * @returns the container as it is then
 */
export async function waitUntilHealthy(
  host: Host,
  container: Pick<ContainerInfo, 'id' | 'name'>,
  health: HealthSettings | undefined,
  signal?: AbortSignal,
): Promise<ContainerInfo> {
  const endpoint = health?.http
  const started = Date.now()
  const timeout = health?.timeout ?? SETTLING
  for (let last = 'no response yet'; ; ) {
    const seen = await stillRunning(host, container)
    if (endpoint) {
      last = await probe(host, seen, endpoint, signal)
      // A 2xx proves nothing when the container has ended: another process responded.
      if (last === '') return await stillRunning(host, container)
    }
    if (Date.now() - started >= timeout) {
      if (!endpoint) return seen
      throw new StepError(
        'VERIFY_FAILED',
        `host ${host.name}: ${container.name} is not healthy after ${timeout / 1000} s: GET ${formatHealth(endpoint)}: ${last}`,
        {
          hint: "Read the container's lines above; if it only needs longer, raise container.health.timeout.",
        },
      )
    }
    await wait(Math.max(1, Math.min(POLL, started + timeout - Date.now())), signal)
  }
}

async function stillRunning(
  host: Host,
  { id, name }: Pick<ContainerInfo, 'id' | 'name'>,
): Promise<ContainerInfo> {
  const seen = await host.inspect(id)
  const bad = (what: string) =>
    new StepError('COMMAND_FAILED', `host ${host.name}: ${name} ${what}`, {
      hint: 'Its last lines show why. Correct the release or its config, then deploy again.',
    })
  if (!seen) throw bad('was removed by somebody')
  if (seen.restarts > 0) throw bad(`ended, and was started again ${seen.restarts} times`)
  if (!seen.running) throw bad(`ended with exit code ${seen.exitCode ?? 'unknown'}`)
  return seen
}

/** Empty for a 2xx response; otherwise what came instead. */
async function probe(
  host: Host,
  container: ContainerInfo,
  { port, path }: HealthEndpoint,
  signal: AbortSignal | undefined,
): Promise<string> {
  const address = container.address(port)
  if (address === undefined) {
    throw new StepError(
      'INPUT_INVALID',
      `host ${host.name}: port ${port} of ${container.name} cannot be reached from here`,
      { hint: `Publish it (container.ports: ["${port}:${port}"]), or use network: host.` },
    )
  }
  const limit = startDeadline(REQUEST_TIMEOUT)
  try {
    const response = await fetch(`${address}${path}`, {
      redirect: 'manual',
      headers: { connection: 'close' },
      signal: signal ? AbortSignal.any([signal, limit.signal]) : limit.signal,
    })
    await response.body?.cancel()
    return response.ok ? '' : `HTTP ${response.status}`
  } catch (error) {
    if (limit.signal.aborted) return describe(limit.signal.reason)
    return errorCodeOf(error) ?? describe(error)
  } finally {
    limit.end()
  }
}

/**
 * On the host's own network no engine notices a taken port: another process would pass the health
 * check. So nothing may respond there before the container starts.
 */
export async function refuseTakenPort(
  host: Host,
  created: ContainerInfo,
  health: HealthSettings | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (!health) return
  const { port, path } = health.http
  const address = created.address(port)
  if (address === undefined) return
  const limit = startDeadline(PORT_CHECK_TIMEOUT)
  try {
    await fetch(`${address}${path}`, {
      redirect: 'manual',
      signal: AbortSignal.any([signal, limit.signal]),
    })
  } catch {
    return
  } finally {
    limit.end()
  }
  throw portTaken(host.name, created.name, port)
}
