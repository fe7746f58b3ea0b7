import { StepError } from '../../core/errors.ts'

/** So much work at a time, and so much that waits; what comes beyond that is refused. */
export function inTurns({ most, waiting }: { most: number; waiting: number }, refusal: string) {
  let running = 0
  const queue: (() => void)[] = []
  return async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= most) {
      if (queue.length >= waiting) {
        throw new StepError('UNAVAILABLE', refusal, { retryAfter: 10_000 })
      }
      await new Promise<void>((resolve) => queue.push(resolve))
    } else running++
    try {
      return await work()
    } finally {
      const next = queue.shift()
      if (next) next()
      else running--
    }
  }
}
