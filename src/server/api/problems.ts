import type { FastifyReply } from 'fastify'
import { PLAN_STALE, PROBLEM_TYPE, type Problem } from '../../api/problem.ts'
import { type ErrorCode, StepError, toStepError } from '../../core/errors.ts'
import type { StoredPlan } from '../runs/store.ts'

/** Where the API is: its errors are problems. */
export const API = '/api/v1'

const kinds: Readonly<Record<ErrorCode, [status: number, title: string]>> = {
  INPUT_INVALID: [400, 'The request is wrong'],
  UNAUTHORIZED: [401, 'It is not known who asks'],
  FORBIDDEN: [403, 'The policy does not allow it'],
  NOT_FOUND: [404, 'It is not there'],
  CONFLICT: [409, 'It is not in the state for this'],
  GATE_CLOSED: [409, 'The gate is closed'],
  VERIFY_FAILED: [409, 'What runs is not what was built'],
  COMMAND_FAILED: [409, 'The command failed'],
  UNAVAILABLE: [503, 'Something does not answer'],
  CANCELLED: [503, 'It was cancelled'],
  INTERNAL: [500, 'An error of the server'],
}

interface Details {
  status?: number
  /** In place of the error's own: what only HTTP has. */
  code?: string
  reasons?: readonly string[]
  /** More of the answer. */
  members?: Readonly<Record<string, unknown>>
  plan?: object
}

export function stalePlan(plan: StoredPlan): StepError<Details> {
  return new StepError('CONFLICT', 'what the plan was made of has changed; here is a new plan', {
    hint: 'Look at the new plan, and run that.',
    details: { plan: planAnswer(plan) },
  })
}

export const planAnswer = ({ plan, hash, facts, expiresAt }: StoredPlan) => ({
  plan,
  hash,
  facts,
  expiresAt,
})

/** RFC 9457 with the parts of a StepError; errors of the server itself say nothing. */
export function problemOf(thrown: unknown, mask: (text: string) => string): Problem {
  const error = fromFastify(thrown) ?? toStepError(thrown)
  const { code, message, hint, retryable, args } = error
  const { status, reasons = [], plan, code: own, members } = (error.details ?? {}) as Details
  const [byCode, title] = kinds[code]
  const isInternal = code === 'INTERNAL'
  return {
    type: 'about:blank',
    title,
    status: status ?? byCode,
    detail: isInternal ? 'its log has more' : mask(message),
    code: plan ? PLAN_STALE : (own ?? code),
    ...(args && { args: { ...args } }),
    ...(hint && !isInternal && { hint: mask(hint) }),
    retryable,
    reasons: reasons.map(mask),
    ...(plan && { plan }),
    ...members,
  }
}

export function sendProblem(
  reply: FastifyReply,
  thrown: unknown,
  mask: (text: string) => string,
): FastifyReply {
  const problem = problemOf(thrown, mask)
  const { retryAfter } = toStepError(thrown)
  if ([429, 503].includes(problem.status)) {
    reply.header('retry-after', Math.ceil((retryAfter ?? 5000) / 1000))
  }
  return reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem))
}

/** What Fastify refuses by itself: a body that is too long, or no JSON. */
function fromFastify(thrown: unknown): StepError | undefined {
  if (thrown instanceof StepError) return undefined
  const { statusCode: status, message } = (thrown ?? {}) as Partial<Error & { statusCode: number }>
  if (status === undefined || status < 400 || status >= 500) return undefined
  const code = status === 429 ? 'UNAVAILABLE' : 'INPUT_INVALID'
  const hint = status === 429 ? 'Ask less often; Retry-After says when.' : undefined
  return new StepError(code, message ?? 'the request is wrong', { hint, details: { status } })
}
