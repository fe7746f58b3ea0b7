import { randomBytes } from 'node:crypto'
import type { Finished, Run } from '../../api/runs.ts'
import { StepError } from '../../core/errors.ts'
import type { QueueAccess } from '../queue/access.ts'
import { CREATE, FINISH, KEPT, KEY_KEPT, MOST_RUNS, PLAN_KEPT, runKeys, START } from './keys.ts'
import type { Cancellation, RunRecord, RunRequest, RunSubject } from './run.ts'

/** A plan that somebody was shown, until it expires. */
export interface StoredPlan {
  plan: string
  /** Whose it is: only they may run it. */
  subject: string
  request: RunRequest
  hash: string
  facts: Record<string, unknown>
  /** ISO 8601, UTC. */
  expiresAt: string
}

export type NewRun = Pick<
  RunRecord,
  'app' | 'step' | 'environment' | 'inputs' | 'subject' | 'credential' | 'plan' | 'planHash'
>

/** An Idempotency-Key, and the body that came with it. */
export interface RequestKey {
  key: string
  fingerprint: string
}

export interface RunQuery {
  before: string | undefined
  limit: number
  isVisible(app: string, environment: string): boolean
}

/** Entries of the index that one request looks at: beyond it there is only a cursor. */
const PAGE = 200
const MOST_LOOKS = 5

export interface RunStore {
  /** Gives the run that an earlier request with the same key made; CONFLICT for another body. */
  create(id: string, run: NewRun, request: RequestKey | undefined): Promise<string>
  /** The run of an earlier request. */
  findRequest(subject: RunSubject, request: RequestKey): Promise<string | undefined>
  find(id: string): Promise<RunRecord | undefined>
  /** Newest first, those before a run of which somebody may see where they are. */
  list(query: RunQuery): Promise<{ runs: RunRecord[]; next: string | undefined }>
  /** Beside the run, until it is over. */
  keepToken(id: string, idToken: string): Promise<void>
  start(id: string): Promise<void>
  /** False when it had ended before. */
  finish(id: string, finished: Finished): Promise<boolean>
  cancel(id: string, cancellation: Cancellation): Promise<void>
  findCancel(id: string): Promise<Cancellation | undefined>
  keepPlan(plan: Omit<StoredPlan, 'plan' | 'expiresAt'>): Promise<StoredPlan>
  findPlan(id: string): Promise<StoredPlan | undefined>
}

/** Two jobs of one login are two askers. */
export const subjectKey = ({ kind, identity, by, name }: RunSubject): string =>
  JSON.stringify([kind, identity, by, name])

