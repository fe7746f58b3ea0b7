import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { silentLog } from '../../../src/core/log.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { parseRedisUrl } from '../../../src/redis/address.ts'
import { openQueueRedis } from '../../../src/server/queue/connection.ts'
import { idOfSession } from '../../../src/server/sessions/keys.ts'
import { openSessionStore, type SessionRecord } from '../../../src/server/sessions/store.ts'
import { runHere } from '../../support/program.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { startQueueRedis } from '../../support/servers/webhooks.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const skip = missingProgram('redis-server', 'redis-cli')
const ISSUER = 'https://gitlab.example.com'

t.test('sessions are listed and revoked, by name or all that fit', { skip }, async (t) => {
  const cwd = await temporaryFolder(t)
  const server = await startQueueRedis(t)
  const settings = {
    queue: { redis: server.url },
    ledger: 'sqlite:ledger.db',
    sessions: { url: 'https://${NOT_SET}' },
  }
  await writeFile(join(cwd, 'crosscloud.server.yml'), stringify(settings))
  const redis = await openQueueRedis({ url: parseRedisUrl(server.url) }, cwd, silentLog)
  t.teardown(() => redis.close())
  const base = '{crosscloud:crosscloud}:'
  const store = openSessionStore({ client: redis.failFast, server: 'redis', base })
  const start = async (by: string, project: string, identity = ISSUER) => {
    const session = `ccs_${by}-${project.replace('/', '-')}`
    const now = Date.now()
    const record: SessionRecord = {
      subject: { kind: 'job', name: `job 1 of ${project} (${by})`, by, identity, names: [] },
      ...{ project, thumbprint: 't', token: by, startedAt: now, end: now + 60_000 },
    }
    await store.create(session, record, { expiresAt: now + 60_000, most: 10 })
    return { session, id: idOfSession(session) }
  }
  const mine = await start('li', 'team/webapi')
  await start('wang', 'team/webapi')
  await start('wang', 'team/shop')
  await start('wang', 'team/shop2', 'https://other.example.com')
  const run = (...args: string[]) => runHere(['sessions', ...args], { cwd })

  const list = await run('list')
  t.equal(list.code, 0, list.stderr)
  t.match(list.stdout, /job 1 of team\/webapi \(li\) +https:\/\/gitlab\.example\.com +20/)
  t.equal(list.stdout.trim().split('\n').length, 5)
  t.notMatch(list.all, /ccs_/)
  const some = await run('list', '--project', 'team/shop', '--json')
  t.match(JSON.parse(some.stdout), { sessions: [{ by: 'wang', issuer: ISSUER }] })

  const one = await run('revoke', mine.id)
  t.match(one, { code: 0, stdout: /^Revoked 1 session of id \S+\.\n {2}job 1 of team\/webapi/ })
  t.equal(await store.find(mine.session), undefined)
  const all = await run('revoke', '--user', 'wang', '--issuer', ISSUER)
  t.match(all, { code: 0, stdout: /^Revoked 2 sessions of user wang, issuer https/ })
  t.equal((await store.list({})).length, 1, 'the other issuer has its own wang')

  t.match(await run('revoke', mine.id), { code: 1, stderr: /there is no session of id/ })
  t.match(await run('revoke'), { code: 2, stderr: /not said which sessions/ })
  t.match(await run('list', '--user', 'nobody'), { code: 0, stdout: /There is no such session/ })

  const ledger = await openLedger(join(cwd, 'ledger.db'))
  t.teardown(() => ledger.close())
  t.match(await ledger.audits({ limit: 9 }), [
    { verb: 'admin', via: 'cli', object: { text: /^revoke 2 sessions of user wang, issuer/ } },
    { verb: 'admin', decision: 'allowed', object: { text: /^revoke 1 session of id/ } },
  ])
})

t.test('a revocation that cannot be recorded is none', { skip }, async (t) => {
  const cwd = await temporaryFolder(t)
  const server = await startQueueRedis(t)
  await writeFile(join(cwd, 'other.yml'), stringify({ queue: { redis: server.url } }))
  const redis = await openQueueRedis({ url: parseRedisUrl(server.url) }, cwd, silentLog)
  t.teardown(() => redis.close())
  const base = '{crosscloud:crosscloud}:'
  const store = openSessionStore({ client: redis.failFast, server: 'redis', base })
  const now = Date.now()
  const subject = { kind: 'job', name: 'a job', by: 'li', identity: ISSUER, names: [] } as const
  const record = { project: 'a/b', thumbprint: 't', token: 'x', startedAt: now, end: now + 60_000 }
  await store.create('ccs_a', { ...record, subject }, { expiresAt: now + 60_000, most: 10 })
  const { code, stderr } = await runHere(
    ['sessions', 'revoke', '--user', 'li', '--server', 'other.yml'],
    { cwd },
  )
  t.equal(code, 2)
  t.match(stderr, /other\.yml has no ledger/)
  t.ok(await store.find('ccs_a'))
})
