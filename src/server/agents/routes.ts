import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { AgentInfo, Lease } from '../../api/agents.ts'
import type { Finished } from '../../api/runs.ts'
import { StepError, toStepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import { callerOf, mayView, record } from '../api/access.ts'
import { operations } from '../api/contract/operations.ts'
import { withTypes } from '../api/contract/typed.ts'
import type { ApiDependencies } from '../api/dependencies.ts'
import { askerOf } from '../api/plans.ts'
import { isRefusal } from '../runs/permission.ts'
import type { RunRecord } from '../runs/run.ts'
import { unknownRun } from '../runs/runs.ts'
import { type Agents, isConnected } from './agents.ts'
import type { Place, Taken } from './leases.ts'

/** Milliseconds that a request for a lease waits, and between two looks. */
const LONGEST_POLL = 25_000
const PAUSE = 300
/** How old the known head of a branch may be, and how long it may take to ask. */
const NAMES_AGE = 30_000
const NAMES_TIMEOUT = 60_000
/** Of a report, in bytes: plans of many hosts are long. */
const LONGEST_REPORT = 16 * 1024 * 1024

/** What agents ask for, and what is asked of them. */
export function addAgentRoutes(plain: FastifyInstance, dependencies: ApiDependencies): void {
  const api = withTypes(plain)
  const closing = new AbortController()
  api.addHook('preClose', async () => closing.abort())
  api.post('/agents/lease', { schema: operations.takeLease }, async (request, reply) => {
    const known = withAgents(request, dependencies)
    const { signal: gone } = askerOf(request, reply)
    const signal = AbortSignal.any([gone, closing.signal])
    return { lease: (await pollLease(request, request.body.version, signal, known)) ?? null }
  })
  const report = { schema: operations.reportRun, bodyLimit: LONGEST_REPORT }
  api.post('/agents/runs/:id', report, async (request) => {
    const known = withAgents(request, dependencies)
    const { name, places } = requireAgent(request, known)
    const { id } = request.params
    const run = await known.runs.find(id)
    if (run === undefined || !isAmong(run, places)) throw unknownRun(id)
    return { cancel: (await known.agents.leases.report(id, name, request.body)) ?? null }
  })
  api.get('/agents', { schema: operations.listAgents }, async (request) => {
    const { agents } = dependencies
    const items = agents ? await listAgents(request, { ...dependencies, agents }) : []
    return { items, next: null }
  })
}

function withAgents(request: FastifyRequest, dependencies: ApiDependencies): WithAgents {
  const { agents } = dependencies
  if (agents) return { ...dependencies, agents }
  const { name } = callerOf(request).subject
  throw new StepError('FORBIDDEN', `${name} is no agent: this server has none`, {
    hint: 'docs/agents.md sets one up.',
  })
}

type WithAgents = ApiDependencies & { agents: Agents }

/** Held open until there is something to do: an agent lets nobody in, and asks. */
async function pollLease(
  request: FastifyRequest,
  version: string,
  signal: AbortSignal,
  dependencies: WithAgents,
): Promise<Lease | undefined> {
  const { agents } = dependencies
  const end = Date.now() + LONGEST_POLL
  while (!signal.aborted) {
    const { name, places } = requireAgent(request, dependencies)
    const taken = await agents.leases.take(name, version, places)
    if (taken) {
      // Nobody is there to have it: another one need not wait until it is over.
      if (signal.aborted) await agents.leases.report(taken.run, name, released(taken.fence))
      else if (await isAllowed(taken, name, dependencies)) {
        return leaseOf(request, taken, dependencies)
      }
    }
    if (Date.now() > end) return undefined
    await wait(PAUSE, signal).catch(() => {})
  }
  return undefined
}

const nothing = { from: 0, lines: [], started: false, release: false }
const released = (fence: number) => ({ ...nothing, fence, release: true })

/** A run that waited is decided again, as where the server carries it out. */
async function isAllowed(
  { run: id, fence }: Taken,
  agent: string,
  { agents, runs, applications }: WithAgents,
): Promise<boolean> {
  const run = await runs.find(id)
  // Whoever asks for a plan has just been asked who they are; what has begun goes on.
  if (run === undefined || run.kind === 'plan' || run.startedAt !== undefined) return true
  const { leases, permission } = agents
  try {
    const signal = AbortSignal.timeout(NAMES_TIMEOUT)
    const { settings } = await applications.open(run.app, signal, NAMES_AGE)
    await permission(run, settings)
    return true
  } catch (thrown) {
    const error = toStepError(thrown)
    if (!isRefusal(error)) {
      await leases.report(id, agent, released(fence))
      throw error
    }
    await leases.report(id, agent, { ...nothing, fence, finished: refusedEnd(error) })
    return false
  }
}

const refusedEnd = ({ code, message, hint, retryable, exitCode }: StepError): Finished => ({
  ...{ outcome: 'refused', outputs: null, exitCode },
  error: { code, message, hint, retryable },
})

/** Recorded before it is given away. */
async function leaseOf(
  request: FastifyRequest,
  { run: id, fence }: Taken,
  { agents, runs, decide, audit }: WithAgents,
): Promise<Lease> {
  const run = await runs.find(id)
  if (run === undefined) throw unknownRun(id)
  const { app, environment, step, inputs, planHash = null, kind = 'run', startedAt } = run
  const act = { verb: 'agent', app, environment, run: id, object: { step } } as const
  await record(request, act, decide(callerOf(request).subject, act), { audit })
  return {
    ...{ run: id, kind, app, step, environment, inputs, planHash, fence, term: agents.leases.term },
    again: startedAt !== undefined,
    token: (await agents.leases.findToken(id)) ?? null,
    by: run.subject.name,
  }
}

/** The agent that asks, and where its token, the policy and the settings let it work. */
function requireAgent(
  request: FastifyRequest,
  { agents, decide }: WithAgents,
): { name: string; places: Place[] } {
  const { subject, via, bound } = callerOf(request)
  const name = subject.by.replace(/^token:/, '')
  if (via !== 'token' || bound !== true) {
    throw new StepError('FORBIDDEN', `${subject.name} is no agent`, {
      hint: 'An agent has an API token with the verb agent that is bound to its key: docs/agents.md.',
    })
  }
  const places = agents
    .placesOf(name)
    .filter(({ app, environment }) => decide(subject, { verb: 'agent', app, environment }).allowed)
  if (places.length > 0) return { name, places }
  throw new StepError('FORBIDDEN', `nothing is to be carried out by the agent ${name}`, {
    hint: `It takes \`agent: ${name}\` of an environment in crosscloud.server.yml, a grant with the verb agent for token:${name}, and the same in the token.`,
  })
}

const isAmong = (run: Pick<RunRecord, 'app' | 'environment'>, places: readonly Place[]) =>
  places.some(({ app, environment }) => app === run.app && environment === run.environment)

/** As far as the caller may view where they work. */
async function listAgents(
  request: FastifyRequest,
  { agents, decide }: WithAgents,
): Promise<AgentInfo[]> {
  const seen = await agents.leases.seen()
  const now = Date.now()
  return agents.names.flatMap((name) => {
    const places = agents
      .placesOf(name)
      .filter(({ app, environment }) => mayView(request, app, environment, { decide }))
      .map(({ app, environment }) => ({ app, environment }))
    const last = seen.get(name)
    const lastSeen = last ? new Date(last.at).toISOString() : null
    const info = { name, places, lastSeen, version: last?.version ?? null }
    return places.length === 0 ? [] : [{ ...info, connected: isConnected(last, now) }]
  })
}
