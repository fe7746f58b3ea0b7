import { z } from 'zod'
import { PROBLEM_TYPE, problem } from '../../../api/problem.ts'
import { planAnswer } from '../../../api/runs.ts'

/** An answer as a route declares it: Fastify, the types and openapi.json read it. */
export const answer = <Schema extends z.ZodType>(description: string, schema: Schema) => ({
  description,
  content: { 'application/json': { schema } },
})

export const nothing = (description: string) => ({ description, type: 'null' }) as const

export const events = (description: string) => ({
  description,
  content: { 'text/event-stream': { schema: z.string() } },
})

const refusal = (description: string) => ({
  description,
  content: { [PROBLEM_TYPE]: { schema: problem } },
})

/** Of a request that runs into the state of things; a plan that is stale comes with a new one. */
export const stalePlan = problem.extend({
  plan: planAnswer.optional().describe('With PLAN_STALE: the new plan'),
})

export const conflict = (description: string) => ({
  description,
  content: { [PROBLEM_TYPE]: { schema: stalePlan } },
})

const ofNobody = {
  400: refusal('The request is wrong; `detail` has a line for each problem'),
  500: refusal('An error of the server; its log has more'),
}

const any = {
  ...ofNobody,
  401: refusal('It is not known who asks'),
  429: refusal('Too many requests; Retry-After says when to come again'),
  503: refusal('Something that the server needs does not answer; Retry-After says when to try'),
}

/** By what a request may run into. */
export const refusals = {
  ofNobody,
  any,
  ofBody: {
    ...any,
    413: refusal('The body is too long'),
    415: refusal('The body is not application/json'),
  },
  ofName: { 404: refusal('It is not there, or the caller may not view it') },
  ofPolicy: {
    403: refusal('The policy does not allow it; `reasons` says why, `hint` who may'),
    404: refusal('It is not there, or the caller may not view it'),
  },
  ofSeen: {
    412: refusal('A key is not what was seen: `moved` has who changed it, and when'),
    428: refusal('It is not said what was seen: If-Match, or `was` or `tag` of each key'),
  },
  ofKey: { 422: refusal('The Idempotency-Key came with another body before') },
}
