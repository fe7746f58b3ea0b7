import type { Cluster, Redis } from 'ioredis'
import { redisError } from '../../redis/errors.ts'
import { type ScriptName, scripts, scriptText } from './scripts.ts'

/** All keys of one name share a slot of a cluster. */
export const keyPrefix = (name: string): string => `{crosscloud:${name}}`

export interface QueueOptions {
  /** Of the server's Redis, for messages. */
  server: string
  /** Servers with the same name share the events. */
  name: string
  /** How long a delivery is known; milliseconds. */
  remember: number
  /** How many events are kept after they are over. */
  keep: number
}

/** The way to what is kept in Redis. */
export interface QueueAccess extends Pick<QueueOptions, 'remember' | 'keep'> {
  redis: Redis
  /** What all keys begin with. */
  base: string
  run: Record<ScriptName, (...given: (string | number)[]) => Promise<unknown>>
  /** UNAVAILABLE, which names the server, when Redis is away. */
  ask<T>(work: () => Promise<T>): Promise<T>
}

export function accessQueue(
  client: Redis | Cluster,
  { name, server, remember, keep }: QueueOptions,
): QueueAccess {
  const base = `${keyPrefix(name)}:`
  return {
    ...{ redis: client as Redis, base, run: scriptsOf(client, base), remember, keep },
    async ask(work) {
      try {
        return await work()
      } catch (error) {
        throw redisError(server, error)
      }
    },
  }
}

/** ioredis sends a script's hash, and its text only when Redis does not know it. */
function scriptsOf(client: Redis | Cluster, base: string): QueueAccess['run'] {
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
  ) as QueueAccess['run']
}
