import type { Cluster, Redis } from 'ioredis'
import type { EventState, QueueName } from './event-record.ts'
import { type ScriptName, scripts, scriptText } from './scripts.ts'

/** Owner of a partition: a wake-up job, and one run of it. */
interface OwnerArguments {
  partition: string
  wakeUp: string
  run: string
  lock?: { queue: QueueName; token: string; timeout: number }
}

/** The next event of a partition, or the time when there is one. Redis gives numbers as text. */
export type ClaimResult =
  | { kind: 'none' }
  | { kind: 'delayed'; at: string }
  | {
      kind: 'event'
      id: string
      route: string
      facts: string
      attempts: string
      received: string
      begun?: string
      revived?: string
    }

export interface AcceptArguments {
  now: number
  /** How long the delivery is remembered, in milliseconds. */
  dedupeWindow: number
  retention: number
  delivery: string
  push?: {
    key: string
    ref: string
    field: string
    /** How long the push is remembered, in milliseconds. */
    window: number
    /** Of a backfilled push: it is known when it was recorded at this time or later. */
    since?: number
    /** Of a backfilled push: the count of delivered pushes before the source was read. */
    delivered?: number
  }
  events: readonly {
    id: string
    route: string
    partition: string
    queue: QueueName
    supersede: boolean
    facts: string
  }[]
}

/** Lua writes an empty list as `{}`. */
type LuaList = string[] | Record<string, never>
export const listOf = (list: LuaList): string[] => Object.values(list)

/** Each script takes one JSON document and gives one. */
export interface Scripts {
  accept(
    delivery: AcceptArguments,
  ): Promise<
    { status: 'new'; superseded: LuaList; idle: LuaList } | { status: 'duplicate' | 'overtaken' }
  >
  claim(owner: OwnerArguments & { now: number }): Promise<ClaimResult>
  confirm(owner: OwnerArguments): Promise<{ status: 'done' | 'lost' }>
  finish(
    event: OwnerArguments & {
      id: string
      state: 'done' | 'dead'
      text: string
      url: string
      error: string
      now: number
      retention: number
    },
  ): Promise<ClaimResult | { kind: 'lost' }>
  postpone(
    event: OwnerArguments & {
      id: string
      next: number
      error: string
      counts: boolean
      passable: boolean
    },
  ): Promise<{ status: 'done' | 'lost' }>
  disown(partition: { partition: string; owner: string }): Promise<{ status: 'done' | 'lost' }>
  revive(event: {
    id: string
    now: number
  }): Promise<
    | { status: 'done'; partition: string; queue: QueueName }
    | { status: 'unknown' }
    | { status: 'refused'; state: EventState }
  >
  drop(event: {
    id: string
    reason: string
    now: number
    retention: number
  }): Promise<{ status: 'done' } | { status: 'unknown' } | { status: 'refused'; state: EventState }>
}

/**
 * Numbers are sent as text: how a Lua number is written depends on the version of Redis. The JSON
 * parser of Redis rejects half a surrogate pair, which a text that was cut may end with.
 */
const encode = (value: unknown): string =>
  JSON.stringify(value, (_key, part) => {
    if (typeof part === 'number') return String(part)
    return typeof part === 'string' ? Buffer.from(part).toString() : part
  })

/** ioredis sends the hash of a script, and its text only when Redis does not know it. */
export function defineScripts(
  client: Redis | Cluster,
  base: string,
  request: <T>(work: () => Promise<T>) => Promise<T>,
): Scripts {
  const names = Object.keys(scripts) as ScriptName[]
  for (const name of names) {
    client.defineCommand(`crosscloud_${name}`, { numberOfKeys: 1, lua: scriptText(name) })
  }
  const commands = client as unknown as Record<
    string,
    (base: string, json: string) => Promise<string>
  >
  const call = (name: ScriptName) => (value: unknown) =>
    request(async () =>
      JSON.parse((await commands[`crosscloud_${name}`]?.(base, encode(value))) ?? ''),
    )
  return Object.fromEntries(names.map((name) => [name, call(name)])) as unknown as Scripts
}
