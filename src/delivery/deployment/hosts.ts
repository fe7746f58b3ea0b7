import { StepError, toStepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { Host } from '../../targets/docker/host.ts'
import type { Context } from '../context.ts'

/** What a host answered, or why it did not. */
export type Answer<T> = { name: string; host: Host; value: T } | { name: string; fault: StepError }

/** milliseconds */
const TIMEOUT = 15_000

/** Asks all hosts of an environment at once. One that cannot be asked hides none of the others. */
export async function askHosts<T>(
  environment: Pick<EnvironmentSettings, 'hosts'>,
  context: Context,
  ask: (host: Host) => Promise<T>,
  { timeout }: { timeout: number | undefined } = { timeout: TIMEOUT },
): Promise<Answer<T>[]> {
  return Promise.all(
    environment.hosts.map(async (address): Promise<Answer<T>> => {
      const { name } = address
      try {
        const [host] = await context.hosts({ hosts: [address] })
        if (!host) throw new StepError('INTERNAL', `host ${name} was not opened`)
        // What may take long begins with a short question.
        if (timeout === undefined) await host.ping()
        return { name, host, value: await within(timeout, name, ask(host)) }
      } catch (error) {
        return { name, fault: toStepError(error) }
      }
    }),
  )
}

async function within<T>(timeout: number | undefined, host: string, work: Promise<T>): Promise<T> {
  if (timeout === undefined) return work
  const stop = new AbortController()
  const late = wait(timeout, stop.signal).then(() => {
    throw new StepError('UNAVAILABLE', `host ${host} said nothing for ${timeout / 1000} s`)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    stop.abort()
    late.catch(() => {})
  }
}

type Silent = Extract<Answer<unknown>, { fault: StepError }>

export const isAnswer = <T>(answer: Answer<T>): answer is Exclude<Answer<T>, Silent> =>
  'value' in answer

export const isSilent = (answer: Answer<unknown>): answer is Silent => 'fault' in answer
