import { isStepError, StepError } from '../../../core/errors.ts'
import { wait } from '../../../core/retry.ts'
import { portTaken } from '../errors.ts'
import { openCheck } from '../health/ask.ts'
import { defaults, type HealthSettings, healthPort, settling } from '../health/check.ts'
import { exitText, lastException } from '../health/last-words.ts'
import { isTaken } from '../health/probe.ts'
import type { ContainerInfo, Host } from '../host.ts'
import { formatHealth } from '../notation.ts'
import { KILLED } from './stop.ts'

/** milliseconds */
const FIRST_PAUSE = 50
const LONGEST_PAUSE = 1000
const FIRST_CONNECT = 500
/** What the last request may take when the timeout is over. */
const LAST_REQUEST = 1000
const PORT_CHECK_TIMEOUT = 2000
/** An engine hears from the kernel that memory was short a moment after the container has ended. */
const KERNEL_REPORT = 1000
/** An exception may have many lines. */
const LOG_LINES = 300

type Named = Pick<ContainerInfo, 'id' | 'name'>

/**
 * Waits until a started container passes its health check, or, without one, has run for 3 s.
 * Fails at once when it ends or is started again by its host, VERIFY_FAILED after the timeout.
 * @returns the container as it is then
 */
export async function waitUntilHealthy(
  host: Host,
  container: Named,
  health: HealthSettings = settling,
  signal?: AbortSignal,
): Promise<ContainerInfo> {
  try {
    return await untilHealthy(host, container, health, signal)
  } catch (error) {
    if (signal?.aborted || !isStepError(error)) throw error
    if (error.code !== 'VERIFY_FAILED' && error.code !== 'COMMAND_FAILED') throw error
    const exception = lastException(
      await host.logs(container.id, LOG_LINES).catch(() => []),
      host.mask,
    )
    throw exception === undefined
      ? error
      : error.with({
          message: `${error.message}; last exception: ${exception}`,
          cause: error.cause,
        })
  }
}

async function untilHealthy(
  host: Host,
  container: Named,
  health: HealthSettings,
  signal: AbortSignal | undefined,
): Promise<ContainerInfo> {
  const { timeout, interval, successes = 1, requestTimeout = defaults.requestTimeout } = health
  const ask = openCheck(host, health)
  const started = Date.now()
  for (let inARow = 0; ; ) {
    const seen = await stillRunning(host, container)
    const elapsed = Date.now() - started
    const request = Math.min(requestTimeout, Math.max(LAST_REQUEST, timeout - elapsed))
    const connect = Math.min(request, Math.max(FIRST_CONNECT, elapsed / 10))
    const problem = await ask(seen, { elapsed, request, connect, signal })
    inARow = problem === undefined ? inARow + 1 : 0
    // A good response proves nothing when the container has ended: another process responded.
    if (inARow >= successes) return await stillRunning(host, container)
    const left = started + timeout - Date.now()
    if (left <= 0 && !('running' in health)) {
      const few = `${inARow} good responses in a row, of ${successes}`
      throw unhealthy(host, await stillRunning(host, container), health, problem ?? few)
    }
    // About a fiftieth of the start's time is lost to the pause, however long a start takes.
    const pause = Math.min(LONGEST_PAUSE, Math.max(FIRST_PAUSE, elapsed / 50))
    await wait(Math.max(1, Math.min(interval ?? pause, left)), signal)
  }
}

function unhealthy(
  host: Host,
  container: ContainerInfo,
  health: HealthSettings,
  problem: string,
): StepError {
  const after = `is not healthy after ${health.timeout / 1000} s`
  const memory = container.outOfMemory ? '; the kernel ended a process in it, out of memory' : ''
  const needsStatus = /^HTTP [1345]/.test(problem)
  return new StepError(
    'VERIFY_FAILED',
    `host ${host.name}: ${container.name} ${after}: ${checkText(health)}: ${problem}${memory}`,
    {
      hint: needsStatus
        ? "If this is how it responds when all is well, write that in container.health.http.statuses; else read the container's lines above."
        : "Read the container's lines above; if it only needs longer, raise container.health.timeout.",
    },
  )
}

function checkText(health: HealthSettings): string {
  if ('http' in health) return `GET ${formatHealth(health.http)}`
  if ('tcp' in health) return `connecting to :${health.tcp.port}`
  if ('command' in health) return `running ${health.command[0]}`
  return 'docker' in health ? 'HEALTHCHECK' : 'running'
}

async function stillRunning(host: Host, { id, name }: Named): Promise<ContainerInfo> {
  const first = await host.inspect(id)
  if (first?.running && first.restarts === 0) return first
  const isKilled = first?.exitCode === KILLED && !first.running && !first.outOfMemory
  if (isKilled) await wait(KERNEL_REPORT)
  const seen = isKilled ? await host.inspect(id) : first
  const hint = isKilled
    ? 'It was killed: by the kernel, when memory is short (container.memory), or by somebody on that host.'
    : 'Its last lines show why. Correct the release or its config, then deploy again.'
  const bad = (what: string, next = hint) =>
    new StepError('COMMAND_FAILED', `host ${host.name}: ${name} ${what}`, { hint: next })
  if (!seen) throw bad('was removed by somebody')
  const ended = seen.running ? 'ended' : `ended with exit code ${exitText(seen.exitCode)}`
  const times = seen.restarts === 1 ? 'once' : `${seen.restarts} times`
  const again = seen.restarts > 0 ? `, and was started again ${times}` : ''
  if (!seen.outOfMemory) throw bad(`${ended}${again}`)
  throw bad(
    `${ended}, killed by the kernel: out of memory${again}`,
    'Raise container.memory, or let the JVM take less of it: -XX:MaxRAMPercentage=75.',
  )
}

/** Found before the old container is stopped. */
export function refuseMissingCheck(
  host: Host,
  created: ContainerInfo,
  health: HealthSettings | undefined,
): void {
  if (!health || !('docker' in health) || created.hasHealthCheck) return
  throw new StepError(
    'INPUT_INVALID',
    `host ${host.name}: the image of ${created.name} has no HEALTHCHECK`,
    { hint: 'Give the base image one, or choose another check: container.health.http.' },
  )
}

/**
 * On the host's own network no engine notices a taken port: another process would pass the health
 * check. So nothing may listen there before the container starts.
 */
export async function refuseTakenPort(
  host: Host,
  created: ContainerInfo,
  health: HealthSettings | undefined,
  signal: AbortSignal,
): Promise<void> {
  const port = healthPort(health)
  const address = port === undefined ? undefined : created.address(port)
  if (port === undefined || address === undefined) return
  const limits = { connect: PORT_CHECK_TIMEOUT, request: PORT_CHECK_TIMEOUT, signal }
  if (await isTaken(address, limits)) throw portTaken(host.name, created.name, port)
}

/** Where a healthy container responds, when its check tells. */
export function urlOf(
  container: ContainerInfo,
  health: HealthSettings | undefined,
): string | undefined {
  const port = healthPort(health)
  return port === undefined ? undefined : container.address(port)
}
