import type { ChainableCommander, Redis } from 'ioredis'
import pLimit from 'p-limit'
import { StepError } from '../../../core/errors.ts'
import { wait } from '../../../core/retry.ts'
import type { RedisAddress } from '../../../redis/address.ts'
import {
  type ConnectOptions,
  connectRedis,
  type RedisConnection,
} from '../../../redis/connection.ts'
import { redisError } from '../../../redis/errors.ts'
import { checkChanges, checkExpected } from '../keys.ts'
import type { ConfigChange, ConfigStore } from '../store.ts'
import { openRedisCluster } from './cluster.ts'
import { type RedisContent, toSnapshot } from './layout.ts'
import { applyPlaces, findPlaces, placesToWatch, valuesOf } from './places.ts'
import { addHash, scan } from './reading.ts'

const CHUNK = 1000
const MOST_READINGS = 6
const MOST_TRIES = 20

/**
 * Redis as config centre: a server by TCP, TLS or socket, a master behind Sentinels, or a Cluster.
 * A snapshot is consistent: all values are read in one transaction, again if keys appeared or
 * vanished.
 */
export async function openRedisStore(
  address: RedisAddress,
  options: ConnectOptions = {},
): Promise<ConfigStore> {
  if (address.kind === 'cluster') return openRedisCluster(address, options)
  const connection = await connectRedis(address, options)
  const { name } = address
  // A WATCH belongs to the connection: one operation at a time.
  const oneAtATime = pLimit(1)
  return {
    name,
    snapshot: (roots) => oneAtATime(() => snapshot(name, connection, roots)),
    async change(changes, expect = []) {
      checkChanges(changes, expect)
      await oneAtATime(() =>
        connection.use((redis) => change(name, redis, changes, expect, options.signal)),
      )
    },
    async close() {
      connection.close()
    },
  }
}

async function snapshot(
  name: string,
  connection: RedisConnection<Redis>,
  roots: readonly string[],
): Promise<Map<string, string>> {
  if (roots.length === 0) return new Map()
  return connection.use(async (redis) => {
    let keys = await scan(redis, roots)
    for (let reading = 1; reading <= MOST_READINGS; reading++) {
      const content = await readContent(redis, keys)
      const now = await scan(redis, roots)
      // The values are consistent; the set of keys is complete if it is the same afterwards.
      if (sameKeys(keys, now)) return toSnapshot(name, content, roots)
      keys = now
    }
    throw new StepError('UNAVAILABLE', `${name}: keys come and go too fast to be read`, {
      hint: 'Try again when the other writer is done.',
    })
  })
}

function sameKeys(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((key) => b.has(key))
}

/** Strings in one transaction; if some keys are not strings, all again with the hashes. */
async function readContent(redis: Redis, keys: ReadonlySet<string>): Promise<RedisContent> {
  const all = [...keys]
  const strings = await readOnce(redis, all, [])
  const others = all.filter((key) => !strings.strings.has(key))
  return others.length === 0 ? strings : readOnce(redis, all, others)
}

async function readOnce(
  redis: Redis,
  keys: readonly string[],
  maybeHashes: readonly string[],
): Promise<RedisContent> {
  const content: RedisContent = { strings: new Map(), hashes: new Map() }
  if (keys.length === 0) return content
  const transaction = redis.multi()
  for (let at = 0; at < keys.length; at += CHUNK) transaction.mgetBuffer(keys.slice(at, at + CHUNK))
  for (const key of maybeHashes) transaction.callBuffer('HGETALL', key)
  const results = await execute(transaction)
  const chunks = Math.ceil(keys.length / CHUNK)
  for (const [index, [error, reply]] of results.entries()) {
    if (index < chunks) {
      if (error) throw error
      for (const [offset, value] of (reply as (Buffer | null)[]).entries()) {
        const key = keys[index * CHUNK + offset]
        if (key !== undefined && value !== null) content.strings.set(key, value)
      }
    } else {
      const key = maybeHashes[index - chunks]
      // WRONGTYPE: a list or a set, which is not a value of config.
      if (key !== undefined && !error) addHash(content, key, reply as Buffer[])
    }
  }
  return content
}

async function execute(transaction: ChainableCommander): Promise<[Error | null, unknown][]> {
  const results = await transaction.exec()
  if (results === null) throw new Error('the transaction was refused')
  return results
}

async function change(
  name: string,
  redis: Redis,
  changes: readonly ConfigChange[],
  expect: readonly ConfigChange[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const keys = [...new Set([...changes, ...expect].map(({ key }) => key))]
  for (let attempt = 1; attempt <= MOST_TRIES; attempt++) {
    await redis.watch(...placesToWatch(keys))
    try {
      const places = await findPlaces(redis, keys)
      checkExpected(name, valuesOf(name, places), expect)
      const transaction = redis.multi()
      applyPlaces(name, transaction, places, changes)
      const results = await transaction.exec()
      if (results !== null) {
        const failed = results.find(([error]) => error !== null)
        if (failed) throw redisError(name, failed[0])
        return
      }
    } catch (error) {
      await redis.unwatch().catch(() => {})
      throw error
    }
    await wait(Math.random() * 10 * attempt, signal)
  }
  throw new StepError('UNAVAILABLE', `${name}: others change these keys all the time`, {
    hint: 'Try again.',
  })
}
