import { z } from 'zod'

/** Of a plan or a run; it is part of paths. */
export const identifier = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'is not an identifier')

/** 200 of `POST plans`, and the new plan in a 409 PLAN_STALE. */
export const planAnswer = z.object({
  plan: identifier,
  hash: z.string().describe('Over the facts: another one when they change'),
  facts: z.looseObject({}).describe('The plan as data, as a step that runs here makes it'),
  expiresAt: z.iso.datetime(),
})

/** The header that makes a repeated `POST runs` the same run: draft-ietf-httpapi-idempotency-key. */
export const IDEMPOTENCY_KEY = 'idempotency-key'
export const idempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, 'is not a key: 1 to 255 printable characters')

/** 202 of `POST runs`. */
export const runAccepted = z.object({
  run: identifier,
  repeated: z
    .boolean()
    .default(false)
    .describe('Whether an earlier request with the same Idempotency-Key has made this run'),
})

/** `refused`: it was not allowed any more when its turn came. */
export const outcomes = ['succeeded', 'failed', 'cancelled', 'refused'] as const

/** The error of a run, as `--json` prints it. */
const runError = z.object({
  code: z.string(),
  message: z.string(),
  hint: z.string().nullish(),
  retryable: z.boolean().default(false),
})

/** How a run ended; the data of the event `finished`. */
export const finished = z.object({
  outcome: z.enum(outcomes),
  outputs: z.record(z.string(), z.unknown()).nullable().describe("The step's, where it succeeded"),
  error: runError.nullable(),
  exitCode: z.int().min(0).max(255),
})

/** 200 of `GET runs/:id`. */
export const run = z.object({
  run: identifier,
  app: z.string(),
  step: z.string(),
  environment: z.string(),
  inputs: z.record(z.string(), z.unknown()),
  by: z.string().describe('Who asked for it'),
  state: z.enum(['queued', 'running', 'finished']),
  waits: z.string().nullish().describe('What it waits for, where that is missing'),
  queuedAt: z.iso.datetime(),
  startedAt: z.iso.datetime().nullable(),
  finishedAt: z.iso.datetime().nullable(),
  finished: finished.nullable(),
})

/** 202 of `POST runs/:id/cancel`. */
export const cancelAccepted = z.object({ run: identifier })

/** `POST runs/:id/cancel`; answered 202, and the run ends by itself. */
export const cancelRequest = z.strictObject({
  reason: z.string().trim().min(1, 'is empty; say why').max(500),
})

export type Run = z.output<typeof run>
export type Finished = z.output<typeof finished>
