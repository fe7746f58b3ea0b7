import { otherSlot, slotOf } from '../../../slot.ts'
import type { InstanceResult } from '../../../target.ts'
import type { ContainerInfo, Host, SlotPair } from '../../host.ts'
import { inSlot } from '../../slots.ts'
import { beginChange, resultOf, takeOver, throwIfStopped } from '../change.ts'
import { refuseMissingCheck, refuseTakenPort, waitUntilHealthy } from '../health.ts'
import type { RolloutOptions } from '../options.ts'
import { survey } from '../repair.ts'
import type { Change } from '../restore-host.ts'
import { type Found, nameOf } from '../roles.ts'
import { KILLED, stopContainer } from '../stop.ts'

/**
 * Starts the new container in the free slot of a host while the old one serves in the other, and
 * stops the old one only when the new one is healthy and verified. The names move on before the
 * stop: a deployer killed at any point leaves a container that serves, and which one is decidable.
 */
export async function switchSlots(
  change: Change,
  served: boolean,
  slots: SlotPair,
  options: RolloutOptions,
): Promise<InstanceResult> {
  const { host } = change
  const { spec, log, signal, halt = signal, verify, proxy } = options
  const { name, settings } = spec
  const found = await beginChange(change, served, options, () => survey(host, name))
  const old = found.current
  const number = freeSlot(found)
  const wanted = inSlot(spec, slots, number)
  const next = await host.create({ ...wanted, name: nameOf(name, 'next') })
  change.next = next
  refuseMissingCheck(host, next, settings.health)
  log.info(`created ${next.name} in slot ${number}, files placed: ${spec.files.length}`)
  await verify(host, next, log)
  await throwIfStopped(options)
  await refuseTakenPort(host, next, settings.health, halt)
  await proxy?.keepOut(host, number, { log, signal: halt })
  await host.start(next.id)
  const healthy = await waitUntilHealthy(host, next, settings.health, halt)
  log.info(`${next.name} ${settings.health ? 'is healthy' : 'runs'} in slot ${number}`)
  await verify(host, healthy, log)
  change.isVerified = true
  await throwIfStopped(options)
  change.isOldTouched = true
  await takeOver(host, name, old, healthy)
  log.info(`${name} is the new container${old ? `, ${nameOf(name, 'previous')} the old one` : ''}`)
  await proxy?.routeTo(host, number, { container: healthy.id, log, signal: halt })
  for (const retired of [found.current, found.previous]) {
    if (retired?.running) await retire(host, retired, options)
  }
  return resultOf(change, healthy, options, 0)
}

/** The slot in which nothing runs, seen from the container that serves. */
export function freeSlot({ current, previous }: Found<ContainerInfo>) {
  const serving = previous?.running && !current?.running ? previous : current
  return otherSlot(serving && slotOf(serving.labels))
}

/** 128 + SIGTERM: what an engine reports of a process that ended by it. */
const TERMINATED = 143

/** Stops the old container gracefully, and reports whether it could end by itself. */
async function retire(
  host: Host,
  { id }: ContainerInfo,
  { spec, log, signal }: RolloutOptions,
): Promise<void> {
  const { stopTimeout } = spec.settings
  const started = Date.now()
  await stopContainer(host, id, stopTimeout, signal)
  const stopped = await host.inspect(id)
  const name = stopped?.name ?? nameOf(spec.name, 'previous')
  const seconds = ((Date.now() - started) / 1000).toFixed(1)
  if (stopped?.exitCode === KILLED && signal.aborted) {
    log.warn(
      `host ${host.name}: ${name} was cut, as it must serve again; requests it was working on are lost`,
    )
  } else if (stopped?.exitCode === KILLED) {
    log.warn(
      `host ${host.name}: ${name} was cut: it did not stop within ${stopTimeout} s, and requests it was working on are lost; let \`container.stop-timeout\` be 10 s longer than the application's own graceful stop`,
    )
  } else if (stopped?.exitCode === TERMINATED || stopped?.exitCode === 0) {
    log.info(`${name} stopped by itself after ${seconds} s, and is kept`)
  } else {
    const code = stopped?.exitCode ?? 'unknown'
    log.info(`${name} stopped after ${seconds} s with exit code ${code}, and is kept`)
  }
}
