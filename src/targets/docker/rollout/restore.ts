import { StepError, toStepError } from '../../../core/errors.ts'
import { type Log, namedLog } from '../../../core/log.ts'
import type { RolloutStrategy } from '../../rollout-settings.ts'
import { chunks, countOf, oneByOne } from '../../strategy.ts'
import type { HostStanding, InstanceResult, RolloutFailure } from '../../target.ts'
import { ownHealth } from '../health/label.ts'
import type { ContainerInfo, ContainerSpec, Host } from '../host.ts'
import { rolloutFailure } from './failure.ts'
import { waitUntilHealthy } from './health.ts'
import type { RolloutProxy } from './proxy.ts'
import { isInSlots, perform, survey } from './repair.ts'
import { type Action, type Found, roles } from './roles.ts'
import { decideInSlots, restoreInSlots } from './slot-repair.ts'
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
  /** Set once the host is restored, or could not be. */
  standing?: HostStanding
}

/** Why a rollout ended, or one of its hosts; without a host it was stopped between two of them. */
export interface Failure {
  change?: Change
  error: StepError
  /** Another host had failed: this host was in order, and only stopped on its way. */
  isHalted?: boolean
}

export interface RestoreOptions extends LockLabels {
  spec: ContainerSpec
  log: Log
  /** Once it has fired, the runner soon kills this process: do not wait for anything. */
  signal: AbortSignal
  checkLock?: (() => Promise<void>) | undefined
  strategy?: RolloutStrategy | undefined
  proxy?: RolloutProxy | undefined
}

/**
 * Restores the old containers and returns the error to throw: first, at once, the hosts that failed
 * or were stopped on their way, as nothing or something bad serves there; then, unless changed hosts
 * `keep` the new container, those as many at a time as they were changed, and each batch serves again
 * before the next is touched. Once the rollout is cancelled, all at once, and whether they serve is
 * checked later: see `prove`.
 */
export async function restoreAll(
  changes: readonly Change[],
  failures: readonly Failure[],
  options: RestoreOptions,
  keep = false,
): Promise<RolloutFailure> {
  const { log } = options
  const [first] = failures
  if (!first) throw new StepError('INTERNAL', 'nothing failed, and all hosts are to be restored')
  if (!first.change) log.error(first.error.message)
  const cause = (await errorOf(options.checkLock)) ?? first.error
  if (cause.message !== first.error.message) log.error(cause.message)
  await restoreFailed(failures, options)
  const isLeft = ({ result, standing }: Change) => !keep && result && !standing
  await restoreBatches(changes.filter(isLeft), options)
  const hosts = await Promise.all(
    changes.map(async (each) => each.standing ?? kept(each) ?? (await untouched(each, options))),
  )
  return failureOf(changes, failures, cause, hosts, options)
}

/** Restores the hosts of these failures, all at once, and keeps in each change how it stands. */
export async function restoreFailed(
  failures: readonly Failure[],
  options: RestoreOptions,
): Promise<void> {
  const left = failures.flatMap(({ change, isHalted = false }) =>
    change?.next && !change.standing ? [{ change, isHalted }] : [],
  )
  const genuine = left.filter(({ isHalted }) => !isHalted)
  for (const { change } of options.signal.aborted ? [] : genuine) {
    const { name } = change.host
    await showLastLines(change, genuine.length > 1 ? namedLog(options.log, name) : options.log)
  }
  await restoreBatch(
    left.map(({ change }) => change),
    options,
  )
}

async function restoreBatches(changes: readonly Change[], options: RestoreOptions): Promise<void> {
  const size = countOf((options.strategy ?? oneByOne).parallel, changes.length)
  const batches = chunks(changes, size)
  while (!options.signal.aborted && batches.length > 0) {
    await restoreBatch(batches.shift() ?? [], options)
  }
  await restoreBatch(batches.flat(), options)
}

async function restoreBatch(changes: readonly Change[], options: RestoreOptions): Promise<void> {
  if (changes.length === 0) return
  const names = changes.map(({ host }) => host.name).join(', ')
  const title = changes.length === 1 ? `bringing ${names} back` : `bringing ${names} back at once`
  const isCancelled = options.signal.aborted
  const bringBack = async (change: Change) => {
    change.standing = await (isCancelled ? restore : restoreAndProve)(change, options)
  }
  await options.log.section(title, () => Promise.all(changes.map(bringBack)))
}

