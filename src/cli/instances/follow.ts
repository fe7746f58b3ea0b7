import { describe, isStepError, type StepError, toStepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import { instanceLabels } from '../../targets/labels.ts'
import type { Instance, LogLine, LogQuery, Target } from '../../targets/target.ts'
import { placeOf } from './open.ts'

export interface FollowOptions {
  /** Ends the following. */
  signal: AbortSignal
  /** Says what became of the instance. */
  say(text: string): void
}

/** milliseconds */
const PAUSE = 1000

/**
 * The lines of what serves on a host, also when it is started again or another instance takes its
 * place. It ends only by the signal, or when the log cannot be read at all.
 */
export async function* followLog(
  target: Pick<Target, 'readLog' | 'instances'>,
  first: Instance,
  query: LogQuery,
  { signal, say }: FollowOptions,
): AsyncGenerator<LogLine> {
  let followed = first
  let asked: LogQuery = { ...query, follow: true }
  let last: string | undefined
  while (!signal.aborted) {
    const since = asked.since
    try {
      for await (const line of target.readLog(followed, asked, signal)) {
        // An engine counts the moment it is asked from as in.
        if (last !== undefined && since === last && line.at <= last) continue
        last = line.at
        yield line
      }
      say(`the log of ${placeOf(followed)} ended; waiting for what comes after it`)
    } catch (error) {
      if (signal.aborted) return
      if (!isPassing(error)) throw error
      say(`${describe(error)}; waiting`)
    }
    const next = await nextInstance(target, followed.host, signal)
    if (next === undefined) return
    const isSame = next.id === followed.id
    const { [instanceLabels.version]: version = 'unknown' } = next.labels
    say(
      isSame
        ? `${placeOf(next)} runs again; going on`
        : `${placeOf(next)} took its place, version ${version}; going on with its log`,
    )
    asked = isSame && last !== undefined ? { since: last, follow: true } : { follow: true }
    if (!isSame) last = undefined
    followed = next
  }
}

/** A host may come back, and an instance that is gone has a successor. */
function isPassing(error: unknown): error is StepError {
  return toStepError(error).retryable || isStepError(error, 'NOT_FOUND')
}

/** What runs on the host as the current instance; undefined when the signal fires first. */
async function nextInstance(
  target: Pick<Target, 'instances'>,
  host: string,
  signal: AbortSignal,
): Promise<Instance | undefined> {
  for (;;) {
    await wait(PAUSE, signal).catch(() => {})
    if (signal.aborted) return undefined
    const responses = await target.instances({ roles: ['current'] })
    const response = responses.find((each) => each.host === host)
    const running =
      response && 'value' in response ? response.value.find((each) => each.running) : undefined
    if (running) return running
  }
}
