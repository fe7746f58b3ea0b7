import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { explain, StepError } from '../../core/errors.ts'
import { type KeyRing, parseKeyRing } from '../rules/encryption.ts'
import type { ConfigStore } from './store.ts'

/** Where a config centre is, and what is needed to speak to it. */
export interface StoreAddress {
  /** `file:PATH`, `redis://…`, `etcd://…` */
  url: string
  /** PEM files. */
  ca?: string | undefined
  cert?: string | undefined
  key?: string | undefined
  'sentinel-password'?: string | undefined
}

export interface OpenStoreOptions {
  /** All paths start from here. */
  folder: string
  signal: AbortSignal
}

/** Opens the driver that the address names; nothing has been asked of it yet. */
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
  const tls = await readTls(address, folder)
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

async function readTls({ ca, cert, key }: StoreAddress, folder: string) {
  const tls: { ca?: string; cert?: string; key?: string } = {}
  for (const [name, path] of Object.entries({ ca, cert, key })) {
    if (path === undefined) continue
    tls[name as keyof typeof tls] = await readText(resolve(folder, path))
  }
  return tls
}

/** The keys for encrypted values: `file:PATH`, an absolute path, or the keys themselves. */
export async function openKeyRing(text: string, source: string, folder: string): Promise<KeyRing> {
  // GitLab hands a variable of type File over as a path.
  const path = /^(?:file:|(?=\/))(.+)$/.exec(text)?.[1]
  if (path === undefined) return parseKeyRing(text, source)
  return parseKeyRing(await readText(resolve(folder, path)), path)
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw explain(path, error)
  })
}
