import { randomBytes } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import { redisFault } from '../../config/redis-faults.ts'
import { StepError } from '../../core/errors.ts'
import type { EventFacts } from '../event.ts'
import { sha256Hex } from '../sources/source.ts'
import { type ScriptName, scripts, scriptText } from './scripts.ts'

/** `superseded` by a newer one, `dropped` by hand; `dead` ones wait for a person. */
export const states = ['waiting', 'running', 'done', 'dead', 'superseded', 'dropped'] as const
export type EventState = (typeof states)[number]

/** Where an event is worked on: calls to other servers, or commands here. */
export const queueNames = ['calls', 'runs'] as const
export type QueueName = (typeof queueNames)[number]

/** An event that a route asked for, as it is kept. Times are milliseconds since 1970. */
export interface EventRecord {
  id: string
  state: EventState
  route: string
  lane: string
  queue: QueueName
  facts: EventFacts
  received: number
  attempts: number
  begun: number | undefined
  next: number | undefined
  ended: number | undefined
  text: string | undefined
  url: string | undefined
  error: string | undefined
}

/** What a delivery asks for, one for each route that wants it. */
export interface Wanted {
  id: string
  route: string
  lane: string
  queue: QueueName
  supersede: boolean
  facts: EventFacts
}

export interface Taking {
  /** Deduplicated on this; from outside. */
  delivery: string
  /** Whose it is, where the same content must not come under another name. */
  whose: string
  wanted: readonly Wanted[]
}

export type Taken =
  | {
      answer: 'new'
      superseded: string[]
      /** Events whose lanes nobody works on: they need a ticket. */
      idle: string[]
    }
  | { answer: 'duplicate' }
  | { answer: 'replayed' }

/** A turn of a lane: what its worker shall do now. */
export type Turn =
  | { do: 'nothing' }
  | { do: 'wait'; until: number }
  | {
      do: 'run'
      id: string
      route: string
      facts: EventFacts
      attempts: number
      begun: number | undefined
      /** When a person asked for it anew. */
      revived: number | undefined
    }

/** Who works on a lane: a ticket of the queue, and this run of it. */
export interface Owner {
  lane: string
  ticket: string
  run: string
}

export interface Ending {
  state: 'done' | 'dead'
  text: string
  url: string
  error: string
}

export interface EventStore {
  take(taking: Taking): Promise<Taken>
  claim(owner: Owner): Promise<Turn>
  /** Gives the lane's next turn; `lost` when somebody else took the lane over meanwhile. */
  finish(owner: Owner, id: string, ending: Ending): Promise<Turn | { do: 'lost' }>
  /** Back to waiting, at the head of its lane; `counts` as an attempt or not. */
  postpone(
    owner: Owner,
    id: string,
    until: number,
    error: string,
    counts: boolean,
  ): Promise<boolean>
  find(id: string): Promise<EventRecord | undefined>
  /** Newest first. */
  list(state: EventState, limit: number): Promise<EventRecord[]>
  count(state: EventState): Promise<number>
  /** When the oldest waiting one came in. */
  oldest(): Promise<number | undefined>
  /** From dead, dropped or superseded to waiting; the lane then needs a ticket. */
  revive(id: string): Promise<{ lane: string; queue: QueueName }>
  drop(id: string, why: string): Promise<void>
  /** Lanes that are not empty, with the owner of each and the queue it is worked on in. */
  lanes(): AsyncIterable<{ lane: string; owner: string | undefined; queue: QueueName }>
  /** Takes a lane from an owner whose ticket is gone. */
  disown(lane: string, owner: string): Promise<boolean>
}

export interface EventStoreOptions {
  /** Of the server's Redis, for messages. */
  server: string
  /** Servers with the same name share the events. */
  name: string
  /** Milliseconds. */
  remember: number
  keep: number
}

/** Sorts by time of arrival; unguessable, as it is what marks a pipeline as ours. */
export function newEventId(now: number): string {
  return `${now.toString(36).padStart(9, '0')}${randomBytes(6).toString('hex')}`
}

/** Of one route, and of one project and branch: what is done in the order it came in. */
export function laneOf(route: string, facts: EventFacts): string {
  const { project, ref, kind } = facts
  return sha256Hex(JSON.stringify([route, project, kind === 'tag' ? 'tag' : 'branch', ref])).slice(
    0,
    32,
  )
}

/** All keys of one name share a slot of a cluster. */
export const keyPrefix = (name: string): string => `{crosscloud:${name}}`

type Client = Redis | Cluster
type Scripted = Record<ScriptName, (...given: (string | number)[]) => Promise<unknown>>

