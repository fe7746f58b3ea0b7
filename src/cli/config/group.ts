import type { Command } from 'commander'
import { StepError } from '../../core/errors.ts'
import {
  applyChanges,
  type ChangeRecord,
  isChange,
  type openConfig,
  type PlannedChange,
} from '../../delivery/config/config-change.ts'
import type { EnvironmentConfig } from '../../delivery/config/environment-config.ts'
import type { Context } from '../../delivery/context.ts'
import { guardChange } from '../../delivery/gate/guard.ts'
import {
  addExample,
  type CommandResult,
  type Perform,
  readTimeout,
  requireText,
} from '../command.ts'
import { agree, type Terminal } from '../terminal.ts'

/** What the commands of `crosscloud config` are made with. */
export interface ConfigGroup {
  config: Command
  perform: Perform
  terminal: Terminal
}

export interface ChangeOptions {
  env?: string
  reason?: string
  lockWait?: string
  /** What is recorded where no reason is given and none is needed. */
  otherwise?: string
  yes?: boolean
}

/** A command with its description and example. */
export function addCommand(
  { config }: ConfigGroup,
  usage: string,
  description: string,
  example: string,
): Command {
  const command = config.command(usage).description(description)
  addExample(command, example)
  return command
}

/** The options of every command that changes values. */
export function addChangeOptions(command: Command): Command {
  return command
    .option('--env <name>', 'environment')
    .option('--reason <text>', 'why; it is written into the ledger. Needed where a gate stands')
    .option('--lock-wait <duration>', 'how long to wait while somebody else has the lock: 10m')
    .option('--yes', 'do not ask')
}

export function environmentOf({ env }: { env?: string }): string {
  return requireText(env, '--env')
}

/** Checks a key that a person wrote; `/` stands for all where a prefix is meant. */
export function readKey(key: string | undefined): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is refused
  if (key && /^\/(?:[^\x00-\x20/][^\x00-\x1f/]*(?:\/[^\x00-\x1f/]+)*)?$/.test(key)) return key
  throw new StepError('INPUT_INVALID', `"${key ?? ''}" is not a key`, {
    hint: 'A key begins with / and has no empty part: /webapi/db/url.',
  })
}

export function absent(key: string, store: string): StepError {
  return new StepError('NOT_FOUND', `${key} is not in ${store}`, {
    hint: '`crosscloud config list` shows the keys there are.',
  })
}

/** Shows what will change, asks, changes it, and reports what was recorded. */
export async function carryOut(
  planned: readonly PlannedChange[],
  options: ChangeOptions,
  context: Context,
  terminal: Terminal,
  { environment, config }: Awaited<ReturnType<typeof openConfig>>,
): Promise<CommandResult> {
  const { name } = environment
  const changes = planned.filter(isChange)
  if (changes.length === 0) {
    return { json: { environment: name, changes: [], change: null }, text: 'Nothing to change.' }
  }
  const { reason, otherwise, lockWait, yes = false } = options
  const action = 'a change of the config'
  const who = await guardChange({ environment, action, reason, waitsForFreeze: true }, context)
  const lines = changes.map((change) => changeLine(change, config))
  for (const line of lines) context.log.info(line)
  const count = changes.length === 1 ? 'this key' : `these ${changes.length} keys`
  await agree(terminal, `Change ${count} in ${name}?`, yes)
  const timeout = readTimeout(lockWait ?? context.variable('CROSSCLOUD_LOCK_WAIT'))
  const request = { environment, config, who, reason: reason || otherwise, timeout }
  const recorded = await applyChanges(changes, request, context)
  return {
    json: {
      environment: name,
      changes: changes.map(({ key }) => key),
      change: recorded?.id ?? null,
    },
    text: closing(changes.length, name, recorded),
  }
}

function closing(count: number, environment: string, recorded: ChangeRecord | undefined): string {
  const what = count === 1 ? '1 key' : `${count} keys`
  const record = recorded?.id ? `recorded as ${recorded.id}` : 'not recorded yet'
  return [
    `Changed ${what} in ${environment}; ${record}.`,
    'What runs keeps its values: deploy the release again to use the new ones.',
  ].join('\n')
}

/** `/webapi/pool: "5" → "10"`, secrets as marks. */
export function changeLine(
  { key, before, after }: PlannedChange,
  config: EnvironmentConfig,
): string {
  const secret = [before, after].some((value) => value !== null && config.isSecret(key, value))
  const show = (stored: string | null) =>
    stored === null ? 'absent' : config.show(key, stored, secret)
  return `${key}: ${show(before)} → ${show(after)}`
}
