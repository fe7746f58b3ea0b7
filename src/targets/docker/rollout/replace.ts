import { throwIfCancelled } from '../../../core/errors.ts'
import type { InstanceResult } from '../../target.ts'
import type { ContainerInfo, Host } from '../host.ts'
import { refuseMissingCheck, refuseTakenPort, urlOf, waitUntilHealthy } from './health.ts'
import type { RolloutOptions } from './options.ts'
import { refuseForeign } from './owner.ts'
import { nameOf } from './repair.ts'
import type { Change } from './restore.ts'
import { stopContainer } from './stop.ts'
import { refuseYounger } from './younger.ts'

/**
 * Replaces the container of one host: the old one is stopped before the new one starts, and kept.
 * What was done is in `change` whenever it fails, so that it can be restored.
 */
export async function replaceContainer(
  change: Change,
  served: boolean,
  options: RolloutOptions,
): Promise<InstanceResult> {
  const { host } = change
  const { spec, log, signal, verify } = options
  const { name, settings } = spec
  change.started = Date.now()
  await throwIfStopped(options)
  const old = await host.inspect(name)
  refuseForeign(host, [old], options)
  refuseYounger(host, [old], options)
  // A deployer that was killed may have stopped it: it then ended after `prepare` saw it running.
  change.old = old && { ...old, running: old.running || served }
  const next = await host.create({ ...spec, name: nameOf(name, 'next') })
  change.next = next
  refuseMissingCheck(host, next, settings.health)
  log.info(`created ${next.name}, files placed: ${spec.files.length}`)
  await throwIfStopped(options)
  const stopped = Date.now()
  if (old) {
    await stopContainer(host, old.id, settings.stopTimeout, signal)
    log.info(`stopped the old ${name}, and keep it`)
  }
  await throwIfStopped(options)
  await refuseTakenPort(host, next, settings.health, signal)
  await throwIfStopped(options)
  if (settings.onVolume) await host.placeOnVolumes(next.id, spec)
  await host.start(next.id)
  const healthy = await waitUntilHealthy(host, next, settings.health, signal)
  const downtime = old?.running ? Date.now() - stopped : 0
  log.info(`${next.name} ${settings.health ? 'is healthy' : 'runs'}`)
  await verify(host, healthy)
  await throwIfStopped(options)
  await takeOver(host, name, old, healthy)
  log.info(`${name} is the new container${old ? `, ${nameOf(name, 'previous')} the old one` : ''}`)
  return {
    host: host.name,
    instanceId: healthy.id,
    previousInstanceId: old?.id,
    url: urlOf(healthy, settings.health),
    duration: Date.now() - change.started,
    downtime,
  }
}

async function throwIfStopped({ checkLock, signal }: RolloutOptions): Promise<void> {
  await checkLock?.()
  throwIfCancelled(signal)
}

/** The names move on. The `previous` of before waits as `older` until every host is changed. */
async function takeOver(
  host: Host,
  name: string,
  old: ContainerInfo | undefined,
  healthy: ContainerInfo,
) {
  if (old) {
    const previous = await host.inspect(nameOf(name, 'previous'))
    if (previous) await host.rename(previous.id, nameOf(name, 'older'))
    await host.rename(old.id, nameOf(name, 'previous'))
  }
  await host.rename(healthy.id, name)
}
