import { StepError, toStepError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import type { HostStanding, InstanceResult, RolloutFailure } from '../../target.ts'
import { ownHealth } from '../health/label.ts'
import type { ContainerInfo, ContainerSpec, Host } from '../host.ts'
import { rolloutFailure } from './failure.ts'
import { waitUntilHealthy } from './health.ts'
import { type Action, type Found, perform, roles, survey } from './repair.ts'
import { cameAfter, type LockLabels, refuseYounger } from './younger.ts'

const LAST_LINES = 30

/** One host in a rollout, and what has been done to it so far. */
export interface Change {
  host: Host
  started: number
  old?: ContainerInfo | undefined
  /** Set once the new container exists: from then on the host must be restored on failure. */
  next?: ContainerInfo
  /** Set once the new container has taken over. */
  result?: InstanceResult
}

export interface RestoreOptions extends LockLabels {
  spec: ContainerSpec
  log: Log
  /** Once it has fired, the runner soon kills this process: do not wait for anything. */
  signal: AbortSignal
  checkLock?: (() => Promise<void>) | undefined
}

/**
 * Restores the old containers and returns the error to throw. Normally one host after the other,
 * the failed host first, and each serves again before the next is touched. Once the rollout is
 * cancelled, all at once, and whether they serve is checked later: see `prove`.
 */
export async function restoreAll(
  changes: readonly Change[],
  failed: Change,
  thrown: StepError,
  options: RestoreOptions,
): Promise<RolloutFailure> {
  const { log, signal } = options
  log.error(thrown.message)
  const cause = (await errorOf(options.checkLock)) ?? thrown
  if (cause.message !== thrown.message) log.error(cause.message)
  if (!signal.aborted) await showLastLines(failed, log)
  const left = [failed, ...changes.filter(({ result }) => result)].filter(({ next }) => next)
  const standings = new Map<Change, HostStanding>()
  for (let change = left[0]; change && !signal.aborted; change = left[0]) {
    const title = `bringing ${change.host.name} back`
    const standing = await log.section(title, () => restoreAndProve(change, options))
    standings.set(change, standing)
    left.shift()
  }
  if (left.length > 0) {
    const title = `bringing ${left.map(({ host }) => host.name).join(', ')} back at once`
    await log.section(title, () =>
      Promise.all(left.map(async (each) => standings.set(each, await restore(each, options)))),
    )
  }
  const hosts = await Promise.all(
    changes.map(async (each) => standings.get(each) ?? (await untouched(each, options))),
  )
  return failureOf(changes, failed, cause, hosts, options)
}

async function errorOf(check: (() => Promise<void>) | undefined): Promise<StepError | undefined> {
  try {
    await check?.()
    return undefined
  } catch (error) {
    return toStepError(error)
  }
}

function failureOf(
  changes: readonly Change[],
  failed: Change,
  cause: StepError,
  hosts: readonly HostStanding[],
  options: RestoreOptions,
): RolloutFailure {
  const proveAll = async () => {
    const proven = hosts.map((standing, at) => {
      const host = changes[at]?.host
      return host ? prove(standing, host, options) : standing
    })
    return failureOf(changes, failed, cause, await Promise.all(proven), options)
  }
  const other = hosts.find(({ serves }) => serves === 'other')
  if (!other) return rolloutFailure(cause, failed.host.name, hosts, proveAll)
  return rolloutFailure(cameAfter(other.error ?? '', cause), other.host, hosts, proveAll)
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
 * The actions that restore the old container from wherever the rollout stopped. Their order is such
 * that a deployer killed in between leaves a state that repair.ts can decide.
 */
export function restoreActions(
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

async function restoreAndProve(change: Change, options: RestoreOptions): Promise<HostStanding> {
  return prove(await restore(change, options), change.host, options, options.signal)
}

/** Restores the old container and starts it; `unproven` when it runs. */
async function restore(change: Change, options: RestoreOptions): Promise<HostStanding> {
  const { spec, log } = options
  const { host, old, result } = change
  const begun = Date.now()
  const stand = (serves: HostStanding['serves'], instanceId?: string, error?: string) => ({
    host: host.name,
    serves,
    touched: true,
    instanceId,
    error,
    duration: (result?.duration ?? 0) + Date.now() - (result ? begun : change.started),
  })
  try {
    const found = await survey(host, spec.name)
    const younger = await errorOf(async () => refuseYounger(host, Object.values(found), options))
    if (younger) {
      log.error(younger.message)
      return stand('other', found.current?.id, younger.message)
    }
    // Another deployment may be at work there, and has found the new container serving.
    const lost = result && (await errorOf(options.checkLock))
    if (lost) return stand('new', result.instanceId, lost.message)
    await goBack(change, found, options)
  } catch (error) {
    const { message } = toStepError(error)
    log.error(`host ${host.name}: ${spec.name} was NOT brought back: ${message}`)
    return stand('unknown', undefined, message)
  }
  return old?.running ? { ...stand('old', old.id), unproven: true } : stand('nothing')
}

async function goBack(
  { host, old, next, result }: Change,
  found: Found<ContainerInfo>,
  { spec, log, signal }: RestoreOptions,
): Promise<void> {
  if (old && !roles.some((role) => found[role]?.id === old.id)) {
    throw new StepError(
      'CONFLICT',
      `host ${host.name}: the old ${spec.name} was removed by somebody`,
    )
  }
  await perform(host, spec.name, found, restoreActions(found, next?.id ?? '', old), {
    log,
    signal,
    // A new container that took no requests yet need not end gracefully.
    stopTimeout: result ? spec.settings.stopTimeout : Math.min(spec.settings.stopTimeout, 5),
  })
}

/** Whether the old container serves; unproven as before when the signal fires meanwhile. */
async function prove(
  standing: HostStanding,
  host: Host,
  { spec, log }: RestoreOptions,
  signal?: AbortSignal,
): Promise<HostStanding> {
  const { unproven, instanceId: id, ...rest } = standing
  if (!unproven || id === undefined) return standing
  const begun = Date.now()
  const stand = (serves: HostStanding['serves'], error?: string): HostStanding => {
    const duration = rest.duration + Date.now() - begun
    return { ...rest, serves, instanceId: id, error, duration }
  }
  try {
    const labels = (await host.inspect(id))?.labels
    const health = ownHealth(labels, spec.settings.health)
    await waitUntilHealthy(host, { id, name: spec.name }, health, signal)
    log.info(`host ${host.name}: the old ${spec.name} serves again`)
    return stand('old')
  } catch (error) {
    if (signal?.aborted) return standing
    const { message } = toStepError(error)
    log.error(`host ${host.name}: the old ${spec.name} was started, but: ${message}`)
    log.error(`  Look at it on that host: \`docker logs --tail 100 ${spec.name}\``)
    const running = await host.inspect(id).then(
      (info) => info?.running,
      () => false,
    )
    return stand(running ? 'old' : 'unknown', message)
  }
}

async function untouched({ host }: Change, options: RestoreOptions): Promise<HostStanding> {
  const standing = { host: host.name, touched: false, duration: 0 }
  try {
    const container = await host.inspect(options.spec.name)
    const younger = await errorOf(async () => refuseYounger(host, [container], options))
    if (younger) {
      return { ...standing, serves: 'other', instanceId: container?.id, error: younger.message }
    }
    if (!container?.running) {
      return { ...standing, serves: 'nothing', instanceId: undefined, error: undefined }
    }
    return { ...standing, serves: 'old', instanceId: container.id, error: undefined }
  } catch (error) {
    const { message } = toStepError(error)
    return { ...standing, serves: 'unknown', instanceId: undefined, error: message }
  }
}
