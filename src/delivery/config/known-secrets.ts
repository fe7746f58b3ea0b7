import { isStepError, StepError, toStepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { readInstanceFile } from '../../targets/instance-files.ts'
import type { Instance, Target } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import { openConfig } from './config-change.ts'

/** Milliseconds that whoever looks into a log at night waits for a config centre. */
const LONGEST_READ = 3000

/** A secret file may be a key with its chain of certificates. */
const MOST_BYTES = 1024 * 1024

/**
 * From now on the secrets of an environment's config, and of the variables that `container.secrets`
 * names, are masked in all that is printed and kept, as far as its config centre can be read; a log must
 * be readable without it, too.
 * @returns which secrets are not masked, and why; undefined when all are
 */
export async function hideConfigSecrets(
  environment: EnvironmentSettings,
  context: Context,
): Promise<string | undefined> {
  const stop = new AbortController()
  for (const { source } of environment.secrets) {
    if ('environment' in source) context.secrets.add(context.variable(source.environment))
  }
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

/**
 * The same for the files of `container.secrets` as these instances have them: a variable of the job that
 * deployed is not set here, and a value may have been changed since.
 * @returns which are not masked, and why; undefined when all are
 */
export async function hidePlacedSecrets(
  instances: readonly Instance[],
  { secrets: placed }: Pick<EnvironmentSettings, 'secrets'>,
  target: Pick<Target, 'read'>,
  { secrets }: Pick<Context, 'secrets'>,
): Promise<string | undefined> {
  const lacks: string[] = []
  for (const instance of instances) {
    for (const { path } of placed) {
      try {
        const read = (path: string) => target.read(instance, path)
        secrets.add(String(await readInstanceFile(read, path, MOST_BYTES)))
      } catch (error) {
        // Where there is no such file, no command can print it.
        if (!isStepError(error, 'NOT_FOUND')) lacks.push(toStepError(error).message)
      }
    }
  }
  return lacks.length === 0
    ? undefined
    : `secret files that cannot be read are not masked: ${lacks.join('; ')}`
}
