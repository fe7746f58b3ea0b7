import type { Command } from 'commander'
import type { ConfigChange, ConfigStore } from '../config/store.ts'
import { StepError } from '../core/errors.ts'
import { addExample, type Perform, requireText } from './command.ts'

interface EnvOption {
  env?: string
}

/** `crosscloud config …`: an environment's keys and values. */
export function addConfigCommands(program: Command, perform: Perform): void {
  const config = program.command('config').description("Read and change an environment's values.")
  const withStore = <T extends EnvOption>(
    command: Command,
    work: (store: ConfigStore, options: T) => ReturnType<Parameters<Perform>[1]>,
  ) => {
    command.option('--env <name>', 'environment')
    command.action(async () => {
      const options = command.opts<T>()
      const env = requireText(options.env, '--env')
      await perform(command, async (context) => {
        const store = await context.configStore(await context.environment(env))
        return work(store, options)
      })
    })
  }

  const list = config.command('list [prefix]').description('All keys below a prefix.')
  addExample(list, 'config list --env test /webapi')
  withStore(list, async (store) => {
    const values = await store.snapshot([checkKey(list.args[0] ?? '/')])
    const sorted = [...values].sort(([a], [b]) => (a < b ? -1 : 1))
    return {
      json: Object.fromEntries(sorted),
      text: sorted.map(([key, value]) => `${key} = ${show(value)}`).join('\n') || 'No keys.',
    }
  })

  const get = config.command('get <key>').description('One value, exactly as it is kept.')
  addExample(get, 'config get --env test /webapi/db/url')
  withStore(get, async (store) => {
    const key = checkKey(get.args[0] ?? '')
    const value = (await store.snapshot([key])).get(key)
    if (value !== undefined) return { json: { key, value }, text: value }
    throw new StepError('NOT_FOUND', `${key} is not in ${store.name}`, {
      hint: '`crosscloud config list` shows the keys there are.',
    })
  })

  const set = config
    .command('set <key> <value>')
    .description('Set a value; says what it was before.')
    .option('--expect <value>', 'change it only if this is the value now')
  addExample(set, 'config set --env test /webapi/greeting "Good morning"')
  withStore<EnvOption & { expect?: string }>(set, (store, { expect }) => {
    const [key = '', value = ''] = set.args
    return change(store, key, value, expect)
  })

  const unset = config
    .command('unset <key>')
    .description('Remove a key.')
    .option('--expect <value>', 'remove it only if this is the value now')
  addExample(unset, 'config unset --env test /webapi/old/key')
  withStore<EnvOption & { expect?: string }>(unset, (store, { expect }) =>
    change(store, unset.args[0] ?? '', null, expect),
  )
}

async function change(store: ConfigStore, name: string, value: string | null, expect?: string) {
  const key = checkKey(name)
  if (value !== null) refuseOuterSpace(key, value)
  const before = (await store.snapshot([key])).get(key) ?? null
  if (before === null && value === null) {
    throw new StepError('NOT_FOUND', `${key} is not in ${store.name}`, {
      hint: '`crosscloud config list` shows the keys there are.',
    })
  }
  const expected: ConfigChange[] = [{ key, value: expect ?? before }]
  await store.change([{ key, value }], expected)
  const told = (one: string | null) => (one === null ? 'absent' : show(one))
  return { json: { key, before, after: value }, text: `${key}: ${told(before)} → ${told(value)}` }
}

/** The invisible space that once brought production down. */
function refuseOuterSpace(key: string, value: string): void {
  if (value === value.trim()) return
  throw new StepError('INPUT_INVALID', `the value for ${key} begins or ends with white space`, {
    hint: 'Take it away. Where it must be, write it into the template.',
  })
}

/** Values are shown in JSON's quotes, so that no space stays invisible. */
function show(value: string): string {
  return JSON.stringify(value)
}

function checkKey(key: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is refused
  if (/^\/(?:[^\x00-\x20/][^\x00-\x1f/]*(?:\/[^\x00-\x1f/]+)*)?$/.test(key)) return key
  throw new StepError('INPUT_INVALID', `"${key}" is not a key`, {
    hint: 'A key begins with / and has no empty part: /webapi/db/url.',
  })
}