export function openRunStore({ redis, base, request: ask }: QueueAccess): RunStore {
  const keys = runKeys(base)
  const read = async (id: string) => {
    const { run, startedAt, finishedAt, finished, cancel, idToken } = await redis.hgetall(
      keys.run(id),
    )
    if (run === undefined) return undefined
    return {
      ...(JSON.parse(run) as Omit<RunRecord, 'startedAt' | 'finishedAt' | 'finished' | 'cancel'>),
      idToken,
      startedAt: startedAt === undefined ? undefined : Number(startedAt),
      finishedAt: finishedAt === undefined ? undefined : Number(finishedAt),
      finished: finished === undefined ? undefined : (JSON.parse(finished) as Finished),
      cancel: cancel === undefined ? undefined : (JSON.parse(cancel) as Cancellation),
    }
  }
  const readAll = async (ids: readonly string[]) =>
    (await Promise.all(ids.map(read))).filter((run) => run !== undefined)
  return {
    create: (id, run, request) =>
      ask(async () => {
        const known = await redis.eval(
          CREATE,
          4,
          keys.request(subjectKey(run.subject), request?.key ?? id),
          keys.run(id),
          keys.index,
          keys.events,
          request?.fingerprint ?? '',
          id,
          JSON.stringify({ ...run, id, queuedAt: Date.now() }),
          KEPT,
          KEY_KEPT,
          MOST_RUNS,
          `${id} ${run.app} ${run.environment}`,
        )
        return known === '' ? id : sameRequest(String(known), request)
      }),
    findRequest: (subject, request) =>
      ask(async () => {
        const known = await redis.get(keys.request(subjectKey(subject), request.key))
        return known === null ? undefined : sameRequest(known, request)
      }),
    find: (id) => ask(() => read(id)),
    list: ({ before, limit, isVisible }) =>
      ask(async () => {
        const ids: string[] = []
        let last = before
        for (let look = 0; look < MOST_LOOKS; look++) {
          const from = last === undefined ? '+' : `(${last}`
          const page = await redis.zrevrangebylex(keys.index, from, '-', 'LIMIT', 0, PAGE)
          for (const entry of page) {
            const [id = '', app = '', environment = ''] = entry.split(' ')
            last = id
            if (!isVisible(app, environment)) continue
            if (ids.push(id) === limit) return { runs: await readAll(ids), next: id }
          }
          if (page.length < PAGE) return { runs: await readAll(ids), next: undefined }
        }
        return { runs: await readAll(ids), next: last }
      }),
    keepToken: (id, idToken) =>
      ask(async () => void (await redis.hset(keys.run(id), 'idToken', idToken))),
    start: (id) =>
      ask(async () => void (await redis.eval(START, 2, keys.run(id), keys.events, Date.now()))),
    finish: (id, finished) =>
      ask(async () => {
        const places = [keys.run(id), keys.lines(id), keys.events]
        const text = JSON.stringify(finished)
        await redis.hdel(keys.run(id), 'idToken')
        return (await redis.eval(FINISH, 3, ...places, text, Date.now(), KEPT)) === 1
      }),
    cancel: (id, cancellation) =>
      ask(async () => {
        await redis.hsetnx(keys.run(id), 'cancel', JSON.stringify(cancellation))
      }),
    findCancel: (id) =>
      ask(async () => {
        const text = await redis.hget(keys.run(id), 'cancel')
        return text === null ? undefined : (JSON.parse(text) as Cancellation)
      }),
    keepPlan: (found) =>
      ask(async () => {
        const plan = randomBytes(12).toString('hex')
        const expiresAt = new Date(Date.now() + PLAN_KEPT).toISOString()
        const stored = { ...found, plan, expiresAt }
        await redis.set(keys.plan(plan), JSON.stringify(stored), 'PX', PLAN_KEPT)
        return stored
      }),
    findPlan: (id) =>
      ask(async () => {
        const text = await redis.get(keys.plan(id))
        return text === null ? undefined : (JSON.parse(text) as StoredPlan)
      }),
  }
}

function sameRequest(known: string, request: RequestKey | undefined): string {
  const [fingerprint, run = ''] = known.split(' ')
  if (fingerprint === request?.fingerprint) return run
  throw new StepError('INPUT_INVALID', 'this Idempotency-Key came with another request before', {
    hint: 'Use a new key for a new request; the same key only for the very same request.',
    details: { status: 422 },
  })
}

/** A run as clients see it: what a command said is for those who may read its log. */
export function runAnswer(run: RunRecord, { showsOutput }: { showsOutput: boolean }): Run {
  const { id, app, step, environment, inputs, subject, finished = null, waits = null } = run
  const moment = (at: number | undefined) => (at === undefined ? null : new Date(at).toISOString())
  const state = finished ? 'finished' : run.startedAt === undefined ? 'queued' : 'running'
  return {
    run: id,
    app,
    step,
    environment,
    inputs,
    by: subject.name,
    state,
    waits,
    queuedAt: new Date(run.queuedAt).toISOString(),
    startedAt: moment(run.startedAt),
    finishedAt: moment(run.finishedAt),
    finished: finished && (showsOutput ? finished : withoutOutput(finished, run)),
  }
}

/** The message of an error may have the last lines of a command or of an instance. */
function withoutOutput(finished: Finished, { step }: RunRecord): Finished {
  const { error, outcome } = finished
  if (error === null) return finished
  return { ...finished, error: { ...error, message: `${step} ${outcome}; its log says why` } }
}
