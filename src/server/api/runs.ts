import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  cancelRequest,
  IDEMPOTENCY_KEY,
  idempotencyKey,
  type Run,
  type RunRequest as RunBody,
  runRequest,
} from '../../api/runs.ts'
import { StepError } from '../../core/errors.ts'
import { newEventId } from '../routes/routes.ts'
import type { RunRecord, RunRequest } from '../runs/run.ts'
import { unknownRun } from '../runs/runs.ts'
import { readRequest } from '../runs/steps.ts'
import { type RequestKey, runAnswer, subjectKey } from '../runs/store.ts'
import { sha256Hex } from '../sources/source.ts'
import { callerOf, mayView, record, requireAllowed } from './access.ts'
import type { ApiDependencies } from './dependencies.ts'
import { signalOf } from './plans.ts'
import { stalePlan } from './problems.ts'
import { bodyOf, pageQuery, parseRequest, runPath } from './requests.ts'
import { recordStep, requireStep, subjectOf } from './step-access.ts'

/** `POST runs`, and what became of them. */
export function addRunRoutes(api: FastifyInstance, dependencies: ApiDependencies): void {
  const { runs, decide, audit } = dependencies
  const access = { decide, audit }
  api.post('/runs', async (request, reply) => {
    const run = await createRun(request, reply, dependencies)
    return reply.code(202).header('location', `/api/v1/runs/${run}`).send({ run })
  })
  api.get('/runs', async (request) => {
    const { limit, cursor } = parseRequest(pageQuery, request.query)
    const items: Run[] = []
    let before = cursor
    for (let look = 0; look < MOST_LOOKS; look++) {
      const page = await runs.list(before, PAGE)
      for (const run of page.runs) {
        if (!mayView(request, run.app, run.environment, access)) continue
        items.push(runAnswer(run))
        if (items.length === limit) return { items, next: run.id }
      }
      before = page.next
      if (before === undefined) break
    }
    return { items, next: before ?? null }
  })
  api.get('/runs/:id', async (request) => runAnswer(await visibleRun(request, dependencies)))
  api.post('/runs/:id/cancel', async (request, reply) => {
    const { reason } = bodyOf(cancelRequest, request)
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

const PAGE = 100
const MOST_LOOKS = 20

/** A run that the caller may view; any other one is not there. */
export async function visibleRun(
  request: FastifyRequest,
  { runs, decide, audit }: ApiDependencies,
): Promise<RunRecord> {
  const { id } = parseRequest(runPath, request.params)
  const run = await runs.find(id)
  if (run && mayView(request, run.app, run.environment, { decide, audit })) return run
  throw unknownRun(id)
}

async function createRun(
  request: FastifyRequest,
  reply: FastifyReply,
  dependencies: ApiDependencies,
): Promise<string> {
  const { runs, applications, decide, audit } = dependencies
  const access = { decide, audit }
  const body = bodyOf(runRequest, request)
  const { subject, idToken } = callerOf(request)
  const key = keyOf(request, body)
  const plan = 'plan' in body ? await ownPlan(body.plan, request, dependencies) : undefined
  const wanted: RunRequest = plan?.request ?? readRequest(body as Parameters<typeof readRequest>[0])
  const allowed = await requireStep(request, wanted, { access, applications })
  const known = key && (await runs.findRequest(subject, key))
  if (known !== undefined) return known
  if (plan) {
    const now = await runs.plan(wanted, subject, signalOf(reply), idToken)
    if (now.hash !== plan.hash) throw stalePlan(now)
  }
  const id = newEventId(Date.now())
  await recordStep(request, allowed, { plan: plan?.plan, run: id }, access)
  const seen = { plan: plan?.plan, planHash: plan?.hash }
  return runs.create(id, { ...wanted, ...seen, subject: keptSubject(subject) }, key, idToken)
}

function keyOf({ headers }: FastifyRequest, body: RunBody): RequestKey | undefined {
  const given = headers[IDEMPOTENCY_KEY]
  if (given === undefined) return undefined
  const key = parseRequest(idempotencyKey, given)
  return { key, fingerprint: sha256Hex(JSON.stringify(sorted(body))) }
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

/** Without what is not the run's: limits of a token are checked when it asks. */
function keptSubject(subject: RunRecord['subject']): RunRecord['subject'] {
  const { kind, name, by, byId, identity, names, claims, presented } = subject
  return { kind, name, by, byId, identity, names, claims, presented }
}
