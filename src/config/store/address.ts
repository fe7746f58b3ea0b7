import { StepError } from '../../core/errors.ts'
import { parseRedisUrl, type RedisAddress } from '../../redis/address.ts'
import { type EtcdAddress, parseEtcdUrl } from './etcd/url.ts'

/** A parsed address of a config centre. May hold a password: never print it. */
export type StoreAddress =
  /** Relative to the folder of the settings. */
  | { kind: 'file'; path: string }
  | { kind: 'redis'; redis: RedisAddress }
  | { kind: 'etcd'; etcd: EtcdAddress }

/** Reads `file:PATH`, a plain path, `redis://…` or `etcd://…`; INPUT_INVALID for any other. */
export function parseStoreAddress(url: string): StoreAddress {
  const scheme = /^([a-z][a-z0-9+]*):/.exec(url)?.[1] ?? 'file'
  if (scheme === 'file') return { kind: 'file', path: url.replace(/^file:(?:\/\/(?=\/))?/, '') }
  if (/^rediss?(\+|$)/.test(scheme)) return { kind: 'redis', redis: parseRedisUrl(url) }
  if (scheme === 'etcd' || scheme === 'etcds') return { kind: 'etcd', etcd: parseEtcdUrl(url) }
  throw new StepError('INPUT_INVALID', `config centre "${scheme}:…" is not known`, {
    hint: 'Write file:PATH (.yaml, .properties or .json), redis://HOST/0 or etcd://HOST:2379.',
  })
}
