import type { Cluster, Redis } from 'ioredis'
import { StepError } from '../../../core/errors.ts'
import type { RedisAddress } from '../../../redis/address.ts'
import { type ConnectOptions, connectCluster } from '../../../redis/connection.ts'
import { changeByJournal, type JournaledStore, overlayJournal } from '../journal.ts'
import { checkChanges, selectBelow } from '../keys.ts'
import type { ConfigStore } from '../store.ts'
import { type RedisContent, toSnapshot } from './layout.ts'
import { applyPlaces, findPlaces, valuesOf } from './places.ts'
import { addHash, scan } from './reading.ts'

/** The hash tag puts both into one slot; keys of config begin with a slash. */
const LOCK = '{crosscloud}:lock'
const JOURNAL = '{crosscloud}:journal'

const MOST_READINGS = 8

const WRITE_IF_LOCKED =
  "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('set', KEYS[2], ARGV[2]) return 1 end return 0"
const DELETE_IF_EQUAL =
  "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"

/**
 * A Redis Cluster. It has no transactions across nodes: a snapshot is read until two readings in a
 * row are equal, and changes of several keys go through the journal.
 */
export async function openRedisCluster(
  address: RedisAddress,
  options: ConnectOptions,
): Promise<ConfigStore> {
  const connection = await connectCluster(address, options)
  const { name } = address
  return {
    name,
    snapshot: (roots) => connection.use((cluster) => snapshot(name, cluster, roots)),
    async change(changes, expect = []) {
      checkChanges(changes, expect)
      await connection.use((cluster) =>
        changeByJournal(name, journaled(name, cluster), changes, expect, options.signal),
      )
    },
    async close() {
      connection.close()
    },
  }
}

async function snapshot(
  name: string,
  cluster: Cluster,
  roots: readonly string[],
): Promise<Map<string, string>> {
  if (roots.length === 0) return new Map()
  let before: string | undefined
  for (let reading = 1; reading <= MOST_READINGS; reading++) {
    const journal = (await cluster.get(JOURNAL)) ?? undefined
    const values = toSnapshot(name, await readNodes(cluster, roots), roots)
    const now = JSON.stringify([journal, [...values].sort(([a], [b]) => (a < b ? -1 : 1))])
    const after = (await cluster.get(JOURNAL)) ?? undefined
    if (now === before && journal === after)
      return selectBelow(overlayJournal(values, journal), roots)
    before = now
  }
  throw new StepError('UNAVAILABLE', `${name}: keys change too fast to be read`, {
    hint: 'Try again when the other writer is done.',
  })
}

async function readNodes(cluster: Cluster, roots: readonly string[]): Promise<RedisContent> {
  const content: RedisContent = { strings: new Map(), hashes: new Map() }
  await Promise.all(cluster.nodes('master').map((node) => readNode(node, roots, content)))
  return content
}

/** A key that moved to another node meanwhile is an error reply: the next reading finds it. */
async function readNode(node: Redis, roots: readonly string[], content: RedisContent) {
  const keys = [...(await scan(node, roots))]
  const strings = node.pipeline()
  for (const key of keys) strings.getBuffer(key)
  const others: string[] = []
  for (const [index, [error, value]] of ((await strings.exec()) ?? []).entries()) {
    const key = keys[index] ?? ''
    if (error && !isOfOtherKind(error)) throw error
    if (error) others.push(key)
    else if (value !== null) content.strings.set(key, value as Buffer)
  }
  const hashes = node.pipeline()
  for (const key of others) hashes.callBuffer('HGETALL', key)
  for (const [index, [error, flat]] of ((await hashes.exec()) ?? []).entries()) {
    if (error && !isOfOtherKind(error)) throw error
    if (!error) addHash(content, others[index] ?? '', flat as Buffer[])
  }
}

/** WRONGTYPE: not a string, or not a hash. MOVED: an ancestor of a root on another node. */
function isOfOtherKind({ message }: Error): boolean {
  return /^(?:WRONGTYPE|MOVED)\b/.test(message)
}

function journaled(name: string, cluster: Cluster): JournaledStore {
  return {
    lock: async (token, ttl) => (await cluster.set(LOCK, token, 'PX', ttl, 'NX')) === 'OK',
    readJournal: async () => (await cluster.get(JOURNAL)) ?? undefined,
    writeJournal: async (token, text) =>
      (await cluster.eval(WRITE_IF_LOCKED, 2, LOCK, JOURNAL, token, text)) === 1,
    clearJournal: async (text) => void (await cluster.eval(DELETE_IF_EQUAL, 1, JOURNAL, text)),
    unlock: async (token) => void (await cluster.eval(DELETE_IF_EQUAL, 1, LOCK, token)),
    read: async (keys) => valuesOf(name, await findPlaces(cluster, keys)),
    async apply(changes) {
      const places = await findPlaces(
        cluster,
        changes.map(({ key }) => key),
      )
      await Promise.all(applyPlaces(name, cluster, places, changes))
    },
  }
}
