import { resolve } from 'node:path'
import { readTlsFiles, type TlsFiles } from '../../core/files/tls-files.ts'
import type { Log } from '../../core/log.ts'
import type { StoreAddress } from './address.ts'
import type { ConfigStore } from './store.ts'

/** The address of a config centre, and the PEM files to connect with. */
export interface StoreSettings extends TlsFiles {
  url: StoreAddress
  'sentinel-password'?: string | undefined
}

export interface OpenStoreOptions {
  /** All paths start from here. */
  folder: string
  signal: AbortSignal
  /** Told what is waited for. */
  log: Pick<Log, 'info'>
}

/** Opens the driver that the address names; it connects on first use. */
export async function openStore(
  settings: StoreSettings,
  { folder, signal, log }: OpenStoreOptions,
): Promise<ConfigStore> {
  const { url } = settings
  if (url.kind === 'file') {
    const { openFileStore } = await import('./file/store.ts')
    return openFileStore(resolve(folder, url.path), { signal })
  }
  const tls = await readTlsFiles(settings, { folder, owner: 'the config centre' })
  if (url.kind === 'redis') {
    const { openRedisStore } = await import('./redis/store.ts')
    const sentinelPassword = settings['sentinel-password']
    return openRedisStore(url.redis, {
      tls,
      signal,
      log,
      ...(sentinelPassword && { sentinelPassword }),
    })
  }
  const { openEtcdStore } = await import('./etcd/store.ts')
  return openEtcdStore(url.etcd, { tls, signal })
}
