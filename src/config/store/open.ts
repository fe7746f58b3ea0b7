import { resolve } from 'node:path'
import { StepError } from '../../core/errors.ts'
import { readTlsFiles, type TlsFiles } from '../../core/tls-files.ts'
import type { ConfigStore } from './store.ts'

/** The address of a config centre, and the PEM files to connect with. */
export interface StoreAddress extends TlsFiles {
  /** `file:PATH`, `redis://…`, `etcd://…` */
  url: string
  'sentinel-password'?: string | undefined
}

export interface OpenStoreOptions {
  /** All paths start from here. */
  folder: string
  signal: AbortSignal
}

/** Opens the driver that the address names; it connects on first use. */
export async function openStore(
  address: StoreAddress,
  { folder, signal }: OpenStoreOptions,
): Promise<ConfigStore> {
  const { url } = address
  const scheme = /^([a-z][a-z0-9+]*):/.exec(url)?.[1] ?? 'file'
  if (scheme === 'file') {
    const { openFileStore } = await import('./file/store.ts')
    return openFileStore(resolve(folder, url.replace(/^file:(?:\/\/(?=\/))?/, '')), { signal })
  }
  const tls = await readTlsFiles(address, { folder, owner: 'the config centre' })
  if (/^rediss?(\+|$)/.test(scheme)) {
    const { openRedisStore } = await import('./redis/store.ts')
    const sentinelPassword = address['sentinel-password']
    return openRedisStore(url, { tls, signal, ...(sentinelPassword && { sentinelPassword }) })
  }
  if (scheme === 'etcd' || scheme === 'etcds') {
    const { openEtcdStore } = await import('./etcd/store.ts')
    return openEtcdStore(url, { tls, signal })
  }
  throw new StepError('INPUT_INVALID', `config centre "${scheme}:…" is not known`, {
    hint: 'Write file:PATH (.yaml, .properties or .json), redis://HOST/0 or etcd://HOST:2379.',
  })
}
