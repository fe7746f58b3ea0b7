import { isStepError, StepError, toStepError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import { wait } from '../../../core/retry.ts'
import type { RolloutStrategy } from '../../rollout-settings.ts'
import type { HostStanding, InstanceResult } from '../../target.ts'
import type { ContainerInfo, ContainerSpec, Host } from '../host.ts'
import type { RolloutProxy } from './proxy.ts'
import { isInSlots, perform, survey } from './repair.ts'
import { type Action, type Found, nameOf, roles } from './roles.ts'
import { restoreInSlots } from './slots/repair.ts'
import { type LockLabels, refuseYounger } from './younger.ts'

/** Milliseconds for which a host that does not answer is asked again before it is given up. */
const RESPONSE_TIMEOUT = 30_000
const ASK_AGAIN = 1000

/** One host in a rollout, and what has been done to it so far. */
export interface Change {
  host: Host
  started: number
  old?: ContainerInfo | undefined
  /** Set once the new container exists: from then on the host must be restored on failure. */
  next?: ContainerInfo
  /** Set once the new container is healthy, and the right one. */
  isVerified?: boolean
  /** Set before the old container loses its name or its requests: until then it serves as it did. */
  isOldTouched?: boolean
  /** Set once the new container has taken over. */
  result?: InstanceResult
  /** Set once the host is restored, or could not be. */
  standing?: HostStanding
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

/** What a check throws. */
export async function errorOf(
  check: (() => Promise<void>) | undefined,
): Promise<StepError | undefined> {
  try {
    await check?.()
    return undefined
  } catch (error) {
    return toStepError(error)
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

/** Restores the old container and starts it; `unproven` when it runs. */
export async function restore(change: Change, options: RestoreOptions): Promise<HostStanding> {
  const { log, spec } = options
  const begun = Date.now()
  try {
    return await untilItAnswers(() => tryToRestore(change, begun, options), options)
  } catch (thrown) {
    const error = toStepError(thrown)
    const what = change.isOldTouched
      ? `${spec.name} was NOT brought back`
      : `nothing that served was touched; ${nameOf(spec.name, 'next')} may be left, and the next deployment removes it`
    log.error(`host ${change.host.name}: ${what}: ${error.message}`)
    return await observe(change, begun, error, options)
  }
}

/**
 * A host that does not answer is asked again for a while: an engine that is started again, or a network
 * that was cut, comes back. Not once the rollout is cancelled.
 */
export async function untilItAnswers<T>(
  work: () => Promise<T>,
  { log, signal }: Pick<RestoreOptions, 'log' | 'signal'>,
): Promise<T> {
  const until = Date.now() + RESPONSE_TIMEOUT
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await work()
    } catch (thrown) {
      const error = toStepError(thrown)
      if (error.code !== 'UNAVAILABLE' || signal.aborted || Date.now() >= until) throw error
      if (isFirst) log.warn(`${error.message}; asking again for ${RESPONSE_TIMEOUT / 1000} s`)
      // A cancel ends the pause, and the next failure is the last.
      await wait(ASK_AGAIN, signal).catch(() => {})
    }
  }
}

async function tryToRestore(
  change: Change,
  begun: number,
  options: RestoreOptions,
): Promise<HostStanding> {
  const { spec, log } = options
  const { host, old, result } = change
  const stand = standingSince(begun, change)
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
  return old?.running ? { ...stand('old', old.id), unproven: true } : stand('nothing')
}

function standingSince(begun: number, { host, started, result }: Change) {
  return (serves: HostStanding['serves'], instanceId?: string, error?: string): HostStanding => {
    const duration = (result?.duration ?? 0) + Date.now() - (result ? begun : started)
    return { host: host.name, serves, touched: true, instanceId, error, duration }
  }
}

/** What serves on a host that could not be restored, as far as that can be seen. */
async function observe(
  change: Change,
  begun: number,
  { message }: StepError,
  { spec }: RestoreOptions,
): Promise<HostStanding> {
  const { host, old, result, isOldTouched: touched = false } = change
  const stand = standingSince(begun, change)
  const { current } = await survey(host, spec.name).catch((): Found<ContainerInfo> => ({}))
  const serving = current?.running ? current.id : undefined
  if (serving !== undefined && serving === result?.instanceId) {
    return { ...stand('new', serving, message), result }
  }
  if (serving !== undefined && serving === old?.id) {
    return { ...stand('old', serving, message), touched }
  }
  return { ...stand('unknown', undefined, message), touched }
}

/**
 * What is urgent: the old container runs and has its name, and a proxy sends it the requests. In slots
 * a cancel leaves the rest to `prove`, as the new container may still be at work on requests.
 */
async function goBack(
  change: Change,
  found: Found<ContainerInfo>,
  { spec, log, signal, proxy }: RestoreOptions,
): Promise<void> {
  const { host, old, next, result, isVerified } = change
  if (old && !roles.some((role) => found[role]?.id === old.id)) {
    throw new StepError(
      'CONFLICT',
      `host ${host.name}: the old ${spec.name} was removed by somebody`,
    )
  }
  const inSlots = next !== undefined && isInSlots({ next })
  if (!inSlots && result) {
    const isLeaving = proxy?.takeOut(host, { log, signal, keepsLast: true })
    await unlessCancelled(isLeaving, signal)
  }
  const actions = (inSlots ? restoreInSlots : restoreActions)(found, next?.id ?? '', old)
  const isRemoval = (action: Action) => action.do === 'remove' && action.container === 'next'
  // A proxy that the host is out of: the new container tells the next command so, until it is in.
  const waits = !inSlots && proxy !== undefined && old?.running === true
  const now = waits ? actions.filter((action) => !isRemoval(action)) : actions
  const { stopTimeout } = spec.settings
  // A new container that took no requests yet need not end gracefully.
  const mayHaveRequests = result !== undefined || (inSlots && isVerified)
  const performing = perform(host, spec.name, found, now, {
    log,
    signal,
    proxy,
    stopTimeout: mayHaveRequests ? stopTimeout : Math.min(stopTimeout, 5),
  })
  await (inSlots ? unlessCancelled(performing, signal) : performing)
  // Nobody waits for its health then.
  if (waits && signal.aborted) await putInAgain(change, { spec, log, signal, proxy })
}

/** Waiting ends with a cancel; what was changed by then stays. */
async function unlessCancelled(work: Promise<void> | undefined, signal: AbortSignal) {
  await work?.catch((error: unknown) => {
    if (!signal.aborted || !isStepError(error, 'CANCELLED')) throw error
  })
}

/** The old container serves at the host's one port; the new one has no more to tell. */
export async function putInAgain(
  { host, next }: Change,
  { spec, log, signal, proxy }: Pick<RestoreOptions, 'spec' | 'log' | 'signal' | 'proxy'>,
): Promise<void> {
  if (!proxy) return
  await proxy.putIn(host, { log })
  const found = await survey(host, spec.name)
  if (found.next?.id !== next?.id) return
  const { stopTimeout } = spec.settings
  const removal: Action[] = [{ do: 'remove', container: 'next' }]
  await perform(host, spec.name, found, removal, { log, signal, proxy, stopTimeout })
}

export async function untouched({ host }: Change, options: RestoreOptions): Promise<HostStanding> {
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
