import { throwIfCancelled } from '../../../core/errors.ts'
import type { ContainerInfo, Host } from '../host.ts'
import type { RolloutOptions } from './options.ts'
import { nameOf } from './roles.ts'

export async function throwIfStopped({ checkLock, signal }: RolloutOptions): Promise<void> {
  await checkLock?.()
  throwIfCancelled(signal)
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
