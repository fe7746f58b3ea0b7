import { Option } from 'commander'
import { z } from 'zod'
import { type ConfigDifference, type ConfigMoved, configEdits } from '../../api/config.ts'
import { isSealed } from '../../config/rules/encryption.ts'
import { StepError } from '../../core/errors.ts'
import { issueLines } from '../../core/settings/schema.ts'
import { openConfig, type PlannedChange } from '../../delivery/config/config-change.ts'
import { lastChangeOf, type PlannedEdits, planEdits } from '../../delivery/config/config-edit.ts'
import { createConfigTags } from '../../delivery/config/config-tags.ts'
import type { EnvironmentConfig } from '../../delivery/config/environment-config.ts'
import type { Context } from '../../delivery/context.ts'
import {
  addChangeOptions,
  addCommand,
  type ChangeOptions,
  type ConfigGroup,
  carryOut,
  environmentOf,
} from './group.ts'

/** What comes on standard input: no value is among the arguments, which every process can see. */
const input = z.strictObject({
  changes: configEdits,
  /** Of the whole set: nothing is written when it is another one. */
  ifMatch: z.string().optional(),
  /** What tags are made with. */
  tagKey: z.string().min(16).optional(),
})

interface EditOptions extends ChangeOptions {
  plan?: boolean
}

type Opened = Awaited<ReturnType<typeof openConfig>>

/** `config edit`: what a form sends when several keys were changed in it. */
export function addEdit(group: ConfigGroup): void {
  const edit = addChangeOptions(
    addCommand(
      group,
      'edit',
      'Several changes at once, as JSON on standard input: all of them, or none.',
      'config edit --env test --reason "larger pool" < changes.json',
    ),
  ).addOption(new Option('--plan', 'only say what would change'))
  edit.action(async (options: EditOptions) => {
    const given = readInput(await group.terminal.readInput())
    await group.perform(edit, async (context) => {
      const opened = await openConfig(environmentOf(options), ['/'], context)
      const { environments } = await context.settings()
      const { config } = opened
      const tags = given.tagKey === undefined ? undefined : createConfigTags(given.tagKey)
      const etag = tags?.ofAll(config.stored)
      for (const { key, value = '', secret } of given.changes) {
        if (secret || config.isSecret(key, value)) context.secrets.add(value || undefined)
      }
      const edited = { ...opened, environments: Object.keys(environments) }
      const found = planEdits(given.changes, edited, { tags, log: context.log })
      if (given.ifMatch !== undefined && given.ifMatch !== etag) {
        found.moved = given.changes.map(({ key }) => key)
      }
      const changes = found.planned.map((change) => difference(change, config))
      const seen = { etag, changes: changes.map((each) => withTag(each, config, tags)) }
      if (found.moved.length > 0) return refuse(found, seen, opened, context)
      if (options.plan) return { json: { ...seen, moved: [] }, text: textOf(changes) }
      const planned = found.planned.map((change, at) => ({
        ...change,
        always: changes[at]?.secret ?? true,
      }))
      const result = await carryOut(planned, options, context, group.terminal, opened)
      const change = (result.json as { change?: string | null }).change ?? null
      const etagAfter = tags?.ofAll(applied(found.planned, config.stored))
      return { ...result, json: { ...seen, etagAfter, moved: [], change } }
    })
  })
}

/** The set when nobody else has changed another key meanwhile; if so, it is one that never was. */
function applied(planned: readonly PlannedChange[], stored: EnvironmentConfig['stored']) {
  const after = new Map(stored)
  for (const { key, after: value } of planned) {
    if (value === null) after.delete(key)
    else after.set(key, value)
  }
  return after
}

function readInput(text: string): z.output<typeof input> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new StepError('INPUT_INVALID', 'standard input is no JSON', { hint: EXAMPLE })
  }
  const result = input.safeParse(value)
  if (result.success) return result.data
  const lines = issueLines(result.error.issues, input)
  const problems = lines.map(({ path, text }) => [path.join('.'), text].filter(Boolean).join(' '))
  throw new StepError('INPUT_INVALID', problems.join('\n'), { hint: EXAMPLE })
}

const EXAMPLE = 'Write {"changes":[{"key":"/webapi/pool","value":"20","was":"10"}]}.'

function difference(
  { key, before, after }: PlannedChange,
  config: EnvironmentConfig,
): ConfigDifference {
  const secret = isSecretChange({ key, before, after }, config)
  const show = (stored: string | null) =>
    stored === null ? 'absent' : config.show(key, stored, secret)
  return { key, secret, before: show(before), after: show(after) }
}

/** A key is secret by what it was, too. */
const isSecretChange = ({ key, before, after }: PlannedChange, config: EnvironmentConfig) =>
  [before, after].some(
    (value) => value !== null && (isSealed(value) || config.isSecret(key, value)),
  )

const withTag = (
  change: ConfigDifference,
  { stored }: EnvironmentConfig,
  tags: ReturnType<typeof createConfigTags> | undefined,
) => ({ ...change, tag: tags?.ofKey(change.key, stored.get(change.key)) ?? null })

const textOf = (changes: readonly ConfigDifference[]) =>
  changes.map(({ key, before, after }) => `${key}: ${before} → ${after}`).join('\n')

/** Says who changed what meanwhile: nothing is written over what somebody has not seen. */
async function refuse(
  { moved }: PlannedEdits,
  seen: object,
  { environment, config }: Opened,
  context: Context,
) {
  const { app } = await context.settings()
  const ledger = await context.ledger()
  const where = { app, environment: environment.name }
  const found: ConfigMoved[] = []
  for (const key of moved) {
    const stored = config.stored.get(key)
    const last = await lastChangeOf(key, where, config, ledger)
    found.push({
      key,
      secret: config.isSecret(key, stored ?? ''),
      now: stored === undefined ? 'absent' : config.show(key, stored),
      ...{ by: last?.by ?? null, at: last?.at ?? null },
      ...{ reason: last?.reason ?? null, change: last?.id ?? null },
    })
  }
  const lines = found.map(({ key, now, by, at }) => `${key} is ${now} now${whom(by, at)}`)
  return {
    json: { ...seen, moved: found },
    text: '',
    failure: new StepError(
      'CONFLICT',
      [`config of ${environment.name} is not what was seen; nothing was written`, ...lines].join(
        '\n',
      ),
      { hint: 'Look at it again, then repeat the change.' },
    ),
  }
}

const whom = (by: string | null, at: string | null) =>
  by === null ? '; the ledger does not know by whom' : `, by ${by} at ${at}`
