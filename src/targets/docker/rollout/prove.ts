import { toStepError } from '../../../core/errors.ts'
import { slotOf } from '../../slot.ts'
import type { HostStanding } from '../../target.ts'
import { ownHealth } from '../health/label.ts'
import type { ContainerInfo } from '../host.ts'
import { waitUntilHealthy } from './health.ts'
import { isInSlots, perform, survey } from './repair.ts'
import {
  type Change,
  errorOf,
  putInAgain,
  type RestoreOptions,
  restore,
  untilItAnswers,
} from './restore-host.ts'
import type { Found } from './roles.ts'
import { decideInSlots } from './slots/repair.ts'
import { refuseYounger } from './younger.ts'

export async function restoreAndProve(
  change: Change,
  options: RestoreOptions,
): Promise<HostStanding> {
  return prove(await restore(change, options), change, options, options.signal)
}

/**
 * Whether the old container serves, and what is not urgent: the new one, which may run beside it,
 * ends gracefully. Unproven as before when the signal fires meanwhile. After a cancel it is called
 * without a signal: the ledger is written and the lock is free by then, and when the process is
 * killed, the next command finishes.
 */
export async function prove(
  standing: HostStanding,
  change: Change,
  options: RestoreOptions,
  signal?: AbortSignal,
): Promise<HostStanding> {
  const { spec, log } = options
  const { host } = change
  const { unproven, instanceId: id, ...rest } = standing
  if (!unproven || id === undefined) return standing
  const begun = Date.now()
  const stand = (serves: HostStanding['serves'], error?: string): HostStanding => {
    const duration = rest.duration + Date.now() - begun
    return { ...rest, serves, instanceId: id, error, duration }
  }
  let isHealthy = false
  try {
    await untilItAnswers(async () => {
      const labels = (await host.inspect(id))?.labels
      const health = ownHealth(labels, spec.settings.health)
      await waitUntilHealthy(host, { id, name: spec.name }, health, signal)
    }, options)
    isHealthy = true
    log.info(`host ${host.name}: the old ${spec.name} serves again`)
    await finish(change, id, options, signal)
    return stand('old')
  } catch (error) {
    if (signal?.aborted) return standing
    const { message } = toStepError(error)
    log.error(`host ${host.name}: the old ${spec.name} was started, but: ${message}`)
    log.error(`  Look at it on that host: \`docker logs --tail 100 ${spec.name}\``)
    const found = await survey(host, spec.name).catch((): Found<ContainerInfo> => ({}))
    const { current, next } = found
    const isOldUp = current?.id === id && current.running
    const isBeside = change.isOldTouched && next?.running && isInSlots({ next })
    if (isBeside && !(isHealthy && (await hasRequests(change, found, options)))) {
      return { ...stand('new', message), instanceId: next.id }
    }
    return stand(isOldUp ? 'old' : 'unknown', message)
  }
}

/** Whether the proxy sends the host's requests to the container that has the name. */
async function hasRequests(
  { host }: Change,
  { current }: Found<ContainerInfo>,
  { proxy }: RestoreOptions,
): Promise<boolean> {
  const slot = slotOf(current?.labels ?? {})
  if (!proxy || slot === undefined) return true
  return proxy.isRoutedTo(host, slot).catch(() => false)
}

/** Another deployment may have begun meanwhile: then it does this, and all that is there is its own. */
async function finish(
  change: Change,
  oldId: string,
  options: RestoreOptions,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { host, next } = change
  const { spec, log, proxy } = options
  const found = await survey(host, spec.name)
  const younger = await errorOf(async () => refuseYounger(host, Object.values(found), options))
  if (younger || found.current?.id !== oldId) return
  if (!isInSlots(found)) return putInAgain(change, options)
  if (!found.next || found.next.id !== next?.id) return
  const actions = decideInSlots(found)?.actions ?? []
  const { stopTimeout } = spec.settings
  await perform(host, spec.name, found, actions, { log, proxy, signal, stopTimeout })
}
