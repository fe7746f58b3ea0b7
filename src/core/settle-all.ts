import { StepError, toStepError } from './errors.ts'

/** The values in their order, once all work has ended; what failed is thrown as one error. */
export async function settleAll<T>(work: Iterable<Promise<T>>): Promise<T[]> {
  const results = await Promise.allSettled(work)
  const error = joinErrors(
    results.flatMap((result) => (result.status === 'rejected' ? [toStepError(result.reason)] : [])),
  )
  if (error) throw error
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
}

/** All errors as one, a line each; it is worth a retry only when each of them is. */
export function joinErrors(errors: readonly StepError[]): StepError | undefined {
  const [first, ...others] = errors
  if (!first || others.length === 0) return first
  // A certain failure counts for more than what could not be reached.
  const main = errors.find(({ retryable }) => !retryable) ?? first
  const lines = new Set(errors.map(({ message }) => message))
  return new StepError(main.code, [...lines].join('\n'), {
    hint: main.hint,
    retryable: main.retryable,
    cause: main,
  })
}
