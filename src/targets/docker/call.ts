import { engineError, type HostName, statusOf } from './errors.ts'

/** milliseconds */
export const VERB_TIMEOUT = 60_000

interface CallOptions {
  /** Statuses that are as good as success; the call then returns the status. */
  fine?: number[]
  hint?: string
  /** milliseconds */
  timeout?: number
}

/**
 * Calls the engine within a time limit; an error names the call and the host. Calls still under way
 * when the host is closed end then: nobody waits for their result.
 */
export function caller(host: HostName, closed: AbortSignal) {
  async function call<T>(doing: string, work: (abortSignal: AbortSignal) => Promise<T>): Promise<T>
  async function call<T>(
    doing: string,
    work: (abortSignal: AbortSignal) => Promise<T>,
    options: CallOptions & { fine?: never },
  ): Promise<T>
  async function call<T>(
    doing: string,
    work: (abortSignal: AbortSignal) => Promise<T>,
    options: CallOptions,
  ): Promise<T | number>
  async function call<T>(
    doing: string,
    work: (abortSignal: AbortSignal) => Promise<T>,
    { fine = [], hint, timeout = VERB_TIMEOUT }: CallOptions = {},
  ): Promise<T | number> {
    try {
      return await work(AbortSignal.any([closed, AbortSignal.timeout(timeout)]))
    } catch (error) {
      const status = statusOf(error)
      if (status !== undefined && fine.includes(status)) return status
      throw engineError(host, doing, error, hint)
    }
  }
  return call
}

export type Caller = ReturnType<typeof caller>
