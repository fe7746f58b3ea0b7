import { StepError, toStepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { waitUntilHealthy } from './health.ts'
import { type Action, type Found, perform, roles, survey } from './mend.ts'
import type { ContainerInfo, ContainerSpec, Host, HostResult } from './target.ts'

const LAST_LINES = 30

/** How a host stands after a rollout that failed. */
export interface HostStanding {
  host: string
  /** Which container serves now. `unknown`: bringing back failed, a person must look. */
  serves: 'old' | 'new' | 'nothing' | 'unknown'
  /** Whether the rollout had begun to change this host. */
  touched: boolean
  /** The container that serves now, if any. */
  containerId: string | undefined
  /** Why the rollout failed on this host, or why it was not brought back. */
  error: string | undefined
  /** Milliseconds spent on this host, bringing back included. */
  duration: number
}

/** What `rollOut` throws once it has begun to change hosts: the cause's code, and every host's standing. */
export interface RolloutFailure extends StepError {
  readonly hosts: readonly HostStanding[]
}

export function isRolloutFailure(error: unknown): error is RolloutFailure {
  return error instanceof StepError && 'hosts' in error && Array.isArray(error.hosts)
}

/** One host in a rollout, and what has been done to it so far. */
export interface Change {
  host: Host
  started: number
  old?: ContainerInfo | undefined
  /** Set once the new container exists: from then on the host must be brought back on failure. */
  next?: ContainerInfo
  /** Set once the new container has taken over. */
  result?: HostResult
}

export interface RestoreOptions {
  spec: ContainerSpec
  log: Log
  checkLock?: (() => void) | undefined
}

/**
 * Puts the old containers back, on the failed host first, and answers with the error to throw. No
 * signal ends this: an aborted rollout must leave hosts that serve.
 */
export async function bringBack(
  changes: readonly Change[],
  failed: Change,
  cause: StepError,
  options: RestoreOptions,
): Promise<RolloutFailure> {
  const { log, spec } = options
  log.error(cause.message)
  if (cause.code !== 'CANCELLED') await showLastLines(failed, log)
  const standings = new Map<Change, HostStanding>()
  for (const change of [failed, ...changes.filter(({ result }) => result)]) {
    if (!change.next) continue
    const title = `bringing ${change.host.name} back`
    standings.set(change, await log.section(title, () => restore(change, options)))
  }
  const hosts: HostStanding[] = []
  const lines: string[] = []
  for (const change of changes) {
    const standing = standings.get(change) ?? (await untouched(change, spec.name))
    lines.push(`  ${standing.host}: ${sentence(standing)}`)
    if (change === failed) standing.error ??= cause.message
    hosts.push(standing)
  }
  const named = cause.message.includes(failed.host.name)
  const what = named ? cause.message : `host ${failed.host.name}: ${cause.message}`
  const error = new StepError(cause.code, [what, ...lines].join('\n'), {
    hint: cause.hint,
    retryable: cause.retryable,
    cause,
  })
  return Object.assign(error, { hosts })
}

function sentence({ serves, touched, error }: HostStanding): string {
  if (serves === 'unknown') return `NOT brought back, look at it now: ${error ?? ''}`
  if (serves === 'new') return `the new container serves: ${error ?? ''}`
  if (!touched) return `not touched, ${serves === 'old' ? 'the old container' : 'nothing'} serves`
  if (serves === 'nothing') return 'nothing serves, as before'
  return error ? `the old container runs again, but: ${error}` : 'the old container serves again'
}

async function showLastLines({ host, next }: Change, log: Log): Promise<void> {
  if (!next) return
  try {
    const lines = await host.logs(next.id, LAST_LINES)
    if (lines.length === 0) log.info(`host ${host.name}: ${next.name} has printed nothing`)
    for (const line of lines) log.output(line)
  } catch (error) {
    log.warn(toStepError(error).message)
  }
}

/**
 * The way back to the old container from wherever the rollout stopped. The order is such that a
 * deployer killed in between leaves a state that mend.ts decides.
 */
export function wayBack(
  found: Found<{ id: string; running: boolean }>,
  newId: string,
  old: { id: string; running: boolean } | undefined,
): Action[] {
  const roleOf = (id: string | undefined) => roles.find((role) => id && found[role]?.id === id)
  const fresh = roleOf(newId)
  const kept = roleOf(old?.id)
  const actions: Action[] = []
  if (fresh === 'current') actions.push({ do: 'rename', container: 'current', to: 'next' })
  if (fresh) actions.push({ do: 'stop', container: 'next' })
  if (kept && old?.running && !found[kept]?.running) actions.push({ do: 'start', container: kept })
  if (kept && kept !== 'current') actions.push({ do: 'rename', container: kept, to: 'current' })
  if (fresh) actions.push({ do: 'remove', container: 'next' })
  if (found.older && kept !== 'older' && (!found.previous || kept === 'previous')) {
    actions.push({ do: 'rename', container: 'older', to: 'previous' })
  }
  return actions
}

async function restore(
  change: Change,
  { spec, log, checkLock }: RestoreOptions,
): Promise<HostStanding> {
  const { host, old, next, result } = change
  const stand = (serves: HostStanding['serves'], containerId?: string, error?: string) => ({
    host: host.name,
    serves,
    touched: true,
    containerId,
    error,
    duration: (result?.duration ?? 0) + Date.now() - (result ? begun : change.started),
  })
  const begun = Date.now()
  try {
    if (result) checkLock?.()
  } catch (error) {
    // Another deployment may be at work there, and it found the new container serving.
    return stand('new', result?.containerId, toStepError(error).message)
  }
  try {
    const found = await survey(host, spec.name)
    if (old && !roles.some((role) => found[role]?.id === old.id)) {
      throw new StepError(
        'CONFLICT',
        `host ${host.name}: the old ${spec.name} was removed by somebody`,
      )
    }
    const actions = wayBack(found, next?.id ?? '', old)
    await perform(host, spec.name, found, actions, {
      log,
      // A new container that took no requests yet need not end gracefully.
      stopTimeout: result ? spec.settings.stopTimeout : Math.min(spec.settings.stopTimeout, 5),
    })
  } catch (error) {
    const { message } = toStepError(error)
    log.error(`host ${host.name}: ${spec.name} was NOT brought back: ${message}`)
    return stand('unknown', undefined, message)
  }
  if (!old?.running) return stand('nothing')
  try {
    await waitUntilHealthy(host, { id: old.id, name: spec.name }, spec.settings.health)
    log.info(`host ${host.name}: the old ${spec.name} serves again`)
    return stand('old', old.id)
  } catch (error) {
    const { message } = toStepError(error)
    log.error(`host ${host.name}: the old ${spec.name} was started, but: ${message}`)
    log.error(`  Look at it on that host: \`docker logs --tail 100 ${spec.name}\``)
    const running = await host.inspect(old.id).then(
      (info) => info?.running,
      () => false,
    )
    return stand(running ? 'old' : 'unknown', old.id, message)
  }
}

async function untouched({ host }: Change, name: string): Promise<HostStanding> {
  const standing = { host: host.name, touched: false, duration: 0 }
  try {
    const container = await host.inspect(name)
    if (!container?.running) {
      return { ...standing, serves: 'nothing', containerId: undefined, error: undefined }
    }
    return { ...standing, serves: 'old', containerId: container.id, error: undefined }
  } catch (error) {
    const { message } = toStepError(error)
    return { ...standing, serves: 'unknown', containerId: undefined, error: message }
  }
}
