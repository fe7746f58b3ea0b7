import { StepError } from '../core/errors.ts'
import { createEtcdClient, type EtcdClient, type EtcdTls } from './etcd-client.ts'
import { etcdFault, faultOf } from './etcd-faults.ts'
import { journaledStore, readMarks } from './etcd-journal.ts'
import {
  compare,
  type EtcdLayout,
  etcdKey,
  LARGEST_REQUEST,
  layoutOf,
  MOST_OPERATIONS,
  sizeOf,
  toBatches,
  toOperation,
} from './etcd-layout.ts'
import { readKeys, readSnapshot } from './etcd-snapshot.ts'
import { parseEtcdUrl } from './etcd-url.ts'
import { changeByJournal } from './journal.ts'
import { checkChanges, checkExpected } from './keys.ts'
import type { ConfigChange, ConfigStore } from './store.ts'

export interface EtcdStoreOptions {
  name?: string | undefined
  /** PEM texts */
  tls?: EtcdTls
  signal?: AbortSignal | undefined
}

/** Lock and journal are compared too. */
const MOST_EXPECTED = MOST_OPERATIONS - 2
const TRIES = 5

/**
 * An etcd as config centre: `etcd://[user:password@]host:2379[,host:2379][/prefix]`, `etcds://` for
 * TLS. A snapshot is of one revision. A change is one transaction; beyond 128 keys or 1.4 MB it
 * goes by a journal. Two stores with one prefix see each other's journals; stores whose prefixes
 * lie in each other do not.
 */
export function openEtcdStore(url: string, options: EtcdStoreOptions = {}): ConfigStore {
  const address = parseEtcdUrl(url)
  const { name = address.name, tls = {}, signal } = options
  const client = createEtcdClient(address, tls, signal)
  const layout = layoutOf(name, address.prefix)
  return {
    name,
    async snapshot(roots) {
      try {
        return await readSnapshot(client, layout, roots)
      } catch (error) {
        throw etcdFault(name, address, 'read', error)
      }
    },
    async change(changes, expect = []) {
      checkChanges(changes, expect)
      if (changes.length === 0 && expect.length === 0) return
      try {
        if (isSmall(layout, changes, expect)) {
          if (await changeAtOnce(client, layout, changes, expect)) return
        }
        await changeByJournal(name, journaledStore(client, layout), changes, expect, signal)
      } catch (error) {
        throw etcdFault(name, address, 'readwrite', error)
      }
    },
    async close() {
      client.close()
    },
  }
}

function isSmall(
  layout: EtcdLayout,
  changes: readonly ConfigChange[],
  expect: readonly ConfigChange[],
): boolean {
  const size = [...changes, ...expect].reduce((sum, each) => sum + sizeOf(layout, each), 0)
  return (
    toBatches(layout, changes).length <= 1 &&
    expect.length <= MOST_EXPECTED &&
    size <= LARGEST_REQUEST
  )
}

/** One transaction; false, with nothing changed, while a change by journal is under way. */
async function changeAtOnce(
  client: EtcdClient,
  layout: EtcdLayout,
  changes: readonly ConfigChange[],
  expect: readonly ConfigChange[],
): Promise<boolean> {
  const request = {
    compare: [
      compare(layout.journal, null),
      compare(layout.lock, null),
      ...expect.map(({ key, value }) =>
        compare(etcdKey(layout, key), value === null ? null : Buffer.from(value)),
      ),
    ],
    success: changes.map((change) => toOperation(layout, change)),
  }
  for (let tries = 1; tries <= TRIES; tries++) {
    // This finds a member that answers, too: what comes next is sent once only.
    const { journal, lock } = await readMarks(client, layout)
    if (journal !== undefined || lock !== undefined) return false
    const { succeeded } = await client
      .once(({ kv }, options) => kv.txn(request, options))
      .catch((error: unknown) => {
        throw faultOf(error) === 'transient' ? doubtful(layout.name, error) : error
      })
    if (succeeded) return true
    checkExpected(layout.name, await readKeys(client, layout, keysOf(expect)), expect)
  }
  return false
}

const keysOf = (changes: readonly ConfigChange[]) => changes.map(({ key }) => key)

function doubtful(name: string, cause: unknown): StepError {
  return new StepError('UNAVAILABLE', `${name}: etcd did not answer; the change was made or not`, {
    hint: 'All of it was made or nothing. Read the keys before you repeat it.',
    cause,
  })
}
