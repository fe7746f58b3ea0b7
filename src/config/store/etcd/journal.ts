import type { ICompare, IRequestOp, ITxnResponse } from 'etcd3'
import { sha256 } from '../../../core/digest.ts'
import type { JournaledStore } from '../journal.ts'
import type { EtcdClient } from './client.ts'
import {
  compare,
  type EtcdLayout,
  found,
  LARGEST_REQUEST,
  rangeBelow,
  toBatches,
  toOperation,
} from './layout.ts'
import { readJournalText, readKeys, uncompacted } from './snapshot.ts'

/** Milliseconds after which the writer of a journal counts as dead. */
const TIMEOUT = 1_000
const PART = LARGEST_REQUEST - 1_000

/** The current lock and journal. */
export interface Marks {
  journal: Buffer | undefined
  lock: Buffer | undefined
  revision: string
}

export async function readMarks(client: EtcdClient, layout: EtcdLayout): Promise<Marks> {
  const success = [
    { request_range: { key: layout.journal } },
    { request_range: { key: layout.lock } },
  ]
  const response = await client.repeat(({ kv }, options) => kv.txn({ success }, options))
  return {
    journal: found(response, 0).kvs[0]?.value,
    lock: found(response, 1).kvs[0]?.value,
    revision: response.header.revision,
  }
}

/**
 * etcd for one change by journal. The lock, a key with a lease, only reduces contention: every
 * transaction compares its preconditions, so that a writer that was too slow, or whose journal was
 * completed by another writer, changes nothing more. All transactions are idempotent.
 */
export function journaledStore(client: EtcdClient, layout: EtcdLayout): JournaledStore {
  let lease: string | undefined
  /** The journal being applied. */
  let head: Buffer | undefined
  let seen: { journal: Buffer; since: number } | undefined

  const transact = (conditions: ICompare[], success: IRequestOp[], failure: IRequestOp[] = []) =>
    client.repeat(({ kv }, options) => kv.txn({ compare: conditions, success, failure }, options))
  /** A journal blocks all writers: after a second any of them may complete it. */
  const abandoned = (journal: Buffer | undefined) => {
    if (journal === undefined) seen = undefined
    else if (!seen?.journal.equals(journal)) seen = { journal, since: Date.now() }
    return seen !== undefined && Date.now() - seen.since > TIMEOUT
  }
  const revoke = async (id: string) => {
    await client.repeat(
      ({ leaseClient }, options) => leaseClient.leaseRevoke({ ID: id }, options),
      { always: true },
    )
  }

  return {
    async lock(token, ttl) {
      const marks = await readMarks(client, layout)
      if (marks.lock !== undefined && !abandoned(marks.journal)) return false
      const { ID } = await client.repeat(({ leaseClient }, options) =>
        leaseClient.leaseGrant({ TTL: Math.ceil(ttl / 1000) }, options),
      )
      try {
        const { succeeded } = await transact(
          [
            compare(layout.lock, marks.lock ?? null),
            ...(marks.lock && marks.journal ? [compare(layout.journal, marks.journal)] : []),
          ],
          [{ request_put: { key: layout.lock, value: Buffer.from(token), lease: ID } }],
        )
        if (succeeded) {
          lease = ID
          return true
        }
      } catch (error) {
        await revoke(ID).catch(() => {})
        throw error
      }
      // Also releases the lock if it was taken and the response was lost.
      await revoke(ID).catch(() => {})
      return false
    },
    readJournal: () =>
      uncompacted(async () => {
        const { journal, revision } = await readMarks(client, layout)
        head = journal
        return journal && (await readJournalText(client, layout, journal, revision))
      }),
    async writeJournal(token, text) {
      const bytes = Buffer.from(text)
      const digest = sha256(bytes)
      const mayWrite = [compare(layout.lock, Buffer.from(token)), compare(layout.journal, null)]
      const parts = Math.ceil(bytes.length / PART)
      const left = { request_delete_range: rangeBelow(layout.journal) }
      if (!(await transact(mayWrite, [left])).succeeded) return false
      for (let i = 0; i < parts; i++) {
        const key = Buffer.from(`${layout.journal}/${digest}/${String(i).padStart(6, '0')}`)
        const value = bytes.subarray(i * PART, (i + 1) * PART)
        if (!(await transact(mayWrite, [{ request_put: { key, value } }])).succeeded) return false
      }
      const announced = Buffer.from(`${digest} ${parts}`)
      const response = await transact(
        mayWrite,
        [{ request_put: { key: layout.journal, value: announced } }],
        [{ request_range: { key: layout.journal } }],
      )
      if (!response.succeeded && !has(response, announced)) return false
      head = announced
      return true
    },
    async clearJournal() {
      if (head === undefined) return
      await transact(
        [compare(layout.journal, head)],
        [
          { request_delete_range: { key: layout.journal } },
          { request_delete_range: rangeBelow(layout.journal) },
        ],
      )
      head = undefined
    },
    async unlock() {
      if (lease !== undefined) await revoke(lease)
      lease = undefined
    },
    read: (keys) => readKeys(client, layout, keys),
    async apply(changes) {
      if (head === undefined) return
      const ours = [compare(layout.journal, head)]
      for (const batch of toBatches(layout, changes)) {
        const operations = batch.map((change) => toOperation(layout, change))
        if (!(await transact(ours, operations)).succeeded) return
      }
    },
  }
}

/** Whether a failed transaction found this value: then an earlier attempt had succeeded. */
function has(response: ITxnResponse, value: Buffer): boolean {
  return found(response, 0).kvs[0]?.value.equals(value) ?? false
}
