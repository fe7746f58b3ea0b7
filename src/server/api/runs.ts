import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { IDEMPOTENCY_KEY, type Run } from '../../api/runs.ts'
import { StepError } from '../../core/errors.ts'
import { newEventId } from '../routes/routes.ts'
import type { RunBody, StepBody } from '../runs/requests.ts'
import type { RunRecord, RunRequest } from '../runs/run.ts'
import { unknownRun } from '../runs/runs.ts'
import { readRequest } from '../runs/steps.ts'
import { type RequestKey, runAnswer, subjectKey } from '../runs/store.ts'
import { sha256Hex } from '../sources/source.ts'
import { callerOf, mayView, record, requireAllowed, visibility } from './access.ts'
import { operations } from './contract/operations.ts'
import { parseRequest, runPath } from './contract/requests.ts'
import { withTypes } from './contract/typed.ts'
import type { ApiDependencies } from './dependencies.ts'
import { askerOf } from './plans.ts'
import { stalePlan } from './problems.ts'
import { recordStep, requireStep, subjectOf } from './step-access.ts'

/** `POST runs`, and what became of them. */
export function addRunRoutes(plain: FastifyInstance, dependencies: ApiDependencies): void {
  const api = withTypes(plain)
  const { runs, decide, audit } = dependencies
  const access = { decide, audit }
  api.post('/runs', { schema: operations.startRun }, async (request, reply) => {
    const run = await createRun(request.body, request, reply, dependencies)
    return reply.code(202).header('location', `/api/v1/runs/${run}`).send({ run })
  })
  api.get('/runs', { schema: operations.listRuns }, async (request) => {
    const { limit, cursor } = request.query
    const sees = visibility(request, access)
    const isVisible = (app: string, environment: string) => sees('view', app, environment)
    const { runs: found, next } = await runs.list({ before: cursor, limit, isVisible })
    const items = found.map((run) => answerOf(run, sees))
    return { items, next: next ?? null }
  })
  api.get('/runs/:id', { schema: operations.readRun }, async (request) =>
    answerOf(await visibleRun(request, dependencies), visibility(request, access)),
  )
  api.post('/runs/:id/cancel', { schema: operations.cancelRun }, async (request, reply) => {
    const { reason } = request.body
    const run = await visibleRun(request, dependencies)
    const { id, app, environment } = run
    const act = { verb: 'cancel', app, environment, run: id, object: { reason } } as const
    const decision = await requireAllowed(request, act, access)
    if (run.finished && run.cancel === undefined) {
      throw new StepError('CONFLICT', `run ${id} is over: it ${run.finished.outcome}`)
    }
    await record(request, act, decision, access)
    await runs.cancel(id, { by: subjectOf(request).name, reason })
    return reply.code(202).send({ run: id })
  })
}

const answerOf = (run: RunRecord, sees: ReturnType<typeof visibility>): Run =>
  runAnswer(run, { showsOutput: sees('logs', run.app, run.environment) })

/** A run that the caller may view; any other one is not there. */
export async function visibleRun(
  request: FastifyRequest,
  { runs, decide }: ApiDependencies,
): Promise<RunRecord> {
  const { id } = parseRequest(runPath, request.params)
  const run = await runs.find(id)
  if (run && mayView(request, run.app, run.environment, { decide })) return run
  throw unknownRun(id)
}

async function createRun(
  body: RunBody,
  request: FastifyRequest,
  reply: FastifyReply,
  dependencies: ApiDependencies,
): Promise<string> {
  const { runs, applications, decide, audit } = dependencies
  const access = { decide, audit }
  const subject = subjectOf(request)
  const key = keyOf(request, body)
  const plan = 'plan' in body ? await ownPlan(body.plan, request, dependencies) : undefined
  const wanted: RunRequest = plan?.request ?? readRequest(body as StepBody)
  const allowed = await requireStep(request, wanted, { access, applications })
  const known = key && (await runs.findRequest(subject, key))
  if (known !== undefined) return known
  if (plan) {
    const now = await runs.plan(wanted, askerOf(request, reply))
    if (now.hash !== plan.hash) throw stalePlan(now)
  }
  const id = newEventId(Date.now())
  await recordStep(request, allowed, { plan: plan?.plan, run: id }, access)
  const seen = { plan: plan?.plan, planHash: plan?.hash }
  const { idToken } = body as { idToken?: string }
  const { credential, jobToken } = callerOf(request)
  const more = { ...seen, idToken, jobToken, credential, subject: keptSubject(subject) }
  return runs.create(id, { ...wanted, ...more }, key)
}

function keyOf({ headers }: FastifyRequest, body: RunBody): RequestKey | undefined {
  const key = headers[IDEMPOTENCY_KEY]
  if (typeof key !== 'string') return undefined
  // A job that asks again may have a token of its own for it.
  const { idToken: _token, ...asked } = body as RunBody & { idToken?: string }
  return { key, fingerprint: sha256Hex(JSON.stringify(sorted(asked))) }
}

/** The same document has the same text. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => [key, sorted(item)] as const)
  return entries.sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Somebody else's plan is not there: a plan is what its own reader has seen. */
async function ownPlan(id: string, request: FastifyRequest, { runs }: ApiDependencies) {
  const plan = await runs.findPlan(id)
  if (plan && plan.subject === subjectKey(subjectOf(request))) return plan
  throw new StepError('NOT_FOUND', `there is no plan ${id}`, {
    hint: 'Plans are kept for fifteen minutes; make a new one.',
  })
}

/** Without what is not the run's: the limits of a token are those that it has when the run begins. */
function keptSubject(subject: RunRecord['subject']): RunRecord['subject'] {
  const { kind, name, by, byId, identity, names, claims, presented } = subject
  return { kind, name, by, byId, identity, names, claims, presented }
}
