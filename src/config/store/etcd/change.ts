import { StepError } from '../../../core/errors.ts'
import { checkExpected } from '../keys.ts'
import type { ConfigChange } from '../store.ts'
import type { EtcdClient } from './client.ts'
import { etcdErrorOf } from './errors.ts'
import { readMarks } from './journal.ts'
import {
  compare,
  decodeValue,
  type EtcdLayout,
  etcdKey,
  found,
  LARGEST_REQUEST,
  MOST_OPERATIONS,
  sizeOf,
  toBatches,
  toOperation,
} from './layout.ts'

/** Whether one transaction can hold all of it; lock and journal are compared and read as well. */
export function isSmall(
  layout: EtcdLayout,
  changes: readonly ConfigChange[],
  expect: readonly ConfigChange[],
): boolean {
  const size = [...changes, ...expect].reduce((sum, each) => sum + sizeOf(layout, each), 0)
  return (
    toBatches(layout, changes).length <= 1 &&
    expect.length <= MOST_OPERATIONS - 2 &&
    size <= LARGEST_REQUEST
  )
}

/** One transaction; false, with nothing changed, while a change by journal is under way. */
export async function changeAtOnce(
  client: EtcdClient,
  layout: EtcdLayout,
  changes: readonly ConfigChange[],
  expect: readonly ConfigChange[],
): Promise<boolean> {
  // This also finds a member that responds: the transaction is sent only once.
  const marks = await readMarks(client, layout)
  if (marks.journal !== undefined || marks.lock !== undefined) return false
  const expected = expect.map(({ key, value }) => ({ key: etcdKey(layout, key), value }))
  const read = [layout.journal, layout.lock, ...expected.map(({ key }) => key)]
  const request = {
    compare: [
      compare(layout.journal, null),
      compare(layout.lock, null),
      ...expected.map(({ key, value }) => compare(key, value === null ? null : Buffer.from(value))),
    ],
    success: changes.map((change) => toOperation(layout, change)),
    failure: read.map((key) => ({ request_range: { key } })),
  }
  const response = await client
    .once(({ kv }, options) => kv.txn(request, options))
    .catch((error: unknown) => {
      const kind = etcdErrorOf(error)
      // Only the `failure` branch reads that much: nothing was changed.
      if (kind === 'too-large') return undefined
      throw kind === 'transient' ? doubtful(layout.name, error) : error
    })
  if (response === undefined) return false
  if (response.succeeded) return true
  if (found(response, 0).kvs.length > 0 || found(response, 1).kvs.length > 0) return false
  const now = new Map<string, string>()
  expect.forEach(({ key }, index) => {
    const kv = found(response, index + 2).kvs[0]
    if (kv) now.set(key, decodeValue(layout, key, kv.value))
  })
  checkExpected(layout.name, now, expect)
  return false
}

function doubtful(name: string, cause: unknown): StepError {
  return new StepError('UNAVAILABLE', `${name}: etcd did not answer; the change was made or not`, {
    hint: 'All of it was made or nothing. Read the keys before you repeat it.',
    cause,
  })
}
