import { z } from 'zod'
import { line } from './events.ts'
import { finished, identifier } from './runs.ts'

/** What an agent is given to carry out: a run, or a plan that somebody waits for. */
const lease = z.object({
  run: identifier,
  kind: z.enum(['run', 'plan']),
  app: z.string(),
  step: z.string(),
  environment: z.string(),
  inputs: z.record(z.string(), z.unknown()),
  planHash: z.string().nullable().describe('Of the plan that was seen: nothing else is done'),
  fence: z
    .int()
    .min(1)
    .describe('Counts the leases of this run: a report with an older one is refused'),
  again: z.boolean().describe('It was begun under an earlier lease, whose agent is gone'),
  token: z
    .string()
    .nullable()
    .describe('ID token of the job that asked, for the agent to check; null where there is none'),
  by: z.string().describe('Who asked, as the server says: for the log alone'),
  term: z.int().min(1).describe('Milliseconds that the lease lasts after each report'),
})

/** `POST agents/lease`; answered after half a minute at most. */
export const leaseRequest = z.strictObject({
  version: z.string().max(64).describe('Of crosscloud there'),
})

/** 200 of `POST agents/lease`. */
export const leaseAnswer = z.object({ lease: lease.nullable() })

/** Lines of one report. */
export const MOST_REPORTED = 500

/** `POST agents/runs/:id`: what became of a lease so far; it lasts on from here. */
export const reportRequest = z.strictObject({
  fence: z.int().min(1),
  from: z.int().min(0).default(0).describe('Number of the first of these lines in this lease'),
  lines: z.array(line).max(MOST_REPORTED).default([]),
  started: z.boolean().default(false).describe('Its command starts now'),
  finished: finished.optional().describe('How it ended'),
  release: z.boolean().default(false).describe('The agent stops: another one goes on with it'),
})

/** 200 of `POST agents/runs/:id`; 409: another agent has the run by now, or it is over. */
export const reportAnswer = z.object({
  cancel: z.object({ by: z.string(), reason: z.string() }).nullable(),
})

/** An item of `GET agents`. */
export const agent = z.object({
  name: z.string(),
  places: z.array(z.object({ app: z.string(), environment: z.string() })),
  lastSeen: z.iso.datetime().nullable(),
  version: z.string().nullable(),
  connected: z.boolean(),
})

export type Lease = z.output<typeof lease>
export type Report = z.input<typeof reportRequest>
export type AgentInfo = z.output<typeof agent>
