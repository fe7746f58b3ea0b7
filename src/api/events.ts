import { z } from 'zod'
import { finished } from './runs.ts'

/*
 * Events of `GET runs/:id/lines` (text/event-stream). Each has an id, and `Last-Event-ID` resumes
 * strictly after it. A comment comes every 15 s. Clients ignore events that they do not know.
 */

/**
 * A record of the run's log, as `--log json` writes it. Secrets are masked by whoever sends it;
 * `section` opens or closes a stretch of work, and `text` is its title then.
 */
export const line = z.object({
  at: z.iso.datetime(),
  level: z.enum(['info', 'warn', 'error', 'debug', 'output']),
  text: z.string(),
  depth: z.int().min(0).default(0).describe('Open sections around it'),
  section: z.enum(['start', 'end']).optional(),
  seconds: z.number().optional().describe('How long a section took that ends'),
  failed: z.boolean().optional().describe('Whether it failed'),
})

/** Lines were trimmed from the log before this client had them; those that are left follow. */
export const resync = z.object({})

/** The stream ends although the run goes on: resume it, after a pause or with a new session. */
export const bye = z.object({ reason: z.enum(['restart', 'expired', 'revoked']) })

/** By the name of the event. `finished` is the last one of a run. */
export const streamEvents = { line, resync, finished, bye } as const

export type Line = z.output<typeof line>
