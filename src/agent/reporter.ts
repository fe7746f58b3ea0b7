import { type Lease, MOST_REPORTED, type Report, reportAnswer } from '../api/agents.ts'
import type { Line } from '../api/events.ts'
import type { Finished } from '../api/runs.ts'
import type { Credentials } from '../client/credentials.ts'
import type { Requests } from '../client/requests.ts'
import { StepError, toStepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { wait } from '../core/retry.ts'
import type { Cancellation } from '../server/runs/run.ts'

export interface Connection {
  requests: Requests
  credentials: Credentials
  log: Log
}

/** Tells the server of a lease, and so keeps it. */
export interface Reporter {
  add(line: Line): void
  /** Right before what must not be started twice; throws when another agent may have the run. */
  confirm(): Promise<void>
  start(): Promise<void>
  /** Until the server has it, however long that takes. */
  finish(finished: Finished): Promise<void>
  /** Gives the lease back. */
  release(): Promise<void>
  cancelled(): Cancellation | undefined
  /** Fires when somebody cancels the run, or the lease is lost. */
  signal: AbortSignal
  isLost(): boolean
  close(): void
}

/** Milliseconds */
const BATCH = 150
const SHORTEST_BEAT = 200
const TRY_AGAIN = 1000
const MOST_WAITING = 10_000

export function openReporter(lease: Lease, connection: Connection): Reporter {
  const { fence, run, term } = lease
  const ending = new AbortController()
  const closing = new AbortController()
  const waiting: Line[] = []
  let [sent, isLost, isAway] = [0, false, false]
  let cancel: Cancellation | undefined

  const lose = (why: string) => {
    if (isLost) return
    isLost = true
    ending.abort(new StepError('CANCELLED', `the lease of run ${run} is lost: ${why}`))
  }
  const post = async (more: Partial<Report>): Promise<void> => {
    const lines = waiting.slice(0, MOST_REPORTED)
    const body: Report = { fence, from: sent, lines, ...more }
    const path = `agents/runs/${encodeURIComponent(run)}`
    const { requests, credentials } = connection
    const request = { method: 'POST', path, body, answer: reportAnswer, credentials } as const
    const answer = await requests.sendOnce({ ...request, signal: closing.signal })
    waiting.splice(0, lines.length)
    sent += lines.length
    if (answer.cancel === null || cancel !== undefined) return
    cancel = answer.cancel
    const why = `${cancel.by} cancelled it: ${cancel.reason}`
    ending.abort(new StepError('CANCELLED', why))
  }
  /** Whether the server has it; what it refuses is lost. */
  const tell = async (more: Partial<Report>): Promise<boolean> => {
    try {
      await post(more)
      if (isAway) connection.log.info(`${run}: the server answers again`)
      isAway = false
      return true
    } catch (thrown) {
      const error = toStepError(thrown)
      if (closing.signal.aborted) return false
      if (error.code !== 'UNAVAILABLE') lose(error.message)
      else if (!isAway) connection.log.warn(`${run}: ${error.message}; it goes on meanwhile`)
      isAway = !isLost
      return false
    }
  }
  // One report at a time: lines have an order.
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work, work)
    last = next
    return next
  }
  const insist = (more: Partial<Report>, signal?: AbortSignal): Promise<void> =>
    inTurn(async () => {
      for (;;) {
        const isMore = waiting.length > MOST_REPORTED
        if (!isLost && (await tell(isMore ? {} : more)) && !isMore) return
        if (isLost) throw lostError(run)
        if (isAway)
          await wait(TRY_AGAIN, signal ? AbortSignal.any([signal, closing.signal]) : closing.signal)
      }
    })
  void beat(
    { lease, closing: closing.signal, waiting },
    () => inTurn(() => tell({})),
    () => isLost,
  )
  return {
    signal: ending.signal,
    isLost: () => isLost,
    cancelled: () => cancel,
    add(line) {
      if (waiting.length < MOST_WAITING) waiting.push(line)
    },
    async confirm() {
      for (;;) {
        const asked = performance.now()
        await insist({}, ending.signal)
        // A process that stood still reads an old answer: by now the lease may be over.
        if (performance.now() - asked < term / 2) return
      }
    },
    start: () => insist({ started: true }, ending.signal),
    finish: (finished) => insist({ finished }),
    release: () => inTurn(() => tell({ release: true })).then(() => {}),
    close: () => closing.abort(),
  }
}

/** A sign of life several times in a term, and lines soon after they come. */
async function beat(
  { lease, closing, waiting }: { lease: Lease; closing: AbortSignal; waiting: readonly Line[] },
  tell: () => Promise<boolean>,
  isLost: () => boolean,
): Promise<void> {
  const pause = Math.max(SHORTEST_BEAT, lease.term / 5)
  let since = performance.now()
  while (!closing.aborted && !isLost()) {
    await wait(BATCH, closing).catch(() => {})
    const isDue = performance.now() - since >= pause
    if (closing.aborted || (!isDue && waiting.length === 0)) continue
    since = performance.now()
    if (!(await tell())) await wait(TRY_AGAIN, closing).catch(() => {})
  }
}

const lostError = (run: string) =>
  new StepError('CANCELLED', `the lease of run ${run} is lost`, { details: { lost: true } })
