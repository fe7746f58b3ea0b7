import type { EventFacts } from '../sources/event.ts'

/** `superseded` by a newer one, `dropped` by hand; `dead` ones wait for a person. */
export const states = ['waiting', 'running', 'done', 'dead', 'superseded', 'dropped'] as const
export type EventState = (typeof states)[number]

/** Where an event is worked on: calls to other servers, or commands here. */
export const queueNames = ['calls', 'runs'] as const
export type QueueName = (typeof queueNames)[number]

/** An event that a route asked for, as it is kept. Times are milliseconds since 1970. */
export interface EventRecord {
  id: string
  state: EventState
  route: string
  lane: string
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
