import { throwIfCancelled } from '../../../core/errors.ts'
import type { ContainerInfo, Host } from '../host.ts'
import type { RolloutOptions } from './options.ts'
import { nameOf } from './roles.ts'

/** The safe points: whatever was done until here is in the change, and can be restored. */
export async function throwIfStopped({
  checkLock,
  signal,
  halt = signal,
}: Pick<RolloutOptions, 'checkLock' | 'signal' | 'halt'>): Promise<void> {
  await checkLock?.()
  throwIfCancelled(halt)
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
