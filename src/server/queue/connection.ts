import type { Cluster, Redis } from 'ioredis'
import { errorCodeOf, StepError } from '../../core/errors.ts'
import { readTlsFiles } from '../../core/files/tls-files.ts'
import type { Log } from '../../core/log.ts'
import type { RedisAddress } from '../../redis/address.ts'
import {
  CONNECT_TIMEOUT,
  createCluster,
  createRedis,
  type RedisAccess,
  type RedisBehaviour,
} from '../../redis/client.ts'
import { isSelectError, redisError } from '../../redis/errors.ts'
import type { RedisSettings } from './settings.ts'

export interface QueueRedis {
  /** The URL without user and password. */
  name: string
  /** Fails at once while Redis does not respond: the sender of a delivery must not wait. */
  failFast: Redis | Cluster
  /** Waits until Redis responds; workers block on it. */
  blocking: Redis | Cluster
  close(): Promise<void>
}

/** Longer than Redis takes to respond, shorter than the timeout of a sender. */
const COMMAND_TIMEOUT = 5000

/** Connects, and reconnects whenever the connection breaks. */
export async function openQueueRedis(
  redis: RedisSettings,
  folder: string,
  log: Log,
): Promise<QueueRedis> {
  const address = redis.url
  const access: RedisAccess = {
    tls: address.tls ? await readTlsFiles(redis, { folder, owner: 'queue.redis' }) : undefined,
    sentinelPassword: redis['sentinel-password'],
  }
  const failFast = await connect(address, access, {
    commandTimeout: COMMAND_TIMEOUT,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
  })
  const blocking = await connect(address, access, { maxRetriesPerRequest: null })
  for (const client of [failFast, blocking]) client.on('error', () => {})
  try {
    await Promise.all([ready(failFast, address), ready(blocking, address)])
  } catch (error) {
    failFast.disconnect()
    blocking.disconnect()
    throw error
  }
  logConnectionChanges(failFast, address.name, log)
  return {
    name: address.name,
    failFast,
    blocking,
    async close() {
      failFast.disconnect()
      blocking.disconnect()
    },
  }
}

async function connect(
  address: RedisAddress,
  access: RedisAccess,
  behaviour: RedisBehaviour,
): Promise<Redis | Cluster> {
  const lasting = {
    ...behaviour,
    retryStrategy: (times: number) => Math.min(50 * 2 ** times, 2000),
  }
  if (address.kind !== 'cluster') return createRedis(address, access, lasting)
  return createCluster(address, access, lasting, {
    enableOfflineQueue: behaviour.enableOfflineQueue ?? true,
  })
}

/** At start an unreachable Redis is an error; afterwards the client reconnects. */
async function ready(client: Redis | Cluster, { name, tls }: RedisAddress): Promise<void> {
  if (client.status === 'ready') return
  await new Promise<void>((resolve, reject) => {
    let last: unknown
    const giveUp = (reason: unknown) => {
      clearTimeout(timer)
      client.off('error', failed)
      reject(redisError(name, reason))
    }
    const failed = (error: unknown) => {
      last = error
      if (isSelectError(error) && !redisError(name, error).retryable) giveUp(error)
    }
    const timer = setTimeout(() => {
      const timedOut = last === undefined || errorCodeOf(last) === 'ETIMEDOUT'
      const timeout = new Error(tls ? 'no answer; perhaps it speaks no TLS' : 'no answer')
      giveUp(timedOut ? timeout : last)
    }, CONNECT_TIMEOUT)
    client.on('error', failed)
    client.once('ready', () => {
      clearTimeout(timer)
      client.off('error', failed)
      resolve()
    })
  })
}

/** Logs once when the connection breaks, and once when it is back. */
function logConnectionChanges(client: Redis | Cluster, name: string, log: Log): void {
  let away = false
  client.on('error', (error: unknown) => {
    if (!away) log.error(`${redisError(name, error).message}; deliveries get 503 meanwhile`)
    away = true
  })
  client.on('ready', () => {
    if (away) log.info(`${name} answers again`)
    away = false
  })
}

/** INPUT_INVALID when a restart of Redis would lose accepted events. */
export async function requirePersistence(
  { failFast, name }: QueueRedis,
  allowVolatile: boolean,
  log: Log,
): Promise<void> {
  const servers = 'nodes' in failFast ? failFast.nodes('master') : [failFast]
  const infos = await Promise.all(servers.map((server) => server.info())).catch(
    (error: unknown) => {
      throw redisError(name, error)
    },
  )
  const problems = [...new Set(infos.flatMap(persistenceProblems))].map(
    (problem) => `${name}: ${problem}`,
  )
  if (problems.length === 0) return
  if (allowVolatile) {
    for (const problem of problems) log.warn(problem)
    return
  }
  throw new StepError('INPUT_INVALID', problems.join('\n'), {
    hint: 'Set appendonly yes and maxmemory-policy noeviction in redis.conf, or queue.allow-volatile: true.',
  })
}

/** Reads the response to INFO. */
function persistenceProblems(info: string): string[] {
  const field = (key: string) => new RegExp(`^${key}:(.*?)\\r?$`, 'm').exec(info)?.[1]
  const policy = field('maxmemory_policy')
  return [
    ...(field('aof_enabled') === '0' ? ['appendonly is not yes: a restart loses what waits'] : []),
    ...(policy !== undefined && policy !== 'noeviction'
      ? [`maxmemory-policy is ${policy}: events may vanish when memory is short`]
      : []),
  ]
}
