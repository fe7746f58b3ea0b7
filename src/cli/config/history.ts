import { StepError } from '../../core/errors.ts'
import { openConfig } from '../../delivery/config/config-change.ts'
import { planRollback } from '../../delivery/config/config-rollback.ts'
import type { EnvironmentConfig } from '../../delivery/config/environment-config.ts'
import type { ConfigChangeSet, KeptValue } from '../../ledger/ledger.ts'
import {
  addChangeOptions,
  addCommand,
  type ChangeOptions,
  type ConfigGroup,
  carryOut,
  environmentOf,
  readKey,
} from './group.ts'

/** `config history|rollback`: who changed what, and the way back. */
export function addHistoryCommands(group: ConfigGroup): void {
  const history = addCommand(
    group,
    'history [key]',
    'Who changed which keys, when and why; newest first.',
    'config history --env production /webapi/db/url',
  )
    .option('--env <name>', 'environment')
    .option('--limit <number>', 'how many changes at the most', '20')
  history.action(async (name: string | undefined, options: { env?: string; limit: string }) => {
    const key = name === undefined ? undefined : readKey(name)
    const limit = readLimit(options.limit)
    await group.perform(history, async (context) => {
      const { environment, config } = await openConfig(environmentOf(options), [], context)
      const { app } = await context.settings()
      const ledger = await context.ledger()
      const changes = await ledger.configChanges({ app, environment: environment.name, key, limit })
      return {
        json: { changes: changes.map((set) => setJson(set, config)) },
        text: changes.map((set) => setText(set, config)).join('\n') || 'No change is recorded.',
      }
    })
  })

  const rollback = addChangeOptions(
    addCommand(
      group,
      'rollback [key]',
      'Undo the last change of a key or of the whole environment, or go back to a change or revision.',
      'config rollback --env production --to sha256:… --reason "as it was on Monday"',
    ),
  ).option('--to <change>', 'to just after this change, or to a config revision (sha256:…)')
  rollback.action(async (name: string | undefined, options: ChangeOptions & { to?: string }) => {
    const key = name === undefined ? undefined : readKey(name)
    await group.perform(rollback, async (context) => {
      const opened = await openConfig(environmentOf(options), ['/'], context)
      const { app } = await context.settings()
      const target = { app, environment: opened.environment.name, key, to: options.to }
      const planned = await planRollback(target, opened.config, await context.ledger())
      const otherwise = `rollback ${options.to ? `to ${options.to}` : 'of the last change'}`
      return carryOut(planned, { ...options, otherwise }, context, group.terminal, opened)
    })
  })
}

function readLimit(text: string): number {
  const limit = Number(text)
  if (Number.isInteger(limit) && limit > 0 && limit <= 1000) return limit
  throw new StepError('INPUT_INVALID', `--limit "${text}" is not a number from 1 to 1000`)
}

function setText(set: ConfigChangeSet, config: EnvironmentConfig): string {
  const when = set.at.replace('T', ' ').slice(0, 19)
  const why = set.reason ? `: ${set.reason}` : ''
  const lines = set.changes.map((change) => {
    const [before, after] = showBoth(change, config)
    return `  ${change.key}: ${before} → ${after}`
  })
  return [`${set.id}  ${when}  ${set.by}${why}`, ...lines].join('\n')
}

function setJson({ id, at, by, reason, changes }: ConfigChangeSet, config: EnvironmentConfig) {
  return {
    id,
    at,
    by,
    reason: reason ?? null,
    changes: changes.map((change) => {
      const [before, after] = showBoth(change, config)
      return { key: change.key, before, after }
    }),
  }
}

type Change = ConfigChangeSet['changes'][number]

function showBoth({ key, before, after }: Change, config: EnvironmentConfig): [string, string] {
  const secret = [before, after].some(
    (value) => value.state === 'kept' && config.isSecret(key, value.text),
  )
  const show = (value: KeptValue) => {
    if (value.state === 'absent') return 'absent'
    if (value.state === 'withheld') return '(secret)'
    return config.show(key, value.text, secret)
  }
  return [show(before), show(after)]
}
