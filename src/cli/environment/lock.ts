import type { Command } from 'commander'
import { StepError } from '../../core/errors.ts'
import { duration } from '../../core/settings/schema.ts'
import type { Context } from '../../delivery/context.ts'
import { guardChange, isManualLock, manualLockOwner, recordAct } from '../../delivery/gate/guard.ts'
import { findOwnRelease } from '../../delivery/release.ts'
import { formatRelease, parseRelease } from '../../delivery/release-name.ts'
import type { Who } from '../../identity/who.ts'
import type { Lock } from '../../ledger/ledger.ts'
import { addExample, type Perform, requireText } from '../command.ts'

interface LockOptions {
  env?: string
  reason?: string
  for: string
}

interface UnlockOptions {
  env?: string
  force?: boolean
  reason?: string
  breakGlass?: boolean
}

interface MarkOptions {
  env?: string
  reason?: string
  good?: boolean
}

/** Commands that hold deployments up: locks by hand, and releases known to be bad. */
export function addLockCommands(program: Command, perform: Perform): void {
  addLock(program, perform)
  addUnlock(program, perform)
  addMark(program, perform)
}

function addLock(program: Command, perform: Perform): void {
  const command = program
    .command('lock')
    .description('Freeze an environment: nobody deploys there until it is unlocked.')
    .option('--env <name>', 'environment')
    .option('--reason <text>', 'why; everybody who is refused reads it')
    .option('--for <duration>', 'how long at the most: 30m, 8h, 7d', '8h')
  addExample(command, 'lock --env production --reason "stocktaking" --for 2d')
  command.action(async (options: LockOptions) => {
    await perform(command, async (context) => {
      const environment = await context.environment(requireText(options.env, '--env'))
      const { app } = await context.settings()
      const reason = requireText(options.reason, '--reason')
      const time = readDuration(options.for)
      const change = { environment, action: 'lock', reason, waitsForFreeze: false }
      const who = await guardChange(change, context)
      const ledger = await context.ledger()
      const lock = await ledger.lock(app, environment.name, manualLockOwner(who), reason, time)
      await recordLock(lock, who, context)
      return { json: { ...lock }, text: `${describeLock(lock)}.\n${howToUnlock(lock)}` }
    })
  })
}

/** A lock that nobody can read of is given back. */
async function recordLock(lock: Lock, who: Who, context: Context): Promise<void> {
  const { environment, owner, reason } = lock
  try {
    await recordAct('lock', { environment, subject: owner, reason }, who, context)
  } catch (error) {
    await (await context.ledger()).unlock(lock)
    throw error
  }
}

function addUnlock(program: Command, perform: Perform): void {
  const command = program
    .command('unlock')
    .description('End a freeze, or the lock of a deployment that is known to be dead.')
    .option('--env <name>', 'environment')
    .option('--force', "end somebody else's lock, too")
    .option('--reason <text>', 'why; needed where a gate stands')
    .option('--break-glass', 'without a token, at a terminal: for people whom the gate names')
  addExample(command, 'unlock --env production --reason "the stock is counted"')
  command.action(async ({ env, force, reason, breakGlass = false }: UnlockOptions) => {
    await perform(command, async (context) => {
      const environment = await context.environment(requireText(env, '--env'))
      const { app } = await context.settings()
      const change = { environment, action: 'unlock', reason, waitsForFreeze: false, breakGlass }
      const who = await guardChange(change, context)
      const ledger = await context.ledger()
      const lock = await ledger.findLock(app, environment.name)
      if (!lock) {
        return { json: { lock: null }, text: `${app} in ${environment.name} is not locked.` }
      }
      if (lock.owner !== manualLockOwner(who) && !force) throw isNotYours(lock)
      const act = { environment: environment.name, subject: lock.owner, reason }
      await recordAct('unlock', act, who, context)
      await ledger.unlock(lock)
      return { json: { lock: { ...lock } }, text: `Unlocked. ${describeLock(lock, 'was')}.` }
    })
  })
}

function addMark(program: Command, perform: Perform): void {
  const command = program
    .command('mark')
    .argument('<release>', 'as application@version')
    .description('Say that a release is bad in an environment, or good again.')
    .option('--env <name>', 'environment')
    .option('--good', 'it is good again; else it is bad')
    .option('--reason <text>', 'why; everybody who is refused reads it')
  addExample(command, 'mark webapi@1.4.2 --env production --reason "prices are wrong"')
  command.action(async (name: string, { env, good, reason }: MarkOptions) => {
    await perform(command, async (context) => {
      const environment = await context.environment(requireText(env, '--env'))
      const { app, version } = await findOwnRelease(parseRelease(name), context)
      const said = requireText(reason, '--reason')
      const change = { environment, action: 'mark', reason: said, waitsForFreeze: false }
      const { login: by, identity } = await guardChange(change, context)
      const place = { app, version, environment: environment.name }
      const ledger = await context.ledger()
      const mark = await ledger.mark({ ...place, bad: !good, by, identity, reason: said })
      const text = good
        ? `${formatRelease(mark)} is good again in ${mark.environment}.`
        : `${formatRelease(mark)} is bad in ${mark.environment}: it is deployed there only with --force.`
      return { json: { ...mark }, text }
    })
  })
}

function readDuration(text: string): number {
  const parsed = duration.safeParse(text)
  if (parsed.success) return parsed.data
  throw new StepError('INPUT_INVALID', `--for ${parsed.error.issues[0]?.message}`)
}

function describeLock({ app, environment, owner, reason, expiresAt }: Lock, is = 'is') {
  const until = `${expiresAt.slice(0, 16).replace('T', ' ')} UTC`
  return `${app} in ${environment} ${is} locked by ${owner} until ${until}: ${reason}`
}

const howToUnlock = ({ environment }: Lock) =>
  `End it with: crosscloud unlock --env ${environment} --reason "…"`

function isNotYours(lock: Lock): StepError {
  return new StepError('CONFLICT', describeLock(lock), {
    hint: isManualLock(lock)
      ? 'Ask whoever holds it; --force ends it all the same.'
      : 'If that run is gone, end its lock with --force. A deployment that still runs stops then.',
  })
}
