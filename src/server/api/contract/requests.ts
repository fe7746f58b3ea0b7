import type { FastifySchemaCompiler } from 'fastify'
import { z } from 'zod'
import { identifier } from '../../../api/runs.ts'
import { StepError } from '../../../core/errors.ts'
import { issueLines, objectName } from '../../../core/settings/schema.ts'
import { verbs } from '../../../policy/verbs.ts'

/** What somebody sent, by a schema; INPUT_INVALID has a line for each problem. */
export function parseRequest<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.output<Schema> {
  const result = schema.safeParse(value, { reportInput: true })
  if (result.success) return result.data
  const lines = issueLines(result.error.issues, schema, 'is not known here').map(({ path, text }) =>
    [path.map(shown).join('.'), text].filter(Boolean).join(' '),
  )
  throw new StepError('INPUT_INVALID', lines.join('\n').slice(0, 4000), {
    hint: 'docs/server.md shows each request; openapi.json has them in full.',
  })
}

/** Names are theirs: they may be long, or draw on a terminal. */
const shown = (part: string) =>
  /^[\w.-]{1,60}$/.test(part) ? part : JSON.stringify(part.slice(0, 60))

/** Requests are checked by the schema of their route, before its handler runs. */
export const checkRequests: FastifySchemaCompiler<z.ZodType> =
  ({ schema, httpPart }) =>
  (value: unknown) => {
    try {
      if (httpPart === 'body' && (value === undefined || value === null)) throw withoutBody()
      return { value: parseRequest(schema, value) }
    } catch (error) {
      return { error: error as Error }
    }
  }

const withoutBody = () =>
  new StepError('INPUT_INVALID', 'the request has no body', {
    hint: 'Send JSON, with content-type: application/json.',
  })

export const runPath = z.object({ id: identifier })
export const applicationPath = z.object({ app: objectName })
export const environmentPath = z.object({ app: objectName, env: objectName })

const limit = z.coerce.number().int().min(1).max(200).default(50)

export const lastEventId = z
  .string()
  .regex(/^\d{1,15}-\d{1,15}$/, 'is not the id of an event')
  .default('0-0')

export const noQuery = z.strictObject({})

/** `?limit=&cursor=` */
export const pageQuery = z.strictObject({ limit, cursor: identifier.optional() })
/** The ledger gives the newest; a cursor is how many were there before. */
export const releaseQuery = z.strictObject({
  limit,
  cursor: z
    .string()
    .regex(/^(\d{1,4}|10000)$/, 'is not one that a page had under next')
    .optional(),
})
export const auditQuery = z.strictObject({
  limit,
  cursor: z
    .string()
    .regex(/^\d{1,15}$/, 'is not one that a page had under next')
    .optional(),
})
export const decisionQuery = z.strictObject({
  verb: z.enum(verbs),
  app: z.string(),
  env: z.string(),
  source: z.string().optional().describe('Of a promotion: the environment it comes from'),
})
export const deploymentQuery = z.strictObject({
  limit,
  cursor: identifier.optional(),
  env: objectName.optional(),
})
