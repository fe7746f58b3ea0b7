import { z } from 'zod'
import { type ErrorCode, errorCodes, isErrorCode, StepError } from '../core/errors.ts'

/** https://www.rfc-editor.org/rfc/rfc9457 */
export const PROBLEM_TYPE = 'application/problem+json'

const argumentsOf = z.record(z.string(), z.union([z.string(), z.number()]))

/** An error in an answer: RFC 9457's members, and those of a StepError. */
export const problem = z.looseObject({
  type: z.string().default('about:blank').describe('URI of this kind of problem'),
  title: z.string().describe('The kind of problem, the same each time'),
  status: z.int().min(400).max(599),
  detail: z.string().optional().describe('What is wrong here, for people'),
  code: z.string().describe(`One of ${errorCodes.join(', ')}, or PLAN_STALE`),
  args: argumentsOf
    .optional()
    .describe('The values of the message, to word it in another language'),
  hint: z.string().optional().describe('What to do next'),
  retryable: z.boolean().default(false).describe('Whether the same request may succeed later'),
  reasons: z.array(z.string()).default([]).describe('Why it was refused, a line each'),
})

export type Problem = z.output<typeof problem>

/** The code of a plan whose facts have changed; the answer has the new plan. */
export const PLAN_STALE = 'PLAN_STALE'

/** The same code, message, hint and advice as where the error was thrown. */
export function errorOfProblem(found: Problem, retryAfter?: number): StepError {
  const { detail, title, code, args, hint, retryable, reasons } = found
  const known = isErrorCode(code) ? code : codeOfStatus(found.status)
  const message = [detail ?? title, ...reasons.filter((reason) => !detail?.includes(reason))]
  return new StepError(known, message.join('\n'), { hint, args, retryable, retryAfter })
}

const byStatus: Readonly<Record<number, ErrorCode>> = {
  400: 'INPUT_INVALID',
  401: 'UNAUTHORIZED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  409: 'CONFLICT',
  412: 'CONFLICT',
  422: 'INPUT_INVALID',
  428: 'INPUT_INVALID',
}

function codeOfStatus(status: number): ErrorCode {
  return byStatus[status] ?? (status === 429 || status >= 500 ? 'UNAVAILABLE' : 'INPUT_INVALID')
}
