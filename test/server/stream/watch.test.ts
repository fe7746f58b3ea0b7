import { join } from 'node:path'
import t from 'tap'
import { silentLog } from '../../../src/core/log.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { parseRedisUrl } from '../../../src/redis/address.ts'
import { accessQueue } from '../../../src/server/queue/access.ts'
import { openQueueRedis } from '../../../src/server/queue/connection.ts'
import { openEvents } from '../../../src/server/stream/events.ts'
import { watchLedgers } from '../../../src/server/stream/watch.ts'
import { digestOf, release } from '../../ledger/conformance/samples.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { startQueueRedis } from '../../support/servers/webhooks.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { until } from '../../support/until.ts'

const skip = missingProgram('redis-server', 'redis-cli')

t.test(
  'what others write into the ledger is told once, by one of the servers',
  { skip },
  async (t) => {
    const folder = await temporaryFolder(t)
    const ledger = await openLedger(join(folder, 'ledger.db'))
    t.teardown(() => ledger.close())
    await ledger.recordRelease(release('1.0.0'))
    const server = await startQueueRedis(t)
    const redis = await openQueueRedis({ url: parseRedisUrl(server.url) }, folder, silentLog)
    t.teardown(() => redis.close())
    const options = { server: 'redis', name: 'crosscloud', dedupeWindow: 1, retention: 1 }
    const events = openEvents(accessQueue(redis.failFast, options))
    let looks = 0
    const openWatched = async () => {
      looks++
      return { ledger, environments: ['test', 'staging'] }
    }
    const watches = [1, 2].map(() =>
      watchLedgers({
        ...{ names: ['webapi'], open: openWatched, events, log: silentLog },
        ...{ isAsked: () => true, pause: 20 },
      }),
    )
    t.teardown(() => {
      for (const watch of watches) watch.close()
    })
    const lookTwice = async () => {
      const end = looks + 6
      await until(() => looks >= end)
    }
    const told = async () =>
      (await events.read(0, 100)).map(({ type, environment }) => `${type} ${environment}`)
    await lookTwice()
    t.strictSame(await told(), [], 'what was there before is no news')

    await ledger.recordConfigChange({
      ...{ app: 'webapi', environment: 'test', by: 'li', reason: 'more load' },
      changes: [
        { key: '/webapi/pool', before: { state: 'absent' }, after: { state: 'kept', text: '5' } },
      ],
    })
    await lookTwice()
    t.strictSame(await told(), ['config.changed test'])

    await ledger.recordApproval({
      ...{ app: 'webapi', environment: 'staging', version: '1.0.0', decision: 'approved' },
      ...{ digest: digestOf('image 1.0.0'), by: 'zhang', groups: [], identity: 'unverified' },
      ...{ reason: undefined },
    })
    await lookTwice()
    t.ok((await told()).includes('approval.changed staging'))

    const lock = await ledger.lock('webapi', 'test', 'li', 'a test', 60_000)
    await lookTwice()
    const locked = await told()
    t.ok(locked.includes('status.changed test'))
    await ledger.heartbeat(lock, 90_000)
    await lookTwice()
    t.strictSame(await told(), locked, 'a heartbeat is no news')
    await ledger.unlock(lock)
    await lookTwice()
    t.strictSame(await told(), [...locked, 'status.changed test'])
  },
)
