import type { EventFacts } from '../sources/event.ts'

/**
 * States of an event; README.md draws how they follow each other. `superseded` by a newer event,
 * `dropped` by a person; a `dead` event waits for a person.
 */
export const states = ['waiting', 'running', 'done', 'dead', 'superseded', 'dropped'] as const
export type EventState = (typeof states)[number]

/** Queues of wake-up jobs: for requests to other servers, and for commands that run here. */
export const queueNames = ['calls', 'runs'] as const
export type QueueName = (typeof queueNames)[number]

/** A stored event of a route. Times are milliseconds since 1970. */
export interface EventRecord {
  id: string
  state: EventState
  route: string
  partition: string
  queue: QueueName
  facts: EventFacts
  received: number
  attempts: number
  begun: number | undefined
  next: number | undefined
  ended: number | undefined
  text: string | undefined
  url: string | undefined
  error: string | undefined
}
