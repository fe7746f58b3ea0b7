import { isUtf8 } from 'node:buffer'
import type { ICompare, IKeyValue, IRequestOp, ITxnResponse } from 'etcd3'
import { StepError } from '../../../core/errors.ts'
import type { ConfigChange } from '../store.ts'

/**
 * The keys in etcd. Lock and journal begin with `PREFIX//crosscloud/`: no key of config has an
 * empty segment, and a role for all keys below `PREFIX/` includes them.
 */
export interface EtcdLayout {
  name: string
  prefix: string
  /** Announces a journal: `DIGEST PARTS`. Its parts are at `DIGEST/NUMBER` below it. */
  journal: Buffer
  lock: Buffer
}

export interface KeyRange {
  key: Buffer
  range_end: Buffer
}

export function layoutOf(name: string, prefix: string): EtcdLayout {
  return {
    name,
    prefix,
    journal: Buffer.from(`${prefix}//crosscloud/journal`),
    lock: Buffer.from(`${prefix}//crosscloud/lock`),
  }
}

export function etcdKey({ prefix }: EtcdLayout, key: string): Buffer {
  return Buffer.from(prefix + key)
}

/** All keys that begin with the folder and a slash; `0` is the character after `/`. */
export function rangeBelow(folder: string | Buffer): KeyRange {
  return { key: Buffer.from(`${folder}/`), range_end: Buffer.from(`${folder}0`) }
}

/** The key of config, or undefined when it is not text. */
export function configKey({ prefix }: EtcdLayout, key: Buffer): string | undefined {
  return isUtf8(key) ? key.toString('utf8').slice(prefix.length) : undefined
}

export function decodeValue({ name }: EtcdLayout, key: string, value: Buffer): string {
  if (isUtf8(value)) return value.toString('utf8')
  throw new StepError('INPUT_INVALID', `${name}: ${key}: the value is not UTF-8 text`, {
    hint: 'Set it anew as text; binary content can be kept in base64.',
  })
}

/** etcd's default for --max-txn-ops. */
export const MOST_OPERATIONS = 128
/** bytes; etcd's default for --max-request-bytes is 1.5 MiB. */
export const LARGEST_REQUEST = 1_400_000
/** Bytes that a key costs beside its text, at most. */
const OVERHEAD = 64

export function sizeOf({ prefix }: EtcdLayout, { key, value }: ConfigChange): number {
  return OVERHEAD + Buffer.byteLength(prefix + key) + Buffer.byteLength(value ?? '')
}

/** Splits changes into transactions within etcd's limits; INPUT_INVALID for a value beyond them. */
export function toBatches(layout: EtcdLayout, changes: readonly ConfigChange[]): ConfigChange[][] {
  const batches: ConfigChange[][] = []
  let batch: ConfigChange[] = []
  let size = 0
  for (const change of changes) {
    const own = sizeOf(layout, change)
    if (own > LARGEST_REQUEST) throw tooLarge(layout.name, change.key)
    if (batches.length === 0 || batch.length === MOST_OPERATIONS || size + own > LARGEST_REQUEST) {
      batch = []
      size = 0
      batches.push(batch)
    }
    batch.push(change)
    size += own
  }
  return batches
}

function tooLarge(name: string, key: string): StepError {
  return new StepError('INPUT_INVALID', `${name}: ${key}: the value is larger than etcd takes`, {
    hint: 'A value has at most 1.4 million bytes; keep large content elsewhere.',
  })
}

export function toOperation(layout: EtcdLayout, { key, value }: ConfigChange): IRequestOp {
  const at = etcdKey(layout, key)
  return value === null
    ? { request_delete_range: { key: at } }
    : { request_put: { key: at, value: Buffer.from(value) } }
}

/** True when the key has this value; with null, when it is absent. */
export function compare(key: Buffer, value: Buffer | null): ICompare {
  return value === null
    ? { key, target: 'Create', result: 'Equal', create_revision: '0' }
    : { key, target: 'Value', result: 'Equal', value }
}

/** The result of the range request at this index of a transaction. */
export function found(response: ITxnResponse, index: number): { kvs: IKeyValue[]; more: boolean } {
  const range = response.responses[index]?.response_range
  if (range) return range
  throw new StepError('INTERNAL', 'etcd returned fewer results of a transaction than requested')
}
