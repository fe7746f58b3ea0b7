import { StepError } from '../../core/errors.ts'
import type { EventFacts } from '../sources/event.ts'

/** One try to do what a route asks for. */
export interface Attempt {
  /** The event's identifier: what is started carries it, so that it is found again. */
  id: string
  facts: EventFacts
  /**
   * Whether it was begun before: by a process that died, or with an answer that never came. Then
   * what was started is to be looked for before it is started again.
   */
  again: boolean
  /** When it came in, and when it was first begun; milliseconds since 1970. */
  receivedAt: number
  begunAt: number
  signal: AbortSignal
}

/** What came of it: a line for people, and the page that shows it. */
export interface Outcome {
  text: string
  url?: string | undefined
  /** Whether it is over, and how; else what was started goes on elsewhere, and an event tells its end. */
  state: 'started' | 'succeeded' | 'failed'
}

/**
 * What a route does. Throws a StepError: a retryable one is tried again later, any other one makes
 * the event a dead letter.
 */
export type Effect = (attempt: Attempt) => Promise<Outcome>

/** Of an error that concerns its event alone: those behind it need not wait. */
interface Passable {
  passable: true
}

export function asPassable(error: StepError): StepError<Passable> {
  const { code, message, hint, retryable, cause } = error
  return new StepError(code, message, { hint, retryable, cause, details: { passable: true } })
}

export const isPassable = ({ details }: StepError): boolean =>
  (details as Partial<Passable> | undefined)?.passable === true

/** What was started by an event carries these, whatever started it. */
export function eventVariables({
  id,
  facts,
}: Pick<Attempt, 'id' | 'facts'>): Record<string, string> {
  return {
    CROSSCLOUD_EVENT_ID: id,
    CROSSCLOUD_EVENT_KIND: facts.kind,
    CROSSCLOUD_EVENT_PROJECT: facts.project,
    CROSSCLOUD_EVENT_REF: facts.ref,
    CROSSCLOUD_EVENT_COMMIT: facts.commit,
    CROSSCLOUD_EVENT_BY: facts.by,
  }
}
