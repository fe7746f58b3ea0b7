import type { z } from 'zod'
import type { Lease, reportRequest } from '../../api/agents.ts'
import type { Finished } from '../../api/runs.ts'
import { StepError } from '../../core/errors.ts'
import type { QueueAccess } from '../queue/access.ts'
import { KEPT, MOST_LINES, PLAN_KEPT, runKeys } from '../runs/keys.ts'
import type { Cancellation, RunRecord } from '../runs/run.ts'
import { agentKeys, END_WAITING, REPORT, TAKE } from './scripts.ts'

type Report = z.output<typeof reportRequest>

/** Where runs are carried out by agents. */
export interface Place {
  app: string
  environment: string
}

/** When an agent was last seen, milliseconds since 1970, and its version. */
export interface Seen {
  at: number
  version: string
}

export interface Taken {
  run: string
  fence: number
}

export interface Leases {
  /** Milliseconds that one lasts after each report. */
  term: number
  /** To whichever agent comes first; the same run any number of times. */
  offer(run: RunRecord): Promise<void>
  /** The same of a plan that somebody waits for: it is in no list. */
  offerPlan(plan: RunRecord): Promise<void>
  /** Forgets a plan: whoever works on it is told that the lease is over. */
  forgetPlan(plan: string): Promise<void>
  /** Keeps the ID token of who asked for a run, until it is over or the token has expired. */
  keepToken(run: string, token: string): Promise<void>
  findToken(run: string): Promise<string | undefined>
  /** The first run for this agent there, of a lane that no other agent works on; it is seen by that. */
  take(agent: string, version: string, places: readonly Place[]): Promise<Taken | undefined>
  /** CONFLICT when another agent has the run by now, or it is over. */
  report(run: string, agent: string, report: Report): Promise<Cancellation | undefined>
  /** Ends a run that no agent has begun or holds; false for any other one. */
  endWaiting(run: string, finished: Finished): Promise<boolean>
  seen(): Promise<ReadonlyMap<string, Seen>>
}

export function openLeases({ redis, base, request }: QueueAccess, term: number): Leases {
  const keys = { ...runKeys(base), ...agentKeys(base) }
  return {
    term,
    offer: ({ id, kind, app, environment }) =>
      request(async () => {
        await redis.hset(keys.run(id), 'lane', laneOf(kind, { app, environment }))
        await redis.zadd(keys.open, 0, id)
      }),
    offerPlan: (plan) =>
      request(async () => {
        const key = keys.run(plan.id)
        await redis.hset(key, { run: JSON.stringify(plan), lane: laneOf(plan.kind, plan) })
        await redis.pexpire(key, PLAN_KEPT)
        await redis.zadd(keys.open, 0, plan.id)
      }),
    forgetPlan: (plan) =>
      request(async () => {
        await redis.zrem(keys.open, plan)
        await redis.del(keys.run(plan), keys.lines(plan), keys.token(plan))
      }),
    keepToken: (run, token) =>
      request(async () => {
        const end = endOf(token)
        if (end > Date.now()) await redis.set(keys.token(run), token, 'PXAT', end)
      }),
    findToken: (run) => request(async () => (await redis.get(keys.token(run))) ?? undefined),
    take: (agent, version, places) =>
      request(async () => {
        const lanes = places.flatMap((place) => [laneOf('run', place), laneOf('plan', place)])
        const found = (await redis.eval(
          TAKE,
          2,
          ...[keys.open, keys.seen],
          ...[keys.run(''), agent, version, term, ...lanes],
        )) as [string, number] | []
        const [run, fence] = found
        return run === undefined || fence === undefined ? undefined : { run, fence }
      }),
    report: (run, agent, { fence, from, lines, started, finished, release }) =>
      request(async () => {
        const said = await redis.eval(
          REPORT,
          5,
          ...[keys.run(run), keys.lines(run), keys.open, keys.token(run), keys.seen],
          ...[run, fence, agent, term, MOST_LINES, KEPT, from],
          ...[started ? '1' : '', release ? '1' : '', finished ? JSON.stringify(finished) : ''],
          ...lines.map((line) => JSON.stringify(line)),
        )
        if (said === 'lost') throw lost(run)
        return said === '' ? undefined : (JSON.parse(String(said)) as Cancellation)
      }),
    endWaiting: (run, finished) =>
      request(async () => {
        const places = [keys.run(run), keys.lines(run), keys.open, keys.token(run)]
        const text = JSON.stringify(finished)
        return (await redis.eval(END_WAITING, 4, ...places, run, text, KEPT)) === 1
      }),
    seen: () =>
      request(async () => {
        const found = await redis.hgetall(keys.seen)
        const entries = Object.entries(found).map(([agent, text]) => {
          const [at = '', version = ''] = text.split(' ')
          return [agent, { at: Number(at), version }] as const
        })
        return new Map(entries)
      }),
  }
}

/** Plans do not wait for a deployment that runs. */
const laneOf = (kind: Lease['kind'] = 'run', { app, environment }: Place) =>
  `${kind} ${app} ${environment}`

/** What an ID token says of its end; 0 where it cannot be read. Its issuer has been asked before. */
function endOf(token: string): number {
  try {
    const [, payload = ''] = token.split('.')
    const { exp } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { exp?: unknown }
    return typeof exp === 'number' && Number.isSafeInteger(exp) ? exp * 1000 : 0
  } catch {
    return 0
  }
}

function lost(run: string): StepError {
  return new StepError('CONFLICT', `this lease of run ${run} is over: another agent may have it`, {
    hint: 'Stop what was begun: nothing more is taken of it.',
  })
}
