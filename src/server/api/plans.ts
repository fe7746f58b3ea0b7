import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { PlanAsker } from '../runs/planner.ts'
import { readRequest } from '../runs/steps.ts'
import { callerOf } from './access.ts'
import { operations } from './contract/operations.ts'
import { withTypes } from './contract/typed.ts'
import type { ApiDependencies } from './dependencies.ts'
import { planAnswer } from './problems.ts'
import { recordStep, requireStep } from './step-access.ts'

/** `POST plans`: what a step would do. */
export function addPlanRoutes(
  api: FastifyInstance,
  { runs, applications, decide, audit }: ApiDependencies,
): void {
  const access = { decide, audit }
  withTypes(api).post('/plans', { schema: operations.makePlan }, async (request, reply) => {
    const wanted = readRequest(request.body)
    const allowed = await requireStep(request, wanted, { access, applications })
    const plan = await runs.plan(wanted, askerOf(request, reply))
    await recordStep(request, allowed, { plan: plan.plan }, access)
    return planAnswer(plan)
  })
}

/** Who asks for a plan, until they are gone or have the answer. */
export function askerOf(request: FastifyRequest, reply: FastifyReply): PlanAsker {
  const { subject, jobToken } = callerOf(request)
  return { subject, jobToken, address: request.ip, signal: signalOf(reply) }
}

/** Fires when whoever asked is gone, or has the answer. */
export function signalOf({ raw }: Pick<FastifyReply, 'raw'>): AbortSignal {
  const gone = new AbortController()
  raw.once('close', () => gone.abort())
  // They may be gone already: then there is no such event any more.
  if (raw.destroyed) gone.abort()
  return gone.signal
}
