import { chmod, realpath, writeFile } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import { Option } from 'commander'
import { isSealed, unseal } from '../../config/rules/encryption.ts'
import { parseStoreAddress } from '../../config/store/address.ts'
import { formatKeys, keyFileEndings } from '../../config/store/file/store.ts'
import { compareBytes } from '../../config/store/keys.ts'
import { openStore } from '../../config/store/open.ts'
import type { ConfigSnapshot } from '../../config/store/store.ts'
import { describe, StepError } from '../../core/errors.ts'
import { isBelow } from '../../core/git/checkout.ts'
import { passwordIn } from '../../core/secrets.ts'
import { isJob } from '../../delivery/actor.ts'
import { openConfig, type PlannedChange, storable } from '../../delivery/config/config-change.ts'
import type { EnvironmentConfig } from '../../delivery/config/environment-config.ts'
import type { Context } from '../../delivery/context.ts'
import {
  addChangeOptions,
  addCommand,
  type ChangeOptions,
  type ConfigGroup,
  carryOut,
  environmentOf,
  readKey,
} from './group.ts'

/** `config import|export|promote-keys`: keys that come from elsewhere. */
export function addExchangeCommands(group: ConfigGroup): void {
  addImport(group)
  addExport(group)
  addPromoteKeys(group)
}

function addImport(group: ConfigGroup): void {
  const command = addChangeOptions(
    addCommand(
      group,
      'import <source>',
      'Take over keys from a file (.yaml, .json, .properties) or another store, such as the Redis that confd reads.',
      'config import --env test redis://old-redis:6379/0 --prefix /webapi',
    ),
  )
    .option('--prefix <key>', 'only keys at or below this one', '/')
    .option('--keep', 'do not change keys that are there already')
  command.action(async (source: string, options: ImportOptions) => {
    const roots = [readKey(options.prefix)]
    await group.perform(command, async (context) => {
      const incoming = await readSource(source, roots, context)
      const opened = await openConfig(environmentOf(options), ['/'], context)
      const planned = planImport(incoming, opened.config, options.keep ?? false)
      const result = await carryOut(planned, options, context, group.terminal, opened)
      return { ...result, json: { ...result.json, read: incoming.size } }
    })
  })
}

interface ImportOptions extends ChangeOptions {
  prefix: string
  keep?: boolean
}

async function readSource(
  source: string,
  roots: readonly string[],
  context: Context,
): Promise<ConfigSnapshot> {
  const { cwd, signal, log, secrets } = context
  if (isJob(context.variable)) await refuseForeignFile(source, cwd)
  secrets.add(passwordIn(source))
  const store = await openStore({ url: parseStoreAddress(source) }, { folder: cwd, signal, log })
  try {
    return await store.snapshot(roots)
  } finally {
    await store.close()
  }
}

/** A job imports a file of the repository, not what a link in it leads to. */
async function refuseForeignFile(source: string, cwd: string): Promise<void> {
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(source)) return
  const path = resolve(cwd, source.replace(/^file:/i, ''))
  const real = await realpath(path).catch(() => path)
  if (isBelow(real, await realpath(cwd))) return
  throw new StepError('INPUT_INVALID', `${source} leads out of ${cwd}: ${real}`, {
    hint: 'In a job only files of the repository are imported.',
  })
}

/** All problems of what comes in are reported at once. */
function planImport(
  incoming: ConfigSnapshot,
  config: EnvironmentConfig,
  keep: boolean,
): PlannedChange[] {
  const problems: string[] = []
  const planned: PlannedChange[] = []
  for (const [key, value] of incoming) {
    const before = config.stored.get(key) ?? null
    if (before !== null && keep) continue
    try {
      planned.push({ key, before, after: taken(key, value, config) })
    } catch (error) {
      problems.push(describe(error))
    }
  }
  if (problems.length === 0) return planned.sort((a, b) => compareBytes(a.key, b.key))
  throw new StepError('INPUT_INVALID', problems.join('\n'), { hint: 'Nothing was changed.' })
}