export function createEventStore(client: Client, options: EventStoreOptions): EventStore {
  const { remember, keep, server } = options
  const base = `${keyPrefix(options.name)}:`
  const run = scriptsOf(client, base)
  const ask = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw redisFault(server, error)
    }
  }
  const redis = client as Redis
  const find = async (id: string) => fromHash(id, await redis.hgetall(`${base}event:${id}`))
  return {
    take: ({ delivery, whose, wanted }) =>
      ask(async () => {
        const events = wanted.flatMap(({ id, route, lane, queue, supersede, facts }) => [
          ...[id, route, lane, queue, supersede ? 1 : 0],
          JSON.stringify({ ...facts, paths: undefined }),
        ])
        const seen = sha256Hex(delivery)
        const answer = await run.accept(
          Date.now(),
          remember,
          seen,
          sha256Hex(whose),
          keep,
          ...events,
        )
        const [said, superseded, idle] = answer as [string, string[], string[]]
        if (said === 'new') return { answer: 'new', superseded, idle }
        return { answer: said === 'replayed' ? 'replayed' : 'duplicate' }
      }),
    claim: ({ lane, ticket, run: turn }) =>
      ask(async () => turnOf((await run.claim(lane, ticket, turn, Date.now())) as string[])),
    finish: ({ lane, ticket, run: turn }, id, { state, text, url, error }) =>
      ask(async () => {
        const given = [lane, `${ticket}/${turn}`, id, state, Date.now(), keep, text, url, error]
        const answer = (await run.finish(...given)) as string[]
        return answer[0] === 'lost' ? { do: 'lost' } : turnOf(answer)
      }),
    postpone: ({ lane, ticket, run: turn }, id, until, error, counts) =>
      ask(async () => {
        const given = [lane, `${ticket}/${turn}`, id, until, error, counts ? 1 : 0]
        return (await run.postpone(...given)) === 'done'
      }),
    find: (id) => ask(() => find(id)),
    list: (state, limit) =>
      ask(async () => {
        const ids = await redis.zrevrange(`${base}state:${state}`, 0, limit - 1)
        const found = await Promise.all(ids.map(find))
        return found.filter((one) => one !== undefined)
      }),
    count: (state) => ask(() => redis.zcard(`${base}state:${state}`)),
    oldest: () =>
      ask(async () => {
        const [id] = await redis.zrange(`${base}state:waiting`, '0', '0')
        return id === undefined
          ? id
          : numberOf((await redis.hget(`${base}event:${id}`, 'received')) ?? '')
      }),
    revive: (id) =>
      ask(async () => {
        const [said, one = '', two = ''] = (await run.revive(id, Date.now())) as string[]
        if (said !== 'done') throw cannot('retry', id, said, one)
        return { lane: one, queue: two as QueueName }
      }),
    drop: (id, why) =>
      ask(async () => {
        const [said, state = ''] = (await run.drop(id, Date.now(), keep, why)) as string[]
        if (said !== 'done') throw cannot('drop', id, said, state)
      }),
    lanes: () => lanesOf(redis, base),
    disown: (lane, owner) => ask(async () => (await run.disown(lane, owner)) === 1),
  }
}

/** ioredis sends a script's hash, and its text only when Redis does not know it. */
function scriptsOf(client: Client, base: string): Scripted {
  const names = Object.keys(scripts) as ScriptName[]
  for (const name of names) {
    client.defineCommand(`crosscloud_${name}`, { numberOfKeys: 1, lua: scriptText(name) })
  }
  const commands = client as unknown as Record<string, (...given: unknown[]) => Promise<unknown>>
  return Object.fromEntries(
    names.map((name) => [
      name,
      (...given: (string | number)[]) => commands[`crosscloud_${name}`]?.(base, ...given),
    ]),
  ) as Scripted
}

function turnOf(answer: string[]): Turn {
  const [what, first = '', route = '', facts = '', attempts = '0', begun = '', revived = ''] =
    answer
  if (what === 'wait') return { do: 'wait', until: Number(first) }
  if (what !== 'run') return { do: 'nothing' }
  return {
    ...{ do: 'run', id: first, route, facts: JSON.parse(facts) as EventFacts },
    attempts: Number(attempts),
    begun: numberOf(begun),
    revived: numberOf(revived),
  }
}

const numberOf = (text: string | undefined) => (text ? Number(text) : undefined)

function fromHash(id: string, hash: Record<string, string>): EventRecord | undefined {
  const { state, route = '', lane = '', queue, facts } = hash
  if (state === undefined || facts === undefined) return undefined
  return {
    ...{ id, state: state as EventState, route, lane, queue: queue as QueueName },
    facts: JSON.parse(facts) as EventFacts,
    received: Number(hash.received),
    attempts: Number(hash.attempts),
    begun: numberOf(hash.begun),
    next: numberOf(hash.next),
    ended: numberOf(hash.ended),
    text: hash.text || undefined,
    url: hash.url || undefined,
    error: hash.error || undefined,
  }
}

async function* lanesOf(redis: Redis, base: string) {
  let cursor = '0'
  do {
    const [next, lanes] = await redis.sscan(`${base}lanes`, cursor, 'COUNT', 200)
    cursor = next
    if (lanes.length === 0) continue
    const owners = await redis.hmget(`${base}owners`, ...lanes)
    for (const [index, lane] of lanes.entries()) {
      const head = await redis.lindex(`${base}lane:${lane}`, 0)
      const queue = head === null ? null : await redis.hget(`${base}event:${head}`, 'queue')
      yield { lane, owner: owners[index] ?? undefined, queue: (queue ?? 'calls') as QueueName }
    }
  } while (cursor !== '0')
}

const hints: Readonly<Record<string, string>> = {
  running: 'Wait until it is over.',
  waiting: 'It is tried again by itself.',
}

function cannot(what: string, id: string, said: string | undefined, state: string): StepError {
  if (said === 'unknown') {
    return new StepError('NOT_FOUND', `there is no event ${id}`, {
      hint: 'crosscloud events list shows those that are kept.',
    })
  }
  return new StepError(
    'CONFLICT',
    `event ${id} is ${state}: it cannot be ${what === 'drop' ? 'dropped' : 'retried'}`,
    {
      hint: hints[state],
    },
  )
}
