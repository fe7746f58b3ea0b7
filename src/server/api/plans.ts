import type { FastifyInstance, FastifyReply } from 'fastify'
import { planRequest } from '../../api/runs.ts'
import { readRequest } from '../runs/steps.ts'
import { callerOf } from './access.ts'
import type { ApiDependencies } from './dependencies.ts'
import { planAnswer } from './problems.ts'
import { bodyOf } from './requests.ts'
import { recordStep, requireStep } from './step-access.ts'

/** `POST plans`: what a step would do. */
export function addPlanRoutes(
  api: FastifyInstance,
  { runs, applications, decide, audit }: ApiDependencies,
): void {
  const access = { decide, audit }
  api.post('/plans', async (request, reply) => {
    const wanted = readRequest(bodyOf(planRequest, request))
    const allowed = await requireStep(request, wanted, { access, applications })
    const { subject, idToken } = callerOf(request)
    const plan = await runs.plan(wanted, subject, signalOf(reply), idToken)
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
