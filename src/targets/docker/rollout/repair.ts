import { isStepError, StepError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import type { HostActivity } from '../../proxy.ts'
import { describeRemains, type EndingOf, type Remains } from '../../remains.ts'
import { slotOf } from '../../slot.ts'
import { ON_VOLUME_LABEL } from '../container-options.ts'
import { ownHealth } from '../health/label.ts'
import type { ContainerInfo, ContainerSpec, Host } from '../host.ts'
import { waitUntilHealthy } from './health.ts'
import { adoptedName, isOwn, type Ownership } from './owner.ts'
import type { RolloutProxy } from './proxy.ts'
import { type Action, type Finding, type Found, nameOf, only, type Role, roles } from './roles.ts'
import { decideInSlots } from './slots/repair.ts'
import { KILLED, stopContainer, stopUnhurried } from './stop.ts'

/**
 * What a deployer that was killed left behind, and how to repair it; undefined when all is well.
 * The order of rollout.ts makes it decidable: `<name>` is missing only between the two renames,
 * after the new container was verified. The actions are ordered so that being killed among them
 * leaves a state that can be decided again, and never looks like a container stopped by hand.
 */
export function decide(found: Found<{ running: boolean; restarts?: number }>): Finding | undefined {
  const { current, next, previous, older } = found
  // Between two restarts it does not run, and takes the port again a moment later.
  const mayRun = next && (next.running || (next.restarts ?? 0) > 0)
  if (current) {
    if (!next && !older) return undefined
    return {
      text: `a deployment was cut off before ${next ? 'its new container was verified' : 'it had tidied up'}`,
      ...(next && { outcome: 'the old one stays' }),
      actions: [
        ...only(mayRun, { do: 'stop', container: 'next' }),
        ...only(!current.running, { do: 'start', container: 'current' }),
        ...only(next, { do: 'remove', container: 'next' }),
        ...only(older && previous, { do: 'remove', container: 'older' }),
        ...only(older && !previous, { do: 'rename', container: 'older', to: 'previous' }),
      ],
    }
  }
  const old = previous ? 'previous' : older ? 'older' : undefined
  const verified = next && previous && (next.running || !previous.running)
  if (verified) {
    return {
      text: 'a deployment was cut off after its new container was verified',
      outcome: 'it is finished now',
      actions: [
        ...only(!next.running, { do: 'start', container: 'next' }),
        { do: 'rename', container: 'next', to: 'current' },
        ...only(older, { do: 'remove', container: 'older' }),
      ],
    }
  }
  if (old) {
    return {
      text: 'the container that should serve is missing',
      outcome: 'the one before it is put back',
      actions: [
        ...only(mayRun, { do: 'stop', container: 'next' }),
        ...only(!found[old]?.running, { do: 'start', container: old }),
        { do: 'rename', container: old, to: 'current' },
        ...only(next, { do: 'remove', container: 'next' }),
        ...only(older && previous, { do: 'rename', container: 'older', to: 'previous' }),
      ],
    }
  }
  if (!next) return undefined
  return {
    text: 'a first deployment was cut off before its container was verified',
    actions: [{ do: 'remove', container: 'next' }],
  }
}

const findingOf = (found: Found<ContainerInfo>): Finding | undefined =>
  isInSlots(found) ? decideInSlots(found) : decide(found)

/** What the containers of a host say of why a proxy sends it nothing. */
export function activityOf(found: Found<ContainerInfo>): HostActivity {
  if (findingOf(found)) return 'cut off'
  return found.current?.running || found.previous?.running ? 'runs' : 'idle'
}

/** What the last deployment has left; undefined where it has left no container. */
export function remainsOf(name: string, found: Found<ContainerInfo>): Remains | undefined {
  const newest = found.next ?? found.current ?? found.previous ?? found.older
  if (!newest) return undefined
  const running = roles.flatMap((role) => (found[role]?.running ? [found[role]] : []))
  return { name, labels: newest.labels, cutOff: findingOf(found)?.text, running }
}

export interface RepairOptions extends Ownership {
  spec: Pick<ContainerSpec, 'labels' | 'settings'>
  endingOf?: EndingOf | undefined
  proxy?: RolloutProxy | undefined
}

/** Finds what a deployer left on the host that was killed or could not restore it, and repairs it. */
export async function repair(
  host: Host,
  name: string,
  log: Log,
  signal?: AbortSignal,
  options?: RepairOptions,
): Promise<void> {
  const found = await survey(host, name)
  const finding = findingOf(found)
  const remains = remainsOf(name, found)
  const ending = remains && (await options?.endingOf?.(host.name, remains.labels))
  const said = remains && describeRemains(remains, ending)
  if (said) {
    const outcome = ending === undefined ? finding?.outcome : undefined
    log.warn(`host ${host.name}: ${[said, outcome].filter(Boolean).join('; ')}`)
  }
  if (!finding) return
  // In slots the container to stop may be serving; else it was never verified.
  const stopTimeout = (isInSlots(found) && options?.spec.settings.stopTimeout) || 10
  const proxy = options?.proxy
  const how = { log, signal, stopTimeout, proxy, ownership: options }
  await perform(host, name, found, finding.actions, how)
  if (proxy) await realign(host, name, proxy, { log, signal })
}

/** What serves after a repair gets the requests again. */
async function realign(
  host: Host,
  name: string,
  proxy: RolloutProxy,
  options: { log: Log; signal: AbortSignal | undefined },
): Promise<void> {
  const current = await host.inspect(name)
  if (!current?.running) return
  const slot = slotOf(current.labels)
  if (slot === undefined) await proxy.putIn(host, options)
  else await proxy.routeTo(host, slot, { container: current.id, ...options })
}

/** Whether the newest container was made to run beside the one before it. */
export function isInSlots({ current, next }: Found<Pick<ContainerInfo, 'labels'>>): boolean {
  return slotOf((next ?? current)?.labels ?? {}) !== undefined
}

export async function survey(host: Host, name: string): Promise<Found<ContainerInfo>> {
  const found: Found<ContainerInfo> = {}
  const look = async (role: Role) => {
    const container = await host.inspect(nameOf(name, role))
    if (container) found[role] = container
  }
  await Promise.all(roles.map(look))
  return found
}

export interface PerformOptions {
  log: Log
  /** seconds */
  stopTimeout: number
  /** Once it has fired, the actions are taken without waiting for containers to end gracefully. */
  signal: AbortSignal | undefined
  /** What is not ours is kept under another name where it would be removed. */
  ownership?: Ownership | undefined
  /** A container in a slot is stopped once the other slot has its requests. */
  proxy?: RolloutProxy | undefined
}

/**
 * Takes the actions one after the other, on exactly the containers that were found, even if their
 * names have changed. A failure is logged with the docker commands for what is left to do.
 */
export async function perform(
  host: Host,
  name: string,
  found: Found<ContainerInfo>,
  actions: readonly Action[],
  { log, stopTimeout, signal, ownership, proxy }: PerformOptions,
): Promise<void> {
  const ids: Partial<Record<Role, string>> = {}
  for (const role of roles) {
    const id = found[role]?.id
    if (id !== undefined) ids[role] = id
  }
  for (const [done, action] of actions.entries()) {
    const id = ids[action.container]
    if (id === undefined) continue
    try {
      // Before an old container reads them, and before the new one, which keeps them, is gone.
      const isTime = action.do === (action.container === 'next' ? 'remove' : 'start')
      if (ids.next && isTime) await putFilesBack(host, containerOf(found, ids.next))
      if (action.do === 'start') await host.start(id)
      if (action.do === 'await') await awaitHealth(host, containerOf(found, id), { log, signal })
      if (action.do === 'stop') {
        const stays = ids.current === id ? undefined : ids.current
        const slot = stays && slotOf(containerOf(found, stays).labels)
        if (slot) await proxy?.routeTo(host, slot, { container: stays, log, signal })
        // Beside one that serves nothing is urgent.
        const stop = slot ? stopUnhurried : stopContainer
        await stop(host, id, stopTimeout, signal)
        await warnIfCut(host, id, nameOf(name, action.container), log)
      }
      if (action.do === 'remove') await removeOrKeep(host, name, containerOf(found, id), ownership)
      if (action.do === 'rename') {
        await host.rename(id, nameOf(name, action.to))
        ids[action.to] = id
        delete ids[action.container]
      }
      log.info(`host ${host.name}: ${describeAction(name, action)}`)
    } catch (error) {
      // What is left is done later in this command, or by the next one.
      if (signal?.aborted && isStepError(error, 'CANCELLED')) throw error
      log.error(`host ${host.name}: ${name} could not be put right. On that host, run:`)
      for (const left of actions.slice(done)) log.error(`  ${commandOf(name, left)}`)
      throw error
    }
  }
}

async function awaitHealth(
  host: Host,
  { id, name, labels, running }: ContainerInfo,
  { log, signal }: Pick<PerformOptions, 'log' | 'signal'>,
): Promise<void> {
  try {
    await waitUntilHealthy(host, { id, name }, ownHealth(labels, undefined), signal)
  } catch (error) {
    // It may have been ill before, and the deployment that follows its cure.
    if (!running || !isStepError(error, 'VERIFY_FAILED')) throw error
    log.warn(error.message)
  }
}

/** Killed at the end of its time, with what it was working on. */
async function warnIfCut(host: Host, id: string, name: string, log: Log): Promise<void> {
  const stopped = await host.inspect(id).catch(() => undefined)
  if (stopped?.exitCode !== KILLED) return
  log.warn(
    `host ${host.name}: ${name} was cut: it did not stop in time, and requests it was working on are lost`,
  )
}

async function putFilesBack(host: Host, { id, labels }: ContainerInfo): Promise<void> {
  if (labels[ON_VOLUME_LABEL] !== undefined) await host.putBack(id)
}

function containerOf(found: Found<ContainerInfo>, id: string): ContainerInfo {
  const container = roles.map((role) => found[role]).find((candidate) => candidate?.id === id)
  if (container) return container
  throw new StepError('INTERNAL', `container ${id} was not found before`)
}

/** Removes a container of ours; an adopted container is kept, with its volumes. */
export async function removeOrKeep(
  host: Host,
  name: string,
  container: ContainerInfo,
  ownership: Ownership | undefined,
): Promise<void> {
  if (!ownership || isOwn(container, ownership)) return host.remove(container.id)
  await host.rename(container.id, adoptedName(name, container.id))
}

function describeAction(name: string, action: Action): string {
  const container = nameOf(name, action.container)
  if (action.do === 'rename') return `${container} is called ${nameOf(name, action.to)} now`
  const done = { start: 'started', await: 'serves:', stop: 'stopped', remove: 'removed' }
  return `${done[action.do]} ${container}`
}

/** The action for a person at the host's own shell. */
export function commandOf(name: string, action: Action): string {
  const container = nameOf(name, action.container)
  if (action.do === 'rename') return `docker rename ${container} ${nameOf(name, action.to)}`
  if (action.do === 'remove') return `docker rm --force ${container}`
  if (action.do === 'await') return `docker logs --tail 100 ${container}`
  return `docker ${action.do} ${container}`
}
