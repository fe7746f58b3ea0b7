import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { isSealed, seal, sealedWith } from '../../config/rules/encryption.ts'
import { type ConfigSchema, readConfigSchema, SCHEMA_FILES } from '../../config/rules/schema.ts'
import { isSecret, keepable } from '../../config/rules/secrecy.ts'
import { readTemplateFolder } from '../../config/template/resources.ts'
import { describe, isStepError, StepError } from '../../core/errors.ts'
import { retry } from '../../core/retry.ts'
import type { Who } from '../../identity/who.ts'
import type { ConfigChangeStart, KeptValue } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { Context } from '../context.ts'
import { withLockOf } from '../gate/guard.ts'
import { type EnvironmentConfig, readConfig } from './environment-config.ts'

/** A key's value in the store before and after; encrypted values as the store holds them. */
export interface PlannedChange {
  key: string
  before: string | null
  after: string | null
  /** Written where it is the same, too: nobody who guesses a secret is told that it was right. */
  always?: boolean
}

export const isChange = ({ before, after, always }: PlannedChange) => always || before !== after

/** The schema in the application's template folder, if there is one. */
export async function findSchema(context: Context): Promise<ConfigSchema | undefined> {
  const { image, folder } = await context.settings()
  const templates = resolve(folder, image?.templates ?? 'deploy')
  const files = await readTemplateFolder(templates, context.signal).catch((error: unknown) => {
    if (isStepError(error, 'NOT_FOUND')) return new Map<string, Buffer>()
    throw error
  })
  return readConfigSchema(new Map([...files].filter(([path]) => SCHEMA_FILES.includes(path))))
}

/** An environment's keys below `roots`, with the schema of the application. */
export async function openConfig(
  name: string,
  roots: readonly string[],
  context: Context,
): Promise<{ environment: EnvironmentSettings; config: EnvironmentConfig }> {
  const environment = await context.environment(name)
  const schema = await findSchema(context)
  return { environment, config: await readConfig(environment, roots, schema, context) }
}

/**
 * A value as the store is to hold it: encrypted when it is encrypted there already, when the schema
 * requires it, when its name is that of a secret and there is a key, or by choice. INPUT_INVALID when it breaks the schema, or must be encrypted and there is no key.
 */
export function storable(
  key: string,
  plain: string,
  { ring, schema, stored, values }: EnvironmentConfig,
  encrypted?: boolean,
): string {
  if (isSealed(plain)) {
    throw new StepError(
      'INPUT_INVALID',
      `${key}: the value looks like one that is encrypted already`,
      {
        hint: 'Give the value in clear; it is encrypted on its way into the store.',
      },
    )
  }
  const problems = schema?.check(new Map([[key, plain]])) ?? []
  if (problems.length > 0) throw new StepError('INPUT_INVALID', problems.join('\n'))
  const named = ring !== undefined && isSecret(key, plain, schema?.secret)
  const wanted = encrypted ?? (schema?.secret(key) || isSealed(stored.get(key) ?? '') || named)
  if (!wanted) return plain
  const before = stored.get(key) ?? ''
  if (ring && values.get(key) === plain && sealedWith(before) === ring.active.id) return before
  if (ring) return seal(ring, key, plain)
  throw new StepError(
    'INPUT_INVALID',
    `${key} is a secret, and there is no key to encrypt it with`,
    {
      hint: 'Make one with `crosscloud config make-key`, and give it in CROSSCLOUD_CONFIG_KEY.',
    },
  )
}

/** The id of a change set in the ledger; undefined until the ledger has recorded it. */
export interface ChangeRecord {
  id: string | undefined
}

export interface ChangeRequest {
  environment: EnvironmentSettings
  config: EnvironmentConfig
  /** Who was admitted to change it. */
  who: Who
  reason: string | undefined
  /** How long to wait for somebody else's lock, in milliseconds. */
  timeout: number
}

/**
 * Writes all changes or none, and then records who did it, when and why; under the lock of
 * application and environment, which proves that the ledger responds: what cannot be recorded is not
 * done.
 */
export async function applyChanges(
  planned: readonly PlannedChange[],
  request: ChangeRequest,
  context: Context,
): Promise<ChangeRecord | undefined> {
  const changes = planned.filter(isChange)
  if (changes.length === 0) return undefined
  const { app } = await context.settings()
  const { environment, who, timeout } = request
  const what = changes.length === 1 ? changes[0]?.key : `${changes.length} keys`
  const reason = `config: ${request.reason || what}`
  const place = { app, environment: environment.name, reason, timeout }
  return withLockOf(who, place, context, async () => {
    const store = await context.configStore(environment)
    await store.change(
      changes.map(({ key, after }) => ({ key, value: after })),
      changes.map(({ key, before }) => ({ key, value: before })),
    )
    return recordChange(recordOf(app, changes, request), context)
  })
}

function recordOf(
  app: string,
  changes: readonly PlannedChange[],
  { environment, config, who, reason }: ChangeRequest,
): ConfigChangeStart & { request: string; at: string } {
  const bySchema = config.schema?.secret
  // A key that is or was secret: what it held in clear once may still be a password somewhere.
  const kept = (key: string, value: string | null, secret: boolean): KeptValue => {
    if (value === null) return { state: 'absent' }
    const text = keepable(key, value, {
      ring: config.ring,
      bySchema: secret ? () => true : bySchema,
    })
    return text === null ? { state: 'withheld' } : { state: 'kept', text }
  }
  return {
    app,
    environment: environment.name,
    by: who.login,
    identity: who.identity,
    reason,
    request: randomUUID(),
    at: new Date().toISOString(),
    changes: changes.map(({ key, before, after }) => {
      const secret = [before, after].some(
        (value) => value !== null && isSecret(key, value, bySchema),
      )
      return { key, before: kept(key, before, secret), after: kept(key, after, secret) }
    }),
  }
}

/** Records a change that is made; in the journal first, so that it is never lost. */
async function recordChange(
  set: ConfigChangeStart & { request: string; at: string },
  { ledger: open, journal: openJournal, log }: Context,
): Promise<ChangeRecord> {
  const [ledger, journal] = [await open(), await openJournal()]
  const file = await journal.keep({ kind: 'config-change', set })
  try {
    const { id } = await retry(() => ledger.recordConfigChange(set), { attempts: 3 })
    await journal.forget(file)
    return { id }
  } catch (error) {
    log.warn(`the change is made, but the ledger could not record it: ${describe(error)}`)
    log.warn(`Do not repeat it. It waits in ${file}; the next command here records it.`)
    return { id: undefined }
  }
}
