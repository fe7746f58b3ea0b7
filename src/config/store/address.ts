import { StepError } from '../../core/errors.ts'
import type { TlsFiles } from '../../core/tls-files.ts'
import { parseRedisUrl, type RedisAddress } from '../../redis/address.ts'
import { type EtcdAddress, parseEtcdUrl } from './etcd/url.ts'

/** What the URL of a config centre names. */
export type StoreLocation =
  | { kind: 'file'; path: string }
  | { kind: 'redis'; server: RedisAddress }
  | { kind: 'etcd'; server: EtcdAddress }

/** The location of a config centre, and the PEM files to connect with. */
export interface StoreAddress extends TlsFiles {
  url: StoreLocation
  'sentinel-password'?: string | undefined
}

/** Reads `file:PATH`, `PATH`, `redis://…` and `etcd://…`; INPUT_INVALID for any other. */
export function parseStoreUrl(url: string): StoreLocation {
  const scheme = /^([a-z][a-z0-9+]*):/.exec(url)?.[1] ?? 'file'
  if (scheme === 'file') {
    return { kind: 'file', path: url.replace(/^file:(?:\/\/(?=\/))?/, '') }
  }
  if (/^rediss?(\+|$)/.test(scheme)) return { kind: 'redis', server: parseRedisUrl(url) }
  if (/^etcds?$/.test(scheme)) return { kind: 'etcd', server: parseEtcdUrl(url) }
  throw new StepError('INPUT_INVALID', `config centre "${scheme}:…" is not known`, {
    hint: 'Write file:PATH (.yaml, .properties or .json), redis://HOST/0 or etcd://HOST:2379.',
  })
}
