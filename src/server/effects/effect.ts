import { StepError } from '../../core/errors.ts'
import type { EventFacts } from '../sources/event.ts'

/** One attempt to run the effect of a route. */
export interface Attempt {
  /** The id of the event; what is started carries it, so that it is found again. */
  id: string
  facts: EventFacts
  /**
   * Whether an earlier attempt was begun, whose process died or whose response was lost. What it
   * started must be looked for before it is started again.
   */
  again: boolean
  /** When the event was received, and when it was first begun; milliseconds since 1970. */
  receivedAt: number
  begunAt: number
  signal: AbortSignal
  /** Right before what must not be started twice: throws when another worker has the event by now. */
  confirm(): Promise<void>
}

/** Result of an effect: a line for people, and the page that shows it. */
export interface Outcome {
  text: string
  url?: string | undefined
  /** `started`: it goes on elsewhere, and another event reports its end. */
  state: 'started' | 'succeeded' | 'failed'
}

/**
 * What a route does. Throws a StepError: a retryable error is tried again later, any other error
 * makes the event a dead letter.
 */
export type Effect = (attempt: Attempt) => Promise<Outcome>

/** The details of an error that concerns its event alone: the events behind it need not wait. */
interface Passable {
  passable: true
}

export function asPassable(error: StepError): StepError<Passable> {
  const { code, message, hint, retryable, cause } = error
  return new StepError(code, message, { hint, retryable, cause, details: { passable: true } })
}

export const isPassable = ({ details }: StepError): boolean =>
  (details as Partial<Passable> | undefined)?.passable === true

/** The worker stood still, or Redis was away, for longer than `queue.stalled-timeout`. */
export const takenOver = (): StepError =>
  new StepError('CANCELLED', 'another worker may work on this event by now', {
    details: { takenOver: true },
  })

export const isTakenOver = ({ details }: StepError): boolean =>
  (details as { takenOver?: boolean } | undefined)?.takenOver === true

/** Variables for everything that an event starts. */
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
