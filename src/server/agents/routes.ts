import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type AgentInfo, type Lease, leaseRequest, reportRequest } from '../../api/agents.ts'
import { StepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import { callerOf, mayView, record } from '../api/access.ts'
import type { ApiDependencies } from '../api/dependencies.ts'
import { signalOf } from '../api/plans.ts'
import { bodyOf, parseRequest, runPath } from '../api/requests.ts'
import type { RunRecord } from '../runs/run.ts'
import { unknownRun } from '../runs/runs.ts'
import { type Agents, isConnected } from './agents.ts'
import type { Place } from './leases.ts'

/** Milliseconds that a request for a lease waits, and between two looks. */
const LONGEST_POLL = 25_000
const PAUSE = 300
/** Of a report, in bytes: plans of many hosts are long. */
const LONGEST_REPORT = 16 * 1024 * 1024

/** What agents ask for; without an agent in the settings none of it is there. */
export function addAgentRoutes(api: FastifyInstance, dependencies: ApiDependencies): void {
  const { agents } = dependencies
  if (agents === undefined) return
  const closing = new AbortController()
  api.addHook('preClose', async () => closing.abort())
  api.post('/agents/lease', async (request, reply) => {
    const { version } = bodyOf(leaseRequest, request)
    const signal = AbortSignal.any([signalOf(reply), closing.signal])
    return {
      lease: (await pollLease(request, version, signal, { ...dependencies, agents })) ?? null,
    }
  })
  api.post('/agents/runs/:id', { bodyLimit: LONGEST_REPORT }, async (request) => {
    const { id } = parseRequest(runPath, request.params)
    const report = bodyOf(reportRequest, request)
    const run = await dependencies.runs.find(id)
    const { name, places } = requireAgent(request, { ...dependencies, agents })
    if (run === undefined || !isAmong(run, places)) throw unknownRun(id)
    return { cancel: (await agents.leases.report(id, name, report)) ?? null }
  })
  api.get('/agents', async (request) => ({
    items: await listAgents(request, { ...dependencies, agents }),
  }))
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
      else return leaseOf(request, taken, dependencies)
    }
    if (Date.now() > end) return undefined
    await wait(PAUSE, signal).catch(() => {})
  }
  return undefined
}

const released = (fence: number) => ({ fence, from: 0, lines: [], started: false, release: true })

/** Recorded before it is given away. */
async function leaseOf(
  request: FastifyRequest,
  { run: id, fence }: { run: string; fence: number },
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
  { agents, decide, audit }: WithAgents,
): Promise<AgentInfo[]> {
  const seen = await agents.leases.seen()
  const now = Date.now()
  return agents.names.flatMap((name) => {
    const places = agents
      .placesOf(name)
      .filter(({ app, environment }) => mayView(request, app, environment, { decide, audit }))
      .map(({ app, environment }) => ({ app, environment }))
    const last = seen.get(name)
    const lastSeen = last ? new Date(last.at).toISOString() : null
    const info = { name, places, lastSeen, version: last?.version ?? null }
    return places.length === 0 ? [] : [{ ...info, connected: isConnected(last, now) }]
  })
}
