import { lintValue } from '../../config/rules/lint.ts'
import { compareBytes } from '../../config/store/keys.ts'
import { StepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { openConfig, type PlannedChange, storable } from '../../delivery/config/config-change.ts'
import {
  absent,
  addChangeOptions,
  addCommand,
  type ChangeOptions,
  type ConfigGroup,
  carryOut,
  environmentOf,
  readKey,
} from './group.ts'

/** `config list|get|set|unset`. */
export function addValueCommands(group: ConfigGroup): void {
  addList(group)
  addGet(group)
  addSet(group)
  addUnset(group)
}

function addList(group: ConfigGroup): void {
  const list = addCommand(
    group,
    'list [prefix]',
    'All keys below a prefix; secrets as marks.',
    'config list --env test /webapi',
  ).option('--env <name>', 'environment')
  list.action(async (prefix: string | undefined, options: { env?: string }) => {
    const roots = [readKey(prefix ?? '/')]
    await group.perform(list, async (context) => {
      const { config } = await openConfig(environmentOf(options), roots, context)
      const keys = [...config.stored.keys()].sort(compareBytes)
      const lines = keys.map((key) => `${key} = ${config.show(key, config.stored.get(key) ?? '')}`)
      const entries = keys.map((key) => [key, valueJson(config, key)])
      return { json: Object.fromEntries(entries), text: lines.join('\n') || 'No keys.' }
    })
  })
}

function valueJson(config: Awaited<ReturnType<typeof openConfig>>['config'], key: string) {
  if (config.isSecret(key)) return { secret: true, encrypted: config.sealed.has(key) }
  return { value: config.stored.get(key) }
}

function addGet(group: ConfigGroup): void {
  const get = addCommand(
    group,
    'get <key>',
    'One value, exactly as it is kept; a secret is never shown.',
    'config get --env test /webapi/db/url',
  ).option('--env <name>', 'environment')
  get.action(async (text: string, options: { env?: string }) => {
    const key = readKey(text)
    await group.perform(get, async (context) => {
      const { environment, config } = await openConfig(environmentOf(options), [key], context)
      const value = config.stored.get(key)
      if (value === undefined) throw absent(key, (await context.configStore(environment)).name)
      if (!config.isSecret(key)) return { json: { key, value }, text: value }
      throw new StepError('UNAUTHORIZED', `${key} is a secret and is not shown`, {
        hint: 'Templates read it. If it is none, say `secret: false` for it in the config schema.',
      })
    })
  })
}

function addSet(group: ConfigGroup): void {
  const set = addChangeOptions(
    addCommand(
      group,
      'set <key> <value>',
      'Set a value, - to read it from standard input; shows what changes, and asks on a terminal.',
      'config set --env test /webapi/greeting "Good morning" --reason "friendlier"',
    ),
  )
    .option('--expect <value>', 'change it only if this is the value now')
    .option('--secret', 'encrypt it')
    .option('--as-is', 'also with characters that nobody can see')
  set.action(async (name: string, given: string, options: SetOptions) => {
    const key = readKey(name)
    const value = given === '-' ? (await group.terminal.readInput()).replace(/\r?\n$/, '') : given
    await group.perform(set, async (context) => {
      context.secrets.add(options.secret ? value : undefined)
      if (!options.asIs) checkValue(key, value, context.log)
      const opened = await openConfig(environmentOf(options), [key], context)
      const after = storable(key, value, opened.config, options.secret)
      const planned = [expected(key, opened.config.stored.get(key), after, opened, options.expect)]
      return carryOut(planned, options, context, group.terminal, opened)
    })
  })
}

interface SetOptions extends ChangeOptions {
  expect?: string
  secret?: boolean
  asIs?: boolean
}

/** The invisible space that once brought production down. */
function checkValue(key: string, value: string, log: Log): void {
  const findings = lintValue(value)
  for (const { level, text } of findings) if (level === 'warning') log.warn(`${key} ${text}`)
  const errors = findings.filter(({ level }) => level === 'error')
  if (errors.length === 0) return
  const lines = errors.map(({ text }) => `the value for ${key} ${text}`)
  throw new StepError('INPUT_INVALID', lines.join('\n'), {
    hint: 'Take it away. Where it must be there, add --as-is.',
  })
}

function addUnset(group: ConfigGroup): void {
  const unset = addChangeOptions(
    addCommand(group, 'unset <key>', 'Remove a key.', 'config unset --env test /webapi/old/key'),
  ).option('--expect <value>', 'remove it only if this is the value now')
  unset.action(async (name: string, options: ChangeOptions & { expect?: string }) => {
    const key = readKey(name)
    await group.perform(unset, async (context) => {
      const opened = await openConfig(environmentOf(options), [key], context)
      const before = opened.config.stored.get(key)
      if (before === undefined && options.expect === undefined) {
        throw absent(key, (await context.configStore(opened.environment)).name)
      }
      const planned = [expected(key, before, null, opened, options.expect)]
      return carryOut(planned, options, context, group.terminal, opened)
    })
  })
}

/** `--expect` is compared in clear; what the store then checks is the value as it was read. */
function expected(
  key: string,
  before: string | undefined,
  after: string | null,
  { environment, config }: Awaited<ReturnType<typeof openConfig>>,
  expect: string | undefined,
): PlannedChange {
  if (expect === undefined || config.values.get(key) === expect) {
    return { key, before: before ?? null, after }
  }
  throw new StepError('CONFLICT', `${key} in ${environment.name} is not what was expected`, {
    hint: 'Read it again with `crosscloud config get`, then repeat the change.',
  })
}
