import type { Context } from '../../delivery/context.ts'
import { guardChange, recordAct, withLockOf } from '../../delivery/gate/guard.ts'
import type { Instance, Target } from '../../targets/target.ts'
import type { CommandResult } from '../command.ts'
import { agree, type Terminal } from '../terminal.ts'
import { lockRequestOf, nothing, type Opened, own, placeOf } from './open.ts'

export interface ChangeOptions {
  reason?: string
  lockWait?: string
  yes?: boolean
}

export interface InstanceChange {
  verb: 'start' | 'stop' | 'restart' | 'rm'
  /** Whether the first version had it as `hosts …`. */
  former: boolean
  description: string
  done: string
  /** Whether the old containers that a rollback would need are meant, too. */
  all: boolean
  /** Whether nothing is left to be done with it. */
  isDone(instance: Instance): boolean
  question: string
  /** Whether a freeze stops it; what restores what ran does not wait. */
  waitsForFreeze: boolean
  work(instance: Instance, target: Target, signal: AbortSignal): Promise<void>
}

export const instanceChanges: readonly InstanceChange[] = [
  {
    verb: 'start',
    former: true,
    description: 'Start the container that was stopped.',
    done: 'started',
    all: false,
    isDone: ({ running }) => running,
    question: 'Start',
    // What was stopped may come back in any night.
    waitsForFreeze: false,
    work: (instance, target) => target.start(instance),
  },
  {
    verb: 'stop',
    former: true,
    description: 'Stop the container; a deployment or `instances start` brings it back.',
    done: 'stopped',
    all: false,
    isDone: () => false,
    question: 'Stop',
    waitsForFreeze: true,
    work: (instance, target) => target.stop(instance),
  },
  {
    verb: 'restart',
    former: false,
    description:
      'Stop and start the container, host by host; each must be healthy before the next.',
    done: 'restarted',
    all: false,
    isDone: () => false,
    question: 'Restart',
    waitsForFreeze: false,
    work: (instance, target, signal) => target.restart(instance, signal),
  },
  {
    verb: 'rm',
    former: true,
    description: 'Stop and remove the container and the old ones beside it.',
    done: 'removed',
    all: true,
    isDone: () => false,
    question: 'Remove',
    waitsForFreeze: true,
    async work(instance, target) {
      if (instance.running) await target.stop(instance)
      await target.remove(instance)
    },
  },
]

/** Changes containers under the environment's lock, so that no deployment is cut in half by it. */
export async function changeInstances(
  change: InstanceChange,
  options: ChangeOptions,
  context: Context,
  opened: Opened,
  terminal: Terminal,
): Promise<CommandResult> {
  const { environment, target } = opened
  const action = `instances ${change.verb}` as const
  const reason = options.reason ?? context.variable('CROSSCLOUD_REASON')
  const { waitsForFreeze } = change
  const who = await guardChange({ environment, action, reason, waitsForFreeze }, context)
  const names =
    environment.hosts.length === 0 ? 'no host' : environment.hosts.map(({ name }) => name)
  const question = `${change.question} ${environment.containerName} on ${names}?`
  await agree(terminal, question, options.yes ?? false)
  const { lockWait } = options
  const request = lockRequestOf(opened, { action, reason, lockWait }, context)
  return withLockOf(who, request, context, async (lock) => {
    const found = await findContainers(change, opened)
    if (found.length > 0) {
      const act = { environment: environment.name, subject: subjectOf(found), reason }
      await recordAct(action, act, who, context)
    }
    for (const instance of found) {
      await lock.check()
      await change.work(instance, target, context.signal)
      context.log.info(`${instance.host}: ${change.done} ${instance.name}`)
    }
    const containers = found.map(({ host, name }) => ({ host, name }))
    return { json: { [change.done]: containers }, text: summary(change, containers.length) }
  })
}

/** What is to be gone may be gone; what is to run or to rest must be there. */
async function findContainers(change: InstanceChange, opened: Opened): Promise<Instance[]> {
  const { found: all, failure } = await own(opened)
  if (failure) throw failure
  const found = all.filter(({ role }) => change.all || role === 'current')
  if (found.length === 0 && change.verb !== 'rm') throw nothing(opened)
  return found.filter((instance) => !change.isDone(instance))
}

/** `webapi on app-01, webapi on app-02` */
const subjectOf = (found: readonly Instance[]) => found.map(placeOf).join(', ')

/** The log names each container when it is done. */
function summary({ verb, done }: InstanceChange, count: number): string {
  if (count === 0) return verb === 'rm' ? 'Nothing was there.' : `No container had to be ${done}.`
  return count === 1 ? `1 container was ${done}.` : `${count} containers were ${done}.`
}
