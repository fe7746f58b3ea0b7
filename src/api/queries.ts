import { z } from 'zod'
import { objectName } from '../core/settings/schema.ts'

/*
 * Queries of what is read. Each becomes an option of a command, and none is taken that is not here:
 * no path of the server, no other option.
 */

const limit = z.coerce.number().int().min(1).max(200).default(50)
const offset = z.coerce.number().int().min(0).max(10_000).default(0)

/** `?limit=&cursor=` of lists that are made anew for each page. */
export const listQuery = z.strictObject({ limit, cursor: offset })

/** A text of one line that cannot be taken for an option. */
const oneLine = (most: number) =>
  z
    .string()
    .min(1)
    .max(most)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is refused
    .regex(/^[^\x00-\x1f\x7f]*$/, 'has a control character')

const host = z.string().regex(/^[A-Za-z0-9][\w.-]{0,252}$/, 'is not the name of a host')
const time = z
  .string()
  .regex(
    /^(?:\d{1,6}(?:ms|s|m|h|d)|\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d))?)$/,
    'is no time',
  )

export const hostQuery = z.strictObject({ limit, cursor: offset, host: host.optional() })

const logFields = {
  since: time.optional().describe('10m, 2h, or 2026-01-31T12:00:00Z'),
  grep: oneLine(200).optional().describe('Only lines that match, a regular expression'),
  lines: z.coerce.number().int().min(1).max(5000).default(200),
  host: host.optional(),
}

/** Of `GET …/logs`. */
export const logQuery = z.strictObject({ ...logFields, until: time.optional() })
/** Of `GET …/logs/follow`: from now on, after so many lines. */
export const followQuery = z.strictObject(logFields)

export const previewQuery = z.strictObject({
  release: z
    .string()
    .regex(/^[a-z0-9-]{1,63}@[\w.+-]{1,128}$/, 'is not application@version')
    .optional()
    .describe('Templates inside this release; default: those of the branch that counts'),
})

export const reportQuery = z.strictObject({
  since: time.default('90d'),
  env: objectName.optional(),
})

export const explainQuery = z.strictObject({
  thing: oneLine(500)
    .regex(/^[A-Za-z0-9]/, 'does not begin with a letter or a digit')
    .describe('A release, the MD5 of a WAR, a digest, a commit, a container, an address'),
})

export const historyQuery = z.strictObject({
  limit,
  cursor: z
    .string()
    .regex(/^[\w-]{1,64}$/)
    .optional(),
})

export const eventQuery = z.strictObject({
  limit,
  cursor: offset,
  state: z.enum(['waiting', 'running', 'dead', 'done', 'dropped', 'superseded']).default('dead'),
})
