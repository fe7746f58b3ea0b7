import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Test } from 'tap'
import { sha256 } from '../../../src/core/digest.ts'
import { silentLog } from '../../../src/core/log.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import { createRegistryClient, type RegistryClientOptions } from '../../../src/registry/client.ts'
import type { Credential } from '../../../src/registry/credentials.ts'
import type { Repository } from '../../../src/registry/reference.ts'
import type { RegistryClient } from '../../../src/registry/types.ts'
import {
  type Fault,
  type RegistryAuth,
  startRegistry,
} from '../../../src/registry-server/server.ts'

type Ask = { method: string; path: string }

/** An embedded registry, and a client of it that knows `credential`. */
export async function setUp(
  t: Test,
  {
    auth,
    ...options
  }: { auth?: RegistryAuth; credential?: Credential } & Partial<RegistryClientOptions>,
) {
  const faults: { when: (ask: Ask) => boolean; fault: Fault; times: number }[] = []
  const registry = await startRegistry({
    folder: t.testdir(),
    ...(auth ? { auth } : {}),
    faults: (ask) => {
      const found = faults.find(({ when, times }) => times > 0 && when(ask))
      if (found) found.times--
      return found?.fault
    },
  })
  t.teardown(() => registry.close())
  const client = await newClient(t, options)
  const place: Repository = { registry: registry.address, name: 'team/webapi' }
  /** The next `times` requests with this method and path (a part of it) go wrong. */
  const fail = (method: string, path: string, fault: Fault, times = 1) => {
    faults.push({ when: (ask) => ask.method === method && ask.path.includes(path), fault, times })
  }
  const seen = (method: string, path = '') =>
    registry.requests.filter((request) => request.method === method && request.path.includes(path))
  return { registry, client, place, fail, seen }
}

export async function newClient(
  t: Test,
  { credential, ...options }: { credential?: Credential } & Partial<RegistryClientOptions> = {},
): Promise<RegistryClient> {
  const client = createRegistryClient({
    credentials: { find: async () => credential },
    secrets: createSecrets(),
    log: silentLog,
    signal: new AbortController().signal,
    retry: { firstPause: 5 },
    ...options,
  })
  t.teardown(() => client.close())
  return client
}

export function makeBlob(size = 1000) {
  const bytes = randomBytes(size)
  let opened = 0
  const open = async () => {
    opened++
    return Readable.from([bytes.subarray(0, size / 2), bytes.subarray(size / 2)])
  }
  return { bytes, blob: { digest: sha256(bytes), size }, open, opened: () => opened }
}

/** Whether a repository of a registry without passwords has a blob. */
export async function hasBlob({ registry, name }: Repository, digest: string): Promise<boolean> {
  return (await fetch(`http://${registry}/v2/${name}/blobs/${digest}`, { method: 'HEAD' })).ok
}

/** The tags of a repository, sorted. */
export async function tagsOf({ registry, name }: Repository): Promise<string[]> {
  const response = await fetch(`http://${registry}/v2/${name}/tags/list`)
  const { tags } = (await response.json()) as { tags: string[] | null }
  return (tags ?? []).sort()
}

export const alice = { username: 'alice', password: 'open-sesame' }
