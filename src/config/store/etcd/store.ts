import type { TlsTexts } from '../../../core/files/tls-files.ts'
import { changeByJournal } from '../journal.ts'
import { checkChanges } from '../keys.ts'
import type { ConfigStore } from '../store.ts'
import { changeAtOnce, isSmall } from './change.ts'
import { createEtcdClient } from './client.ts'
import { etcdError } from './errors.ts'
import { journaledStore } from './journal.ts'
import { layoutOf } from './layout.ts'
import { readSnapshot } from './snapshot.ts'
import type { EtcdAddress } from './url.ts'

export interface EtcdStoreOptions {
  tls?: TlsTexts
  signal?: AbortSignal | undefined
}

/**
 * An etcd as config centre: `etcd://[user:password@]host:2379[,host:2379][/prefix]`, `etcds://` for
 * TLS. A snapshot has one revision. A change is one transaction; beyond 128 keys or 1.4 MB it uses
 * a journal. Two stores with one prefix see each other's journals; stores whose prefixes
 * lie in each other do not.
 */
export function openEtcdStore(address: EtcdAddress, options: EtcdStoreOptions = {}): ConfigStore {
  const { tls = {}, signal } = options
  const { name } = address
  const client = createEtcdClient(address, tls, signal)
  const layout = layoutOf(name, address.prefix)
  return {
    name,
    async snapshot(roots) {
      try {
        return await readSnapshot(client, layout, roots)
      } catch (error) {
        throw etcdError(name, address, 'read', error)
      }
    },
    async change(changes, expect = []) {
      checkChanges(changes, expect)
      if (changes.length === 0 && expect.length === 0) return
      try {
        const small = isSmall(layout, changes, expect)
        if (small && (await changeAtOnce(client, layout, changes, expect))) return
        await changeByJournal(name, journaledStore(client, layout), changes, expect, signal)
      } catch (error) {
        throw etcdError(name, address, 'readwrite', error)
      }
    },
    async close() {
      client.close()
    },
  }
}
