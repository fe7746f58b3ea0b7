import { z } from 'zod'
import { objectName } from '../core/settings/schema.ts'
import { line } from './events.ts'
import { identifier } from './runs.ts'

/*
 * Events of `GET stream` (text/event-stream). Each has an id that says where the reader is in all of
 * its topics; `Last-Event-ID` resumes strictly after it. A comment comes every 15 s. Clients ignore
 * events that they do not know.
 */

/** What a reader may want; `lines:RUN` is the log of a run. */
export const topics = ['runs', 'status', 'approvals', 'config', 'agents'] as const
export type Topic = (typeof topics)[number]

const MOST_LOGS = 5
const MOST_APPLICATIONS = 100

const list = (text: string) => text.split(',').filter((part) => part !== '')

const topic = z.union([
  z.enum(topics).transform((name) => ({ name, run: undefined })),
  z
    .string()
    .startsWith('lines:')
    .transform((text) => text.slice('lines:'.length))
    .pipe(identifier)
    .transform((run) => ({ name: 'lines' as const, run })),
])

/** The query of `GET stream`. */
export const streamQuery = z.strictObject({
  topics: z
    .string()
    .max(1000)
    .default(topics.join(','))
    .transform(list)
    .pipe(
      z
        .array(topic)
        .min(1, 'is empty')
        .refine(
          (all) => new Set(all.map(({ run }) => run)).size <= MOST_LOGS + 1,
          `has more than ${MOST_LOGS} logs`,
        ),
    )
    .describe('runs, status, approvals, config, agents, lines:RUN; default: all but lines'),
  app: z
    .string()
    .max(MOST_APPLICATIONS * 64)
    .transform(list)
    .pipe(z.array(objectName).max(MOST_APPLICATIONS))
    .optional()
    .describe('Only these applications, with commas between them'),
})

/** An event's id: the number of the newest event, and of the newest line of each log. */
export const streamPosition = z
  .string()
  .regex(/^\d{1,15}(?:\.[\w-]{1,64}:\d{1,15}){0,5}$/, 'is not the id of an event')

const place = { app: z.string(), environment: z.string(), at: z.iso.datetime() }
const ofRun = { ...place, run: z.string(), step: z.string(), by: z.string() }

/** By the name of the event; `resync` and `bye` are as in events.ts. */
export const announcements = {
  'run.queued': z.object(ofRun),
  'run.waiting': z.object({ ...ofRun, why: z.literal('earlier runs') }),
  'run.started': z.object(ofRun),
  'run.section': z.object({
    ...ofRun,
    title: z.string(),
    section: z.enum(['start', 'end']),
    depth: z.int(),
    failed: z.boolean().optional(),
  }),
  'run.finished': z.object({ ...ofRun, outcome: z.string() }),
  'status.changed': z.object(place),
  'approval.changed': z.object(place),
  'config.changed': z.object({
    ...place,
    keys: z.array(z.string()).optional(),
    by: z.string().optional(),
    change: z.string().nullish(),
  }),
  'agent.changed': z.object({ at: z.iso.datetime(), agent: z.string(), state: z.string() }),
} as const

/** Lines of a log as they come; `finished` with the last ones. */
export const runLines = z.object({
  run: z.string(),
  lines: z.array(line),
  finished: z.boolean(),
})

export type AnnouncementName = keyof typeof announcements
export type RunLines = z.output<typeof runLines>
export type StreamQuery = z.output<typeof streamQuery>
