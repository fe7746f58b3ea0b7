import type { Cluster, Redis } from 'ioredis'
import { redisError } from '../../redis/errors.ts'
import { defineScripts, type Scripts } from './script-calls.ts'
import type { QueueSettings } from './settings.ts'

/** All keys of one queue name share a slot of a cluster. */
export const keyPrefix = (name: string): string => `{crosscloud:${name}}`

export interface QueueOptions {
  /** Name of the Redis server in messages. */
  server: string
  /** Servers with the same queue name share the events. */
  name: string
  /** How long a delivery is remembered, in milliseconds. */
  dedupeWindow: number
  /** How many finished events are kept. */
  retention: number
}

export function queueOptions(server: string, settings: QueueSettings): QueueOptions {
  const { name, 'dedupe-window': dedupeWindow, retention } = settings
  return { server, name, dedupeWindow, retention }
}

/** The events in Redis: commands, scripts and the prefix of all keys. */
export interface QueueAccess extends Pick<QueueOptions, 'dedupeWindow' | 'retention'> {
  redis: Redis
  base: string
  scripts: Scripts
  /** Throws UNAVAILABLE, which names the server, when Redis does not respond. */
  request<T>(work: () => Promise<T>): Promise<T>
}

export function accessQueue(
  client: Redis | Cluster,
  { name, server, dedupeWindow, retention }: QueueOptions,
): QueueAccess {
  const base = `${keyPrefix(name)}:`
  const request: QueueAccess['request'] = async (work) => {
    try {
      return await work()
    } catch (error) {
      throw redisError(server, error)
    }
  }
  return {
    redis: client as Redis,
    base,
    scripts: defineScripts(client, base, request),
    dedupeWindow,
    retention,
    request,
  }
}
