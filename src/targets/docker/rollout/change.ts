import { throwIfCancelled } from '../../../core/errors.ts'
import { slotOf } from '../../slot.ts'
import type { InstanceResult } from '../../target.ts'
import type { ContainerInfo, Host } from '../host.ts'
import { urlOf } from './health.ts'
import type { RolloutOptions } from './options.ts'
import { refuseForeign } from './owner.ts'
import type { Change } from './restore-host.ts'
import { nameOf } from './roles.ts'
import { refuseYounger } from './younger.ts'

// What a change of a host has in common, in slots or not.

/** The safe points: whatever was done until here is in the change, and can be restored. */
export async function throwIfStopped({
  checkLock,
  signal,
  halt = signal,
}: Pick<RolloutOptions, 'checkLock' | 'signal' | 'halt'>): Promise<void> {
  await checkLock?.()
  throwIfCancelled(halt)
}

/** Looks at the old container, and refuses what is not ours to replace. */
export async function beginChange<Seen extends { current?: ContainerInfo | undefined }>(
  change: Change,
  served: boolean,
  options: RolloutOptions,
  look: () => Promise<Seen>,
): Promise<Seen> {
  const { host } = change
  change.started = Date.now()
  await throwIfStopped(options)
  const seen = await look()
  const old = seen.current
  refuseForeign(host, [old], options)
  refuseYounger(host, [old], options)
  // A deployer that was killed may have stopped it: it then ended after `prepare` saw it running.
  change.old = old && { ...old, running: old.running || served }
  return seen
}

/** The names move on. The `previous` of before waits as `older` until every host is changed. */
export async function takeOver(
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

export function resultOf(
  { host, old, started }: Change,
  healthy: ContainerInfo,
  { spec }: RolloutOptions,
  downtime: number,
): InstanceResult {
  return {
    host: host.name,
    instanceId: healthy.id,
    previousInstanceId: old?.id,
    slot: slotOf(healthy.labels),
    url: urlOf(healthy, spec.settings.health),
    duration: Date.now() - started,
    downtime,
  }
}
