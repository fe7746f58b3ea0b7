import { readdirSync, readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { openLedger } from '../../../src/ledger/open.ts'
import { kept, setOf, withheld } from '../conformance/config-changes.ts'
import { HOSTILE, release } from '../conformance/samples.ts'

const FOLDER = new URL('released/', import.meta.url)

/** A ledger with records in it, written by a released version: `0001-first` and its dump. */
export interface ReleasedLedger {
  schema: string
  sql: string
}

export function releasedLedgers(database: 'sqlite' | 'mysql'): ReleasedLedger[] {
  const ending = `.${database}.sql`
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(ending))
    .map((file) => ({
      schema: file.slice(0, -ending.length),
      sql: readFileSync(new URL(file, FOLDER), 'utf8'),
    }))
}

/** Opens a database that has such a ledger, many at once, and looks for all that was in it. */
export async function bringsUpToDate(t: Test, url: string): Promise<void> {
  const ledgers = await Promise.all([1, 2, 3, 4].map(() => openLedger(url)))
  t.teardown(() => Promise.all(ledgers.map((ledger) => ledger.close())))
  const [ledger] = ledgers
  if (!ledger) return
  // Of what was added since nothing is known.
  const first = release('1.0.0', {
    jobUrl: undefined,
    committedAt: undefined,
    bakedIdentity: undefined,
    bakedById: undefined,
    bakedByMail: undefined,
  })
  t.strictSame(await ledger.findRelease('webapi', '1.0.0'), first)
  t.match(await ledger.releases('webapi', 10), [{ version: '1.0.1' }, { version: '1.0.0' }])
  const [running, done] = await ledger.deployments({ limit: 10 })
  t.match(running, { id: 'd2', state: 'running' })
  t.match(done, { id: 'd1', reason: HOSTILE, hosts: [{ host: 'app-01' }, { host: 'app-02' }] })
  t.equal(await ledger.findConfigRevision('r1'), '{"/webapi/a":"1"}')
  t.match(await ledger.current(), [{ id: 'd1', app: 'webapi', environment: 'test' }])
  const sets = await ledger.configChanges({ limit: 10 })
  if (sets.length > 0)
    t.match(sets, [
      { id: 'c1', changes: [{ key: '/webapi/a', after: kept(HOSTILE) }, { key: '/webapi/b' }] },
    ])

  t.equal(await ledger.nextVersion('webapi'), '1.0.2')
  t.equal((await ledger.lock('webapi', 'test', 'li', 'again', 1000)).token, 2)
  const change = { key: '/webapi/a', before: withheld, after: kept('2') }
  const recorded = await Promise.all(ledgers.map((one) => one.recordConfigChange(setOf([change]))))
  const ids = [1, 2, 3, 4].map((number) => `c${number + sets.length}`)
  t.same(recorded.map((set) => set.id).sort(), ids)
}
