import { keptKeys } from '../../config/rules/revision.ts'
import { StepError } from '../../core/errors.ts'
import { pageThrough } from '../../ledger/history.ts'
import type { ConfigChangeSet, KeptValue, Ledger } from '../../ledger/ledger.ts'
import type { PlannedChange } from './config-change.ts'
import type { EnvironmentConfig } from './environment-config.ts'

/** Where to go back to: before the last change, to just after a change, or to a config revision. */
export interface RollbackTarget {
  app: string
  environment: string
  /** Only this key; else all. */
  key: string | undefined
  /** The id of a change, or `sha256:…` of a config revision; undefined undoes the last change. */
  to: string | undefined
}

/** The changes that restore the keys, by the ledger. NOT_FOUND names what is unknown. */
export async function planRollback(
  target: RollbackTarget,
  config: EnvironmentConfig,
  ledger: Ledger,
): Promise<PlannedChange[]> {
  const wanted = target.to?.startsWith('sha256:')
    ? await valuesOfRevision(target.to, target.key, ledger)
    : await valuesBefore(target, ledger)
  const withheld = [...wanted].filter(([, value]) => value.state === 'withheld').map(([key]) => key)
  if (withheld.length > 0) {
    const lines = withheld.map((key) => `${key}: its value of then was a secret that nobody kept`)
    throw new StepError('NOT_FOUND', lines.join('\n'), {
      hint: 'Set these keys by hand. With a config key, secrets are kept encrypted from now on.',
    })
  }
  return [...wanted].map(([key, value]) => ({
    key,
    before: config.stored.get(key) ?? null,
    after: value.state === 'kept' ? value.text : null,
  }))
}

/** Keys that the revision did not use are left alone: it has no values of them. */
async function valuesOfRevision(
  revision: string,
  only: string | undefined,
  ledger: Ledger,
): Promise<Map<string, KeptValue>> {
  const content = await ledger.findConfigRevision(revision)
  if (content === undefined) {
    throw new StepError('NOT_FOUND', `config revision ${revision} is not in the ledger`, {
      hint: '`crosscloud history --json` shows the revision of each deployment.',
    })
  }
  const { values, withheld } = keptKeys(content)
  const wanted = new Map<string, KeptValue>()
  for (const [key, text] of values) wanted.set(key, { state: 'kept', text })
  for (const key of withheld) wanted.set(key, { state: 'withheld' })
  if (only === undefined) return wanted
  const value = wanted.get(only)
  if (value) return new Map([[only, value]])
  throw new StepError('NOT_FOUND', `${only} is not in config revision ${revision}`)
}

/** Undoes the changes after the target, the newest first: what stood before the oldest of them stays. */
async function valuesBefore(
  { app, environment, key, to }: RollbackTarget,
  ledger: Ledger,
): Promise<Map<string, KeptValue>> {
  const sets = to === undefined ? await lastChange() : await changesAfter(to)
  const wanted = new Map<string, KeptValue>()
  for (const { changes } of sets) {
    for (const change of changes) wanted.set(change.key, change.before)
  }
  return wanted

  async function lastChange(): Promise<ConfigChangeSet[]> {
    const found = await ledger.configChanges({ app, environment, key, limit: 1 })
    if (found.length > 0) return found
    throw new StepError('NOT_FOUND', `no change of ${key ?? environment} is in the ledger`, {
      hint: 'Only changes made by crosscloud are recorded.',
    })
  }

  async function changesAfter(id: string): Promise<ConfigChangeSet[]> {
    const change = await ledger.findConfigChange(id)
    if (change?.app !== app || change.environment !== environment) {
      throw new StepError('NOT_FOUND', `change ${id} is not one of ${app} in ${environment}`, {
        hint: `\`crosscloud config history --env ${environment}\` lists them.`,
      })
    }
    const query = { app, environment, key, after: id }
    const all: ConfigChangeSet[] = []
    const later = pageThrough((page) => ledger.configChanges({ ...query, ...page }))
    for await (const set of later) all.push(set)
    return all
  }
}