/** What was encrypted stays so, if our keys open it. */
function taken(key: string, value: string, config: EnvironmentConfig): string {
  if (!isSealed(value)) return storable(key, value, config)
  unseal(config.ring, key, value)
  return value
}

function addExport(group: ConfigGroup): void {
  const formats = keyFileEndings().map((ending) => ending.slice(1))
  const command = addCommand(
    group,
    'export [prefix]',
    'All keys as a file. Secrets are encrypted in it, or left out where there is no key.',
    'config export --env test --format properties --out test.properties',
  )
    .option('--env <name>', 'environment')
    .option('--out <file>', 'file to write; default: standard output')
    .addOption(
      new Option('--format <format>', "default: by the file's ending, else yaml").choices(formats),
    )
  command.action(async (prefix: string | undefined, options: ExportOptions) => {
    const root = readKey(prefix ?? '/')
    await group.perform(command, async (context) => {
      const { config } = await openConfig(environmentOf(options), [root], context)
      const values = new Map<string, string>()
      for (const key of [...config.stored.keys()].sort(compareBytes)) {
        const kept = config.keepable(key)
        if (kept !== null) values.set(key, kept)
        else
          context.log.warn(`${key} is left out: it is a secret, and there is no key to encrypt it`)
      }
      const ending = options.format ? `.${options.format}` : extname(options.out ?? 'keys.yaml')
      if (!keyFileEndings().includes(ending)) throw unknownEnding(options.out ?? '')
      const text = await formatKeys(ending, values)
      const json = { environment: options.env, keys: Object.fromEntries(values) }
      if (options.out === undefined) return { json, text: text.trimEnd(), document: true }
      const path = resolve(context.cwd, options.out)
      await writeFile(path, text, { mode: 0o600 })
      await chmod(path, 0o600)
      return {
        json: { ...json, out: options.out },
        text: `Wrote ${values.size} keys to ${options.out}.`,
      }
    })
  })
}

interface ExportOptions {
  env?: string
  out?: string
  format?: string
}

function unknownEnding(path: string): StepError {
  return new StepError('INPUT_INVALID', `${path}: no format has this ending`, {
    hint: `Say --format, or end the name in ${keyFileEndings().join(', ')}.`,
  })
}

function addPromoteKeys(group: ConfigGroup): void {
  const command = addCommand(
    group,
    'promote-keys <from> <to>',
    'Copy the keys that the second environment lacks; what it has is never touched.',
    'config promote-keys test staging',
  )
    .option('--reason <text>', 'why; it is written into the ledger. Needed where a gate stands')
    .option('--lock-wait <duration>', 'how long to wait while somebody else has the lock: 10m')
    .option('--yes', 'do not ask')
    .option('--with-secrets', 'secrets too, encrypted with the key of the second environment')
  command.action(async (from: string, to: string, options: PromoteOptions) => {
    await group.perform(command, async (context) => {
      const { config: source } = await openConfig(from, ['/'], context)
      const opened = await openConfig(to, ['/'], context)
      const lacking = [...source.values].filter(([key]) => !opened.config.stored.has(key))
      const planned: PlannedChange[] = []
      for (const [key, value] of lacking.sort(([a], [b]) => compareBytes(a, b))) {
        if (source.isSecret(key) && !options.withSecrets) {
          context.log.warn(`${key} is a secret: set it in ${to} by hand, or use --with-secrets`)
        } else {
          // What is encrypted in one environment is so in the next.
          const asked = source.sealed.has(key) || undefined
          planned.push({ key, before: null, after: storable(key, value, opened.config, asked) })
        }
      }
      for (const [key, why] of source.locked) context.log.warn(`${key} is left out: ${why}`)
      return carryOut(planned, { ...options, env: to }, context, group.terminal, opened)
    })
  })
}

interface PromoteOptions extends ChangeOptions {
  withSecrets?: boolean
}
