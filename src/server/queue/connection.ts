import type { Cluster, Redis } from 'ioredis'
import { errorCodeOf, StepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { readTlsFiles } from '../../core/tls-files.ts'
import { parseRedisUrl, type RedisAddress } from '../../redis/address.ts'
import {
  CONNECT_TIMEOUT,
  createCluster,
  createRedis,
  type RedisAccess,
  type RedisBehaviour,
} from '../../redis/client.ts'
import { redisError } from '../../redis/errors.ts'
import type { RedisSettings } from './settings.ts'

export interface QueueRedis {
  /** The URL without user and password. */
  name: string
  /** Fails at once while Redis is away: a sender must not wait for it. */
  quick: Redis | Cluster
  /** Waits for Redis as long as it takes; workers block on it. */
  patient: Redis | Cluster
  close(): Promise<void>
}

/** Longer than Redis takes to answer, shorter than a sender waits. */
const COMMAND_TIMEOUT = 5000

/** Connects, and connects again whenever the connection breaks. */
export async function openQueueRedis(
  redis: RedisSettings,
  folder: string,
  log: Log,
): Promise<QueueRedis> {
  const address = parseRedisUrl(redis.url, 'queue.redis')
  const access: RedisAccess = {
    tls: address.tls ? await readTlsFiles(redis, { folder, owner: 'queue.redis' }) : undefined,
    sentinelPassword: redis['sentinel-password'],
  }
  const quick = await connect(address, access, {
    commandTimeout: COMMAND_TIMEOUT,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
  })
  const patient = await connect(address, access, { maxRetriesPerRequest: null })
  for (const client of [quick, patient]) client.on('error', () => {})
  try {
    await Promise.all([ready(quick, address), ready(patient, address)])
    // ioredis itself would go on with database 0.
    if (address.db > 0) await selectDatabase(quick as Redis, address)
  } catch (error) {
    quick.disconnect()
    patient.disconnect()
    throw error
  }
  tellFaults(quick, address.name, log)
  return {
    ...{ name: address.name, quick, patient },
    async close() {
      quick.disconnect()
      patient.disconnect()
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

async function selectDatabase(client: Redis, { db, name }: RedisAddress): Promise<void> {
  await client.select(db).catch((error: unknown) => {
    throw redisError(name, error)
  })
}

/** At start a Redis that is not there is said; afterwards it is waited for. */
async function ready(client: Redis | Cluster, { name, tls }: RedisAddress): Promise<void> {
  if (client.status === 'ready') return
  await new Promise<void>((resolve, reject) => {
    let last: unknown
    const failed = (error: unknown) => {
      last = error
    }
    const timer = setTimeout(() => {
      client.off('error', failed)
      const silent = last === undefined || errorCodeOf(last) === 'ETIMEDOUT'
      const told = new Error(tls ? 'no answer; perhaps it speaks no TLS' : 'no answer')
      reject(redisError(name, silent ? told : last))
    }, CONNECT_TIMEOUT)
    client.on('error', failed)
    client.once('ready', () => {
      clearTimeout(timer)
      client.off('error', failed)
      resolve()
    })
  })
}

/** Once when it goes, once when it is back. */
function tellFaults(client: Redis | Cluster, name: string, log: Log): void {
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

/** What an accepted event is worth depends on it; INPUT_INVALID when a restart would lose it. */
export async function requirePersistence(
  { quick, name }: QueueRedis,
  volatile: boolean,
  log: Log,
): Promise<void> {
  const servers = 'nodes' in quick ? quick.nodes('master') : [quick]
  const told = await Promise.all(servers.map((one) => one.info())).catch((error: unknown) => {
    throw redisError(name, error)
  })
  const faults = [...new Set(told.flatMap(persistenceFaults))]
  if (faults.length === 0) return
  if (volatile) return faults.forEach((one) => void log.warn(`${name}: ${one}`))
  throw new StepError('INPUT_INVALID', faults.map((one) => `${name}: ${one}`).join('\n'), {
    hint: 'Set appendonly yes and maxmemory-policy noeviction in redis.conf, or queue.volatile: true.',
  })
}

/** Reads the answer to INFO. */
function persistenceFaults(facts: string): string[] {
  const fact = (key: string) => new RegExp(`^${key}:(.*?)\\r?$`, 'm').exec(facts)?.[1]
  const policy = fact('maxmemory_policy')
  return [
    ...(fact('aof_enabled') === '0' ? ['appendonly is not yes: a restart loses what waits'] : []),
    ...(policy !== undefined && policy !== 'noeviction'
      ? [`maxmemory-policy is ${policy}: events may vanish when memory is short`]
      : []),
  ]
}
