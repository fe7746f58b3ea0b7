import type { FastifyInstance, FastifyReply } from 'fastify'
import { readRequest } from '../runs/steps.ts'
import type { ApiDependencies } from './dependencies.ts'
import { operations } from './operations.ts'
import { planAnswer } from './problems.ts'
import { recordStep, requireStep, subjectOf } from './step-access.ts'
import { withTypes } from './typed.ts'

/** `POST plans`: what a step would do. */
export function addPlanRoutes(
  api: FastifyInstance,
  { runs, applications, decide, audit }: ApiDependencies,
): void {
  const access = { decide, audit }
  withTypes(api).post('/plans', { schema: operations.makePlan }, async (request, reply) => {
    const wanted = readRequest(request.body)
    const allowed = await requireStep(request, wanted, { access, applications })
    const plan = await runs.plan(wanted, subjectOf(request), signalOf(reply))
    await recordStep(request, allowed, { plan: plan.plan }, access)
    return planAnswer(plan)
  })
}

/** Fires when whoever asked is gone, or has the answer. */
export function signalOf({ raw }: Pick<FastifyReply, 'raw'>): AbortSignal {
  const gone = new AbortController()
  raw.once('close', () => gone.abort())
  return gone.signal
}
