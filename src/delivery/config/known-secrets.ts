import { StepError, toStepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { Context } from '../context.ts'
import { openConfig } from './config-change.ts'

/** Milliseconds that whoever looks into a log at night waits for a config centre. */
const LONGEST_READ = 3000

/**
 * From now on the secrets of an environment's config are masked in all that is printed and kept, as far
 * as its config centre can be read; a log must be readable without it, too.
 * @returns which secrets are not masked, and why; undefined when all are
 */
export async function hideConfigSecrets(
  environment: EnvironmentSettings,
  context: Context,
): Promise<string | undefined> {
  const stop = new AbortController()
  try {
    if (environment.config === undefined) return undefined
    const late = wait(LONGEST_READ, AbortSignal.any([stop.signal, context.signal])).then(() => {
      throw new StepError('UNAVAILABLE', `no answer within ${LONGEST_READ / 1000} s`)
    })
    // Both may fail, and only the first is waited for.
    late.catch(() => {})
    const opened = openConfig(environment.name, ['/'], context)
    opened.catch(() => {})
    const { config } = await Promise.race([opened, late])
    const locked = [...config.locked.keys()]
    if (locked.length === 0) return undefined
    return `encrypted values are not masked, as their key is not given here: ${locked.join(', ')}`
  } catch (error) {
    const { message } = toStepError(error)
    return `secrets of the config are not masked, as it cannot be read: ${message}`
  } finally {
    stop.abort()
  }
}
