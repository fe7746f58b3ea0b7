import { Option } from 'commander'
import type { ConfigEdit } from '../../api/config.ts'
import { compareBytes } from '../../config/store/keys.ts'
import { StepError } from '../../core/errors.ts'
import { openConfig, type PlannedChange } from '../../delivery/config/config-change.ts'
import { planEdits } from '../../delivery/config/config-edit.ts'
import { createConfigTags } from '../../delivery/config/config-tags.ts'
import type { Context } from '../../delivery/context.ts'
import { addEdit } from './edit.ts'
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

/** `config list|get|set|unset|edit`. */
export function addValueCommands(group: ConfigGroup): void {
  addList(group)
  addGet(group)
  addSet(group)
  addUnset(group)
  addEdit(group)
}

function addList(group: ConfigGroup): void {
  const list = addCommand(
    group,
    'list [prefix]',
    'All keys below a prefix; secrets as marks.',
    'config list --env test /webapi',
  )
    .option('--env <name>', 'environment')
    .addOption(new Option('--tags', 'for the server: tags made with standard input').hideHelp())
  list.action(async (prefix: string | undefined, options: ListOptions) => {
    const root = readKey(prefix ?? '/')
    const tagKey = options.tags ? await group.terminal.readInput() : undefined
    await group.perform(list, async (context) => {
      const roots = tagKey === undefined ? [root] : ['/']
      const { config } = await openConfig(environmentOf(options), roots, context)
      const keys = [...config.stored.keys()].sort(compareBytes)
      if (tagKey !== undefined) return { json: tagged(config, keys, tagKey), text: '' }
      const lines = keys.map((key) => `${key} = ${config.show(key, config.stored.get(key) ?? '')}`)
      const entries = keys.map((key) => [key, valueJson(config, key)])
      return { json: Object.fromEntries(entries), text: lines.join('\n') || 'No keys.' }
    })
  })
}

interface ListOptions {
  env?: string
  tags?: boolean
}

function tagged(config: Config, keys: readonly string[], tagKey: string) {
  const tags = createConfigTags(tagKey)
  const items = keys.map((key) => {
    const stored = config.stored.get(key) ?? ''
    const secret = config.isSecret(key)
    const encrypted = config.sealed.has(key)
    return { key, secret, encrypted, value: secret ? null : stored, tag: tags.ofKey(key, stored) }
  })
  return { etag: tags.ofAll(config.stored), items }
}

type Opened = Awaited<ReturnType<typeof openConfig>>
type Config = Opened['config']

function valueJson(config: Config, key: string) {
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
      const opened = await openConfig(environmentOf(options), [key], context)
      const edit = { key, value, ...(options.secret && { secret: true as const }) }
      const planned = [await planOne(edit, options, opened, context)]
      return carryOut(planned, options, context, group.terminal, opened)
    })
  })
}

interface SetOptions extends ChangeOptions {
  expect?: string
  secret?: boolean
  asIs?: boolean
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
      const planned = [await planOne({ key, delete: true }, options, opened, context)]
      return carryOut(planned, options, context, group.terminal, opened)
    })
  })
}

/** `--expect` is compared in clear; what the store then checks is the value as it was read. */
async function planOne(
  edit: ConfigEdit,
  { expect, asIs }: Pick<SetOptions, 'expect' | 'asIs'>,
  { environment, config }: Opened,
  context: Context,
): Promise<PlannedChange> {
  const { environments } = await context.settings()
  const edited = { environment, config, environments: Object.keys(environments) }
  const [planned] = planEdits([edit], edited, { asIs, log: context.log }).planned
  const isExpected = expect === undefined || config.values.get(edit.key) === expect
  if (planned && isExpected) return planned
  throw new StepError('CONFLICT', `${edit.key} in ${environment.name} is not what was expected`, {
    hint: 'Read it again with `crosscloud config get`, then repeat the change.',
  })
}
