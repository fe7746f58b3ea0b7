import { resolve } from 'node:path'
import { readTlsFiles } from '../../core/tls-files.ts'
import type { StoreAddress } from './address.ts'
import type { ConfigStore } from './store.ts'

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
  const { url, 'sentinel-password': sentinelPassword } = address
  if (url.kind === 'file') {
    const { openFileStore } = await import('./file/store.ts')
    return openFileStore(resolve(folder, url.path), { signal })
  }
  const tls = await readTlsFiles(address, { folder, owner: 'the config centre' })
  if (url.kind === 'redis') {
    const { openRedisStore } = await import('./redis/store.ts')
    return openRedisStore(url.server, {
      tls,
      signal,
      ...(sentinelPassword && { sentinelPassword }),
    })
  }
  const { openEtcdStore } = await import('./etcd/store.ts')
  return openEtcdStore(url.server, { tls, signal })
}
