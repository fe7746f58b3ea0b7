import { z } from 'zod'
import { cancelRequest, type Finished } from '../api/runs.ts'
import { describe, isErrorCode, StepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Credentials } from './credentials.ts'
import { followRun } from './follow.ts'
import { replayInto } from './replay.ts'
import type { Requests } from './requests.ts'

export interface StartedRun {
  run: string
}

interface WatchOptions {
  requests: Requests
  credentials: Credentials
  log: Log
  /** Fires when this process is to stop: the run is cancelled then, and waited for. */
  signal: AbortSignal
}

/** The outputs of a run, when it has succeeded; its log is ours, and so is its error. */
export async function watchRun(
  { run }: StartedRun,
  options: WatchOptions,
): Promise<Record<string, unknown>> {
  const { log, signal, requests, credentials } = options
  // It ends only with the run, so that a cancelled one is seen to its end.
  const lasting = new AbortController().signal
  const cancel = () => void cancelRun(run, options, lasting)
  const replay = replayInto(log)
  if (signal.aborted) cancel()
  else signal.addEventListener('abort', cancel, { once: true })
  const follow = { requests, credentials, log, signal: lasting, onLine: replay.line }
  const end = await followRun(run, follow)
    .catch(async (error: unknown) => {
      await replay.end(true)
      throw error
    })
    .finally(() => signal.removeEventListener('abort', cancel))
  await replay.end(end.outcome !== 'succeeded')
  if (end.outcome === 'succeeded') return end.outputs ?? {}
  throw errorOf(end, run)
}

async function cancelRun(
  run: string,
  { requests, credentials, log, signal }: WatchOptions,
  lasting: AbortSignal,
): Promise<void> {
  const body = cancelRequest.parse({ reason: describe(signal.reason).slice(0, 500) || 'cancelled' })
  log.warn(`${body.reason}: the run is being cancelled on the server; its end is waited for`)
  const path = `runs/${encodeURIComponent(run)}/cancel`
  const request = { method: 'POST', path, body, answer: z.unknown() } as const
  await requests.send({ ...request, credentials, signal: lasting }).catch((error: unknown) => {
    log.warn(`the run could not be cancelled: ${describe(error)}`)
  })
}

/** The error of the run, with the exit code that it has where the step runs here. */
function errorOf({ error, outcome }: Finished, run: string): StepError {
  if (error === null) {
    const code = outcome === 'cancelled' ? 'CANCELLED' : 'INTERNAL'
    return new StepError(code, `run ${run} ${outcome === 'cancelled' ? 'was cancelled' : 'failed'}`)
  }
  const { code, message, hint, retryable } = error
  return new StepError(isErrorCode(code) ? code : 'COMMAND_FAILED', message, {
    hint: hint ?? undefined,
    retryable,
  })
}
