import type { Finished } from '../../api/runs.ts'
import { isErrorCode, StepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import type { QueueAccess } from '../queue/access.ts'
import { newEventId } from '../routes/routes.ts'
import { note, openLineWriter } from '../runs/lines.ts'
import type { Permission } from '../runs/permission.ts'
import type { RunRecord, RunRequest, RunSubject } from '../runs/run.ts'
import { needsHosts } from '../runs/steps.ts'
import type { RunStore } from '../runs/store.ts'
import type { ServerSettings } from '../settings/settings.ts'
import { type Leases, openLeases, type Place, type Seen } from './leases.ts'

/** Runs that agents carry out, in networks that let nobody in. */
export interface Agents {
  /** Names of the agents of an environment; undefined: runs there are the server's own. */
  of(run: Pick<RunRequest, 'app' | 'environment' | 'step'>): readonly string[] | undefined
  /** Where an agent may be asked to work. */
  placesOf(agent: string): Place[]
  names: readonly string[]
  leases: Leases
  /** Asked when a run is given away. */
  permission: Permission
  /** Offers a run, and says in its log when nobody is there to take it. */
  offer(run: RunRecord): Promise<void>
  /** What is missing for a run that waits: `waits for the agent production, last seen 3 min ago`. */
  look(run: RunRecord): Promise<string | undefined>
  plan(request: RunRequest, asker: Asker, signal: AbortSignal): Promise<MadePlan>
}

export interface Asker {
  subject: RunSubject
  /** Their ID token, for the agent to check. */
  jobToken: string | undefined
}

interface MadePlan {
  hash: string
  facts: Record<string, unknown>
}

export function openAgents(
  settings: Pick<ServerSettings, 'applications' | 'queue'>,
  access: QueueAccess,
  { store, permission }: { store: Pick<RunStore, 'find'>; permission: Permission },
): Agents {
  const leases = openLeases(access, settings.queue['stalled-timeout'])
  const places = placesOf(settings)
  const of: Agents['of'] = (run) => agentsOf(settings, run)
  const names = [...new Set(places.flatMap(({ agents }) => agents))]
  const look: Agents['look'] = async (run) => {
    if (run.finished) return undefined
    return missing(of(run) ?? [], await leases.seen(), Date.now())
  }
  return {
    of,
    names,
    leases,
    permission,
    look,
    placesOf: (agent) => places.filter(({ agents }) => agents.includes(agent)),
    async offer(run) {
      const why = await look(run)
      if (why !== undefined) {
        const lines = openLineWriter(access, run.id)
        lines.add(note(why))
        await lines.end()
      }
      await leases.offer(run)
    },
    plan: (request, asker, signal) => plan(request, asker, signal, { leases, store, look }),
  }
}

type AgentPlace = Place & { agents: readonly string[] }

function placesOf({ applications }: Pick<ServerSettings, 'applications'>): AgentPlace[] {
  return Object.entries(applications).flatMap(([app, { environments }]) =>
    Object.entries(environments).flatMap(([environment, { agent }]) =>
      agent === undefined ? [] : [{ app, environment, agents: agent }],
    ),
  )
}

/** The agents of a run; undefined: it is the server's own, as what needs no host is everywhere. */
export function agentsOf(
  settings: Pick<ServerSettings, 'applications'>,
  { app, environment, step }: Pick<RunRequest, 'app' | 'environment' | 'step'>,
): readonly string[] | undefined {
  if (!needsHosts(step)) return undefined
  const isThere = (place: Place) => place.app === app && place.environment === environment
  return placesOf(settings).find(isThere)?.agents
}

export const hasAgents = (settings: Pick<ServerSettings, 'applications'>) =>
  placesOf(settings).length > 0

/** Milliseconds without a sign of life after which an agent counts as away. */
export const AWAY = 15_000

export const isConnected = (seen: Seen | undefined, now: number) =>
  seen !== undefined && now - seen.at < AWAY

function missing(
  agents: readonly string[],
  seen: ReadonlyMap<string, Seen>,
  now: number,
): string | undefined {
  if (agents.some((name) => isConnected(seen.get(name), now))) return undefined
  const last = Math.max(...agents.map((name) => seen.get(name)?.at ?? 0))
  const when = last > 0 ? `last seen ${agoText(now - last)} ago` : 'which was never seen here'
  const who = agents.length === 0 ? 'an agent' : `the agent ${agents.join(' or ')}`
  return `waits for ${who}, ${when}`
}

function agoText(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000)
  if (seconds < 120) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`
}

const PLAN_TIMEOUT = 3 * 60_000
const POLL = 200

/** A plan is asked for like a run, which is in no list; whoever asked waits for it. */
async function plan(
  request: RunRequest,
  { subject, jobToken }: Asker,
  signal: AbortSignal,
  { leases, store, look }: Pick<Agents, 'leases' | 'look'> & { store: Pick<RunStore, 'find'> },
): Promise<MadePlan> {
  const id = newEventId(Date.now())
  const none = {
    startedAt: undefined,
    finishedAt: undefined,
    finished: undefined,
    cancel: undefined,
  }
  // Who asks has just been asked who they are.
  const credential = { kind: 'session', id: '' } as const
  const known = { ...request, id, subject, credential, queuedAt: Date.now() }
  const run: RunRecord = { ...known, kind: 'plan', ...none }
  const away = await look(run)
  if (away !== undefined) throw notThere(request, away)
  if (jobToken !== undefined) await leases.keepToken(id, jobToken)
  await leases.offerPlan(run)
  const end = Date.now() + PLAN_TIMEOUT
  try {
    for (;;) {
      const found = await store.find(id)
      if (found?.finished) return planOf(found.finished)
      if (Date.now() > end) throw notThere(request, (await look(run)) ?? 'waits for its agent')
      await wait(POLL, signal)
    }
  } finally {
    // Nobody waits for it any more.
    await leases.forgetPlan(id).catch(() => {})
  }
}

function planOf({ outputs, error }: Finished): MadePlan {
  if (error !== null) {
    const { code, message, hint, retryable } = error
    const known = isErrorCode(code) ? code : 'COMMAND_FAILED'
    throw new StepError(known, message, { hint: hint ?? undefined, retryable })
  }
  const { hash, facts } = (outputs ?? {}) as Partial<MadePlan>
  if (typeof hash !== 'string' || typeof facts !== 'object') {
    throw new StepError('INTERNAL', 'the plan of the agent cannot be read')
  }
  return { hash, facts }
}

function notThere({ app, environment }: Place, why: string): StepError {
  return new StepError('UNAVAILABLE', `the plan of ${app} in ${environment} ${why}`, {
    hint: 'Start the agent there; `GET agents` lists them.',
  })
}
