import type { InstanceResult } from '../../target.ts'
import { beginChange, resultOf, takeOver, throwIfStopped } from './change.ts'
import { refuseMissingCheck, refuseTakenPort, waitUntilHealthy } from './health.ts'
import type { RolloutOptions } from './options.ts'
import type { Change } from './restore-host.ts'
import { nameOf } from './roles.ts'
import { switchSlots } from './slots/switch.ts'
import { stopContainer } from './stop.ts'

/**
 * Replaces the container of one host. In slots the old one is stopped once the new one serves; else
 * before it starts. The old one is kept.
 * What was done is in `change` whenever it fails, so that it can be restored.
 */
export async function replaceContainer(
  change: Change,
  served: boolean,
  options: RolloutOptions,
): Promise<InstanceResult> {
  const { host } = change
  const { spec, log, signal, halt = signal, verify, proxy } = options
  const { name, settings } = spec
  if (settings.slots) return switchSlots(change, served, settings.slots, options)
  const look = async () => ({ current: await host.inspect(name) })
  const { current: old } = await beginChange(change, served, options, look)
  const next = await host.create({ ...spec, name: nameOf(name, 'next') })
  change.next = next
  refuseMissingCheck(host, next, settings.health)
  log.info(`created ${next.name}, files placed: ${spec.files.length}`)
  await throwIfStopped(options)
  change.isOldTouched = true
  if (old) {
    if (old.running) await proxy?.takeOut(host, { log, signal: halt })
    await throwIfStopped(options)
  }
  const stopped = Date.now()
  if (old) {
    await stopContainer(host, old.id, settings.stopTimeout, signal)
    log.info(`stopped the old ${name}, and keep it`)
  }
  await throwIfStopped(options)
  await refuseTakenPort(host, next, settings.health, halt)
  await throwIfStopped(options)
  if (settings.onVolume) await host.placeOnVolumes(next.id, spec)
  await host.start(next.id)
  const healthy = await waitUntilHealthy(host, next, settings.health, halt)
  const downtime = old?.running ? Date.now() - stopped : 0
  log.info(`${next.name} ${settings.health ? 'is healthy' : 'runs'}`)
  await verify(host, healthy, log)
  change.isVerified = true
  await throwIfStopped(options)
  // Before the names move on: until then the next command finds that this deployment was cut off.
  await proxy?.putIn(host, { log, signal: halt })
  await takeOver(host, name, old, healthy)
  log.info(`${name} is the new container${old ? `, ${nameOf(name, 'previous')} the old one` : ''}`)
  return resultOf(change, healthy, options, downtime)
}