function kept({ host, result }: Change): HostStanding | undefined {
  if (!result) return undefined
  const { instanceId, duration } = result
  const standing = { host: host.name, touched: true, instanceId, duration, error: undefined }
  return { ...standing, serves: 'new', result }
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
  failures: readonly Failure[],
  cause: StepError,
  hosts: readonly HostStanding[],
  options: RestoreOptions,
): RolloutFailure {
  const proveAll = async () => {
    const proven = hosts.map((standing, at) => {
      const host = changes[at]?.host
      return host ? prove(standing, host, options) : standing
    })
    return failureOf(changes, failures, cause, await Promise.all(proven), options)
  }
  const other = hosts.find(({ serves }) => serves === 'other')
  if (other) {
    const after = cameAfter(other.error ?? '', cause)
    return rolloutFailure(after, [{ host: other.host, error: after }], hosts, proveAll)
  }
  const named = failures.map(({ change, ...rest }) => ({ host: change?.host.name, ...rest }))
  const isCause = named[0]?.error === cause
  const [first, ...others] = named
  const all = first && !isCause ? [{ host: first.host, error: cause }, ...others] : named
  return rolloutFailure(cause, all, hosts, proveAll)
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
    if (lost) return { ...stand('new', result.instanceId, lost.message), result }
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
  { spec, log, signal, proxy }: RestoreOptions,
): Promise<void> {
  if (old && !roles.some((role) => found[role]?.id === old.id)) {
    throw new StepError(
      'CONFLICT',
      `host ${host.name}: the old ${spec.name} was removed by somebody`,
    )
  }
  const inSlots = next !== undefined && isInSlots({ next })
  if (!inSlots && result) await proxy?.takeOut(host, { log, signal })
  const actions = (inSlots ? restoreInSlots : restoreActions)(found, next?.id ?? '', old)
  const isRemoval = (action: Action) => action.do === 'remove' && action.container === 'next'
  // A proxy that the host is out of: the new container tells the next command so, until it is in.
  const waits = !inSlots && proxy !== undefined && old?.running === true
  const now = waits ? actions.filter((action) => !isRemoval(action)) : actions
  await perform(host, spec.name, found, now, {
    log,
    signal,
    proxy,
    // A new container that took no requests yet need not end gracefully.
    stopTimeout: result ? spec.settings.stopTimeout : Math.min(spec.settings.stopTimeout, 5),
  })
  // Nobody waits for its health then.
  if (waits && signal.aborted) await putInAgain(host, { spec, log, signal, proxy })
}

/** The old container serves at the host's one port; the new one has no more to tell. */
async function putInAgain(
  host: Host,
  { spec, log, signal, proxy }: Pick<RestoreOptions, 'spec' | 'log' | 'signal' | 'proxy'>,
): Promise<void> {
  if (!proxy) return
  await proxy.putIn(host, { log })
  const found = await survey(host, spec.name)
  const { stopTimeout } = spec.settings
  const removal: Action[] = [{ do: 'remove', container: 'next' }]
  await perform(host, spec.name, found, removal, { log, signal, proxy, stopTimeout })
}

/**
 * Whether the old container serves; unproven as before when the signal fires meanwhile. In slots the
 * new container stays beside it until then.
 */
async function prove(
  standing: HostStanding,
  host: Host,
  options: RestoreOptions,
  signal?: AbortSignal,
): Promise<HostStanding> {
  const { spec, log } = options
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
    if (!(await finishInSlots(host, options, signal))) await putInAgain(host, options)
    return stand('old')
  } catch (error) {
    if (signal?.aborted) return standing
    const { message } = toStepError(error)
    log.error(`host ${host.name}: the old ${spec.name} was started, but: ${message}`)
    log.error(`  Look at it on that host: \`docker logs --tail 100 ${spec.name}\``)
    const { current, next } = await survey(host, spec.name).catch((): Found<ContainerInfo> => ({}))
    const isOldUp = current?.id === id && current.running
    if (next?.running && isInSlots({ next })) {
      return { ...stand('new', message), instanceId: next.id }
    }
    return stand(isOldUp ? 'old' : 'unknown', message)
  }
}

/** In slots the new container goes once the old one serves again; false without slots. */
async function finishInSlots(
  host: Host,
  { spec, log, proxy, signal: cancelled }: RestoreOptions,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const found = await survey(host, spec.name)
  if (!isInSlots(found)) return false
  const actions = found.next ? (decideInSlots(found)?.actions ?? []) : []
  await perform(host, spec.name, found, actions, {
    log,
    proxy,
    signal: signal ?? cancelled,
    stopTimeout: spec.settings.stopTimeout,
  })
  return true
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
