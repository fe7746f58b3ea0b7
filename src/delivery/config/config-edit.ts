import type { ConfigEdit } from '../../api/config.ts'
import { lint } from '../../config/rules/lint.ts'
import { StepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { ConfigChangeSet, Ledger } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { type PlannedChange, storable } from './config-change.ts'
import type { ConfigTags } from './config-tags.ts'
import type { EnvironmentConfig } from './environment-config.ts'

/** An environment's keys, and the names of all environments: no value may name another one. */
export interface EditedConfig {
  environment: Pick<EnvironmentSettings, 'name'>
  config: EnvironmentConfig
  environments: readonly string[]
}

export interface EditOptions {
  /** Also what the rules of values refuse. */
  asIs?: boolean | undefined
  tags?: ConfigTags | undefined
  log: Pick<Log, 'warn'>
}

export interface PlannedEdits {
  planned: PlannedChange[]
  /** Keys that are not what somebody saw: with any of them nothing is to be written. */
  moved: string[]
}

/**
 * What edits would do to the store, checked by the rules for values, the schema, and what each key was
 * when it was seen. All problems are in one error.
 */
export function planEdits(
  edits: readonly ConfigEdit[],
  edited: EditedConfig,
  { asIs = false, tags, log }: EditOptions,
): PlannedEdits {
  const { config } = edited
  const problems = [
    ...comparedSecrets(edits, config),
    ...(asIs ? [] : lintEdits(edits, edited, log)),
  ]
  const planned: PlannedChange[] = []
  for (const { key, value, secret } of edits) {
    const before = config.stored.get(key) ?? null
    try {
      const after = value === undefined ? null : storable(key, value, config, secret)
      planned.push({ key, before, after })
    } catch (error) {
      problems.push(toStepError(error))
    }
  }
  throwAll(problems)
  const moved = edits.filter((edit) => !isAsSeen(edit, config, tags)).map(({ key }) => key)
  return { planned, moved }
}

function throwAll(problems: readonly StepError[]): void {
  const [first, second] = problems
  if (first === undefined) return
  if (second === undefined) throw first
  throw new StepError('INPUT_INVALID', problems.map(({ message }) => message).join('\n'), {
    hint: first.hint,
  })
}

/** Whoever may set a secret may not find out by guesses what it is. */
function comparedSecrets(edits: readonly ConfigEdit[], config: EnvironmentConfig): StepError[] {
  return edits
    .filter(
      ({ key, was }) => typeof was === 'string' && config.stored.has(key) && config.isSecret(key),
    )
    .map(
      ({ key }) =>
        new StepError('INPUT_INVALID', `${key} is a secret, which no text is compared with`, {
          hint: 'Give the tag that it was listed with.',
        }),
    )
}

function isAsSeen(
  { key, was, tag }: ConfigEdit,
  { stored, values }: EnvironmentConfig,
  tags: ConfigTags | undefined,
): boolean {
  if (tag !== undefined) return tags?.ofKey(key, stored.get(key)) === tag
  if (was === undefined) return true
  return was === null ? !stored.has(key) : values.get(key) === was
}

/** The invisible space that once brought production down, and the database of another environment. */
function lintEdits(
  edits: readonly ConfigEdit[],
  { environment, environments }: EditedConfig,
  log: Pick<Log, 'warn'>,
): StepError[] {
  const values = new Map(
    edits.flatMap(({ key, value }) => (value === undefined ? [] : [[key, value] as const])),
  )
  const empty = {
    ...{ sealed: new Set<string>(), locked: new Map(), used: undefined, problems: [] },
    ...{ isSecret: () => false, canSeal: false },
  }
  const others = environments.filter((name) => name !== environment.name)
  const findings = lint([
    ...others.map((name) => ({ ...empty, name, values: new Map() })),
    { ...empty, name: environment.name, values },
  ])
  for (const { level, key, text } of findings) if (level === 'warning') log.warn(`${key} ${text}`)
  return findings
    .filter(({ level }) => level === 'error')
    .map(
      ({ key, text }) =>
        new StepError('INPUT_INVALID', `the value for ${key} ${text}`, {
          hint: 'Take it away. Where it must be there, `crosscloud config set --as-is` takes it.',
        }),
    )
}

/** Who made a key what it is now; undefined where it was changed past the ledger. */
export async function lastChangeOf(
  key: string,
  { app, environment }: { app: string; environment: string },
  { stored }: Pick<EnvironmentConfig, 'stored'>,
  ledger: Pick<Ledger, 'configChanges'>,
): Promise<ConfigChangeSet | undefined> {
  const [set] = await ledger.configChanges({ app, environment, key, limit: 1 })
  const after = set?.changes[0]?.after
  const now = stored.get(key)
  const isThat =
    after?.state === 'kept'
      ? after.text === now
      : (after?.state === 'absent') === (now === undefined)
  return after !== undefined && isThat ? set : undefined
}
