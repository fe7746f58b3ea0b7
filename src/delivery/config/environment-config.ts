import {
  type KeyRing,
  type OpenedSnapshot,
  openSnapshot,
  unseal,
} from '../../config/rules/encryption.ts'
import { isVariable, keptKeys } from '../../config/rules/revision.ts'
import type { ConfigSchema } from '../../config/rules/schema.ts'
import { createShow, isSecret, keepable } from '../../config/rules/secrecy.ts'
import type { ConfigSnapshot } from '../../config/store/store.ts'
import { StepError } from '../../core/errors.ts'
import type { Deployment } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { secretKeys } from '../../targets/secret-settings.ts'
import type { Context } from '../context.ts'

/** An environment's keys at one moment, with all that is known of them. */
export interface EnvironmentConfig extends OpenedSnapshot {
  /** As the store holds them: encrypted values are encrypted here. */
  stored: ConfigSnapshot
  ring: KeyRing | undefined
  schema: ConfigSchema | undefined
  /** Of the value that is there, or of another value for this key. */
  isSecret(key: string, stored?: string): boolean
  /** As people may see it; equal secrets look equal in all that one command prints. */
  show(key: string, stored: string, secret?: boolean): string
  /** What a record may keep of a key's value; null for a secret that cannot be encrypted. */
  keepable(key: string): string | null
}

/**
 * Reads an environment's keys; from now on no secret among them can appear in a log. With `then`,
 * those are its keys, as the ledger kept them, and the store is not read.
 */
export async function readConfig(
  environment: EnvironmentSettings,
  roots: readonly string[],
  schema: ConfigSchema | undefined,
  context: Context,
  then?: ConfigSnapshot,
): Promise<EnvironmentConfig> {
  const ring = await context.configKeys(environment)
  const stored = then ?? (await readStore(environment, roots, context))
  const opened = openSnapshot(stored, ring)
  const bySchema = schema?.secret
  const secret = (key: string, value = stored.get(key) ?? '') => isSecret(key, value, bySchema)
  const show = createShow()
  const secrets = new Set([...stored.keys()].filter((key) => secret(key)))
  for (const key of secrets) context.secrets.add(opened.values.get(key))
  return {
    ...opened,
    stored,
    ring,
    schema,
    isSecret: (key, value) => (value === undefined ? secrets.has(key) : secret(key, value)),
    show: (key, value, hidden = secret(key, value)) =>
      show({ secret: hidden, stored: value, clear: clearOf(ring, key, value) }),
    keepable(key) {
      const value = stored.get(key) ?? ''
      return secrets.has(key) ? keepable(key, value, { bySchema, ring }) : value
    },
  }
}

async function readStore(
  environment: EnvironmentSettings,
  roots: readonly string[],
  context: Context,
): Promise<ConfigSnapshot> {
  if (roots.length === 0) return new Map()
  return await (await context.configStore(environment)).snapshot(roots)
}

function clearOf(ring: KeyRing | undefined, key: string, stored: string): string | undefined {
  try {
    return unseal(ring, key, stored)
  } catch {
    return undefined
  }
}

/** The keys as they were, and the values of now for secrets that were not kept. */
export async function recordedConfig(
  { configRevision, id }: Deployment,
  environment: EnvironmentSettings,
  context: Context,
): Promise<Map<string, string>> {
  const content = await (await context.ledger()).findConfigRevision(configRevision)
  if (content === undefined) {
    throw new StepError('NOT_FOUND', `the config of ${id}, ${configRevision}, was not kept`, {
      hint: 'Go back with the config of now: `--config now`.',
    })
  }
  const { values, withheld } = keptKeys(content)
  const { locked } = openSnapshot(values, await context.configKeys(environment))
  // What has become a secret of its own since is in no file of then.
  const later = secretKeys(environment.secrets).filter(
    (key) => !values.has(key) && !withheld.includes(key),
  )
  const lost = [...withheld, ...locked.keys(), ...later]
  if (lost.length === 0) return values
  const keys = lost.filter((key) => !isVariable(key))
  const now = await readStore(environment, keys, context)
  for (const key of keys) {
    const value = now.get(key)
    if (value !== undefined) values.set(key, value)
    else values.delete(key)
  }
  const why = locked.size > 0 ? 'or with a key that is not given here, ' : ''
  context.log.warn(
    `these secrets were not kept then, ${why}so their values are those of now: ${lost.join(', ')}`,
  )
  return values
}
