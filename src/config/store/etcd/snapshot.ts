import type { IKeyValue } from 'etcd3'
import { sha256 } from '../../../core/digest.ts'
import { StepError } from '../../../core/errors.ts'
import { overlayJournal } from '../journal.ts'
import { joinKey, keyProblem, selectBelow, selectorOf } from '../keys.ts'
import type { ConfigSnapshot } from '../store.ts'
import type { EtcdClient } from './client.ts'
import { etcdErrorOf } from './errors.ts'
import {
  configKey,
  decodeValue,
  type EtcdLayout,
  etcdKey,
  found,
  type KeyRange,
  MOST_OPERATIONS,
  rangeBelow,
} from './layout.ts'

/** How many keys to request at once, so that a response stays far below gRPC's 4 MiB. */
interface Paging {
  limit: number
}

const FIRST_PAGE = 500
const LARGEST_PAGE = 5_000
/** bytes */
const PAGE_SIZE = 1 << 20
const TRIES = 5

/** The keys at or below the roots at one revision, with the journal applied. */
export async function readSnapshot(
  client: EtcdClient,
  layout: EtcdLayout,
  roots: readonly string[],
): Promise<ConfigSnapshot> {
  if (roots.length === 0) return new Map()
  const base = commonFolder(roots)
  const below = rangeBelow(etcdKey(layout, base === '/' ? '' : base))
  const paging: Paging = { limit: FIRST_PAGE }
  return uncompacted(async () => {
    const first = await fitting(paging, (limit) =>
      client.repeat(({ kv }, options) =>
        kv.txn(
          {
            success: [
              { request_range: { key: layout.journal } },
              { request_range: { key: etcdKey(layout, base) } },
              { request_range: { ...below, limit } },
            ],
          },
          options,
        ),
      ),
    )
    const { revision } = first.header
    const values = new Map<string, string>()
    const take = collector(layout, roots, values)
    take(found(first, 1).kvs)
    const page = found(first, 2)
    take(page.kvs)
    if (page.more) {
      adapt(paging, page.kvs)
      const rest = { ...below, key: after(page.kvs) }
      for await (const kvs of pages(client, rest, revision, paging)) take(kvs)
    }
    const head = found(first, 0).kvs[0]
    if (head === undefined) return values
    const journal = await readJournalText(client, layout, head.value, revision)
    return selectBelow(overlayJournal(values, journal), roots)
  })
}

/** Current values of single keys, without the journal; absent keys are left out. */
export async function readKeys(
  client: EtcdClient,
  layout: EtcdLayout,
  keys: readonly string[],
): Promise<Map<string, string>> {
  const values = new Map<string, string>()
  const paging: Paging = { limit: MOST_OPERATIONS }
  for (let at = 0; at < keys.length; ) {
    const { requested, response } = await fitting(paging, async (limit) => {
      const requested = keys.slice(at, at + limit)
      const success = requested.map((key) => ({ request_range: { key: etcdKey(layout, key) } }))
      const response = await client.repeat(({ kv }, options) => kv.txn({ success }, options))
      return { requested, response }
    })
    requested.forEach((key, index) => {
      const kv = found(response, index).kvs[0]
      if (kv) values.set(key, decodeValue(layout, key, kv.value))
    })
    at += requested.length
  }
  return values
}

/** The text of the journal that `head` announces, at this revision. */
export async function readJournalText(
  client: EtcdClient,
  layout: EtcdLayout,
  head: Buffer,
  revision: string,
): Promise<string> {
  const [digest = ''] = head.toString('utf8').split(' ')
  const parts: Buffer[] = []
  const range = rangeBelow(`${layout.journal}/${digest}`)
  for await (const kvs of pages(client, range, revision, { limit: 2 })) {
    for (const { value } of kvs) parts.push(value)
  }
  const bytes = Buffer.concat(parts)
  if (sha256(bytes) === digest) return bytes.toString('utf8')
  throw new StepError('INTERNAL', `${layout.name}: the journal ${layout.journal} is damaged`, {
    hint: `Compare the values with what was wanted, then remove it: etcdctl del ${layout.journal}`,
  })
}

/** Reads again, at the current revision, when the history was compacted meanwhile. */
export async function uncompacted<T>(read: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await read()
    } catch (error) {
      if (etcdErrorOf(error) !== 'compacted' || tries >= TRIES) throw error
    }
  }
}

function collector(layout: EtcdLayout, roots: readonly string[], values: Map<string, string>) {
  const selects = selectorOf(roots)
  return (kvs: readonly IKeyValue[]) => {
    for (const { key: bytes, value } of kvs) {
      const key = configKey(layout, bytes)
      if (key === undefined || keyProblem(key) !== undefined || !selects(key)) continue
      values.set(key, decodeValue(layout, key, value))
    }
  }
}

async function* pages(
  client: EtcdClient,
  range: KeyRange,
  revision: string,
  paging: Paging,
): AsyncGenerator<IKeyValue[]> {
  for (let { key } = range; ; ) {
    const start = key
    const page = await fitting(paging, (limit) =>
      client.repeat(({ kv }, options) =>
        kv.range({ key: start, range_end: range.range_end, limit, revision }, options),
      ),
    )
    yield page.kvs
    if (!page.more) return
    key = after(page.kvs)
    adapt(paging, page.kvs)
  }
}

/** Requests less while the response is more than gRPC takes. */
async function fitting<T>(paging: Paging, request: (limit: number) => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await request(paging.limit)
    } catch (error) {
      if (etcdErrorOf(error) !== 'too-large' || paging.limit === 1) throw error
      paging.limit = Math.ceil(paging.limit / 4)
    }
  }
}

function adapt(paging: Paging, kvs: readonly IKeyValue[]): void {
  const size = kvs.reduce((sum, { key, value }) => sum + key.length + value.length, 0)
  const fits = Math.floor((PAGE_SIZE * kvs.length) / Math.max(size, 1))
  paging.limit = Math.min(Math.max(fits, 1), LARGEST_PAGE)
}

/** The first key after these. */
function after(kvs: readonly IKeyValue[]): Buffer {
  return Buffer.concat([kvs.at(-1)?.key ?? Buffer.of(), Buffer.of(0)])
}

/** `/a` for `/a/b` and `/a/c`: the folder that one range must cover. */
function commonFolder(roots: readonly string[]): string {
  const [first = [], ...others] = roots.map((root) => joinKey(root).slice(1).split('/'))
  const end = first.findIndex((part, i) => others.some((other) => other[i] !== part))
  return joinKey(...(end === -1 ? first : first.slice(0, end)))
}
