import { engineError, type HostName, statusOf } from './errors.ts'

/** milliseconds */
export const VERB_TIMEOUT = 60_000

interface CallOptions {
  /** Statuses that are as good as success; the call then answers with the status. */
  fine?: number[]
  hint?: string
  /** milliseconds */
  timeout?: number
}

/**
 * Asks the engine within a time limit, and says in its error what was asked of which host. What is
 * still asked when the host is closed ends then: nobody waits for it, and the process need not.
 */
export function caller(host: HostName, closed: AbortSignal) {
  async function call<T>(doing: string, ask: (abortSignal: AbortSignal) => Promise<T>): Promise<T>
  async function call<T>(
    doing: string,
    ask: (abortSignal: AbortSignal) => Promise<T>,
    options: CallOptions & { fine?: never },
  ): Promise<T>
  async function call<T>(
    doing: string,
    ask: (abortSignal: AbortSignal) => Promise<T>,
    options: CallOptions,
  ): Promise<T | number>
  async function call<T>(
    doing: string,
    ask: (abortSignal: AbortSignal) => Promise<T>,
    { fine = [], hint, timeout = VERB_TIMEOUT }: CallOptions = {},
  ): Promise<T | number> {
    try {
      return await ask(AbortSignal.any([closed, AbortSignal.timeout(timeout)]))
    } catch (error) {
      const status = statusOf(error)
      if (status !== undefined && fine.includes(status)) return status
      throw engineError(host, doing, error, hint)
    }
  }
  return call
}

export type Caller = ReturnType<typeof caller>
