import { setTimeout as sleep } from 'node:timers/promises'
import { cancelled, type StepError, toStepError } from './errors.ts'

export interface RetryOptions {
  signal?: AbortSignal | undefined
  /** Tries in all. */
  attempts?: number
  /** Pause before the second try, in milliseconds; it doubles each time, with jitter. */
  firstPause?: number
  /** Called before each pause. */
  onRetry?: (error: StepError, attempt: number, pause: number) => void
}

const LONGEST_PAUSE = 30_000

/** Runs `operation` again while it fails with a retryable error, up to `attempts` times. */
export async function retry<T>(
  operation: (attempt: number) => Promise<T>,
  { signal, attempts = 5, firstPause = 250, onRetry }: RetryOptions = {},
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    if (signal?.aborted) throw cancelled(signal)
    try {
      return await operation(attempt)
    } catch (thrown) {
      const error = toStepError(thrown)
      if (!error.retryable || attempt >= attempts) throw error
      const backoff = firstPause * 2 ** (attempt - 1) * (0.5 + Math.random())
      const pause = Math.min(error.retryAfter ?? backoff, LONGEST_PAUSE)
      onRetry?.(error, attempt, pause)
      await wait(pause, signal)
    }
  }
}

/** A pause that ends at once, with CANCELLED, when the signal fires. */
export async function wait(milliseconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal ? { signal } : {})
  } catch (error) {
    throw signal?.aborted ? cancelled(signal) : error
  }
}
