import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { identifier } from '../../api/runs.ts'
import { StepError } from '../../core/errors.ts'
import { issueLines, objectName } from '../../core/settings/schema.ts'

/** What somebody sent, by a schema; INPUT_INVALID has a line for each problem. */
export function parseRequest<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.output<Schema> {
  const result = schema.safeParse(value, { reportInput: true })
  if (result.success) return result.data
  const lines = issueLines(result.error.issues, schema).map(({ path, text }) =>
    [path.join('.'), text].filter(Boolean).join(' '),
  )
  throw new StepError('INPUT_INVALID', lines.join('\n').slice(0, 4000), {
    hint: 'docs/server.md shows each request.',
  })
}

export const bodyOf = <Schema extends z.ZodType>(schema: Schema, { body }: FastifyRequest) => {
  if (body === undefined || body === null) {
    throw new StepError('INPUT_INVALID', 'the request has no body', {
      hint: 'Send JSON, with content-type: application/json.',
    })
  }
  return parseRequest(schema, body)
}

export const runPath = z.object({ id: identifier })
export const applicationPath = z.object({ app: objectName })
export const environmentPath = z.object({ app: objectName, env: objectName })

const limit = z.coerce.number().int().min(1).max(200).default(50)

/** `?limit=&cursor=` */
export const pageQuery = z.strictObject({ limit, cursor: identifier.optional() })
export const deploymentQuery = z.strictObject({
  limit,
  cursor: identifier.optional(),
  env: objectName.optional(),
})
