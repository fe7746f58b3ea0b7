import { fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import t from 'tap'
import { silentLog } from '../../../src/core/log.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import { workerEnvironmentOf } from '../../../src/server/effects/worker-environment.ts'
import type { Notice } from '../../../src/server/feedback/notice.ts'
import type { Metrics } from '../../../src/server/monitoring/metrics.ts'
import { startSchedules } from '../../../src/server/schedules/schedules.ts'
import type { ScheduleSettings } from '../../../src/server/schedules/settings.ts'
import { freePort } from '../../support/servers/ports.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { startQueueRedis } from '../../support/servers/webhooks.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const PROGRAM = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const skip = missingProgram('redis-server', 'redis-cli')
const settings = (greeting: string) => `webapi:\n  greeting: "${greeting}"\n`

t.test(
  'one server of two runs a due schedule, and notifies when it finds something',
  { skip },
  async (t) => {
    const redis = await startQueueRedis(t)
    const folder = await temporaryFolder(t)
    const file =
      'app: webapi\nenvironments:\n  test: { image: registry.example.com/a, config: "file:test.yaml" }\n'
    await writeFile(join(folder, 'crosscloud.yml'), file)
    await writeFile(join(folder, 'test.yaml'), settings('good\\u200b morning'))
    const notices: Notice[] = []
    const ends: string[] = []
    const stop = new AbortController()
    const start = async (schedules: ScheduleSettings[]) => {
      const client = new Redis(redis.url, { maxRetriesPerRequest: null })
      const worker = await startSchedules({
        client,
        name: 'test',
        schedules,
        log: silentLog,
        signal: stop.signal,
        worker: workerEnvironmentOf({
          settings: { folder },
          program: PROGRAM,
          log: silentLog,
          secrets: createSecrets(),
          variables: process.env,
        }),
        feedback: {
          notify: async (_names, notice) => void notices.push(notice),
          report: async () => {},
          close: async () => {},
        },
        metrics: {
          schedule: (name: string, end: string) => void ends.push(`${name} ${end}`),
        } as Metrics,
      })
      const close = async () => {
        await worker?.close()
        client.disconnect()
      }
      t.teardown(close)
      return close
    }
    const schedule = (name: string, run: ScheduleSettings['run']): ScheduleSettings => ({
      name,
      run,
      // With seconds, which the file does not take.
      cron: '*/2 * * * * *',
      zone: 'UTC',
      env: 'test',
      folder: '.',
      variables: {},
      notify: ['ops'],
      timeout: 60_000,
    })
    const both = [schedule('lint', 'config-lint'), schedule('drift', 'drift')]
    const servers = [await start(both), await start(both)]
    for (
      let tries = 0;
      tries < 200 && !(ends.includes('lint failed') && ends.includes('drift done'));
      tries++
    ) {
      await sleep(100)
    }
    t.match(notices[0], {
      what: 'failed',
      route: 'lint',
      facts: { environment: 'test' },
      text: /^the config has 1 error/,
    })
    t.ok(ends.includes('drift done'), 'nothing runs, as the ledger says')
    const ids = notices.map(({ id }) => id)
    t.strictSame(ids, [...new Set(ids)], 'each is notified once')
    await writeFile(join(folder, 'test.yaml'), settings('good morning'))
    ends.length = 0
    for (let tries = 0; tries < 200 && !ends.includes('lint done'); tries++) await sleep(100)
    t.ok(ends.includes('lint done'), 'repaired')
    for (const close of servers) await close()
    await start([])
    t.equal(
      await redis.cli('zcard', '{crosscloud:test}:schedules:repeat'),
      '0',
      'what the file does not say ends',
    )
  },
)

t.test('a command ends when the process that started it is killed', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const folder = await temporaryFolder(t)
  // A command that would go on for ever.
  const secrets = ['a-secret-of-the-test-1']
  const file = { listen: { port: await freePort() }, queue: { redis: redis.url } }
  const server = JSON.stringify({ ...file, gitlab: { secrets, projects: ['**'] } })
  await writeFile(join(folder, 'crosscloud.server.yml'), server)
  const starter = `
    const child = require('node:child_process').fork(process.argv[2], ['serve'], { stdio: 'pipe' })
    child.stdout.on('data', (text) => /listening/.test(text) && process.send(child.pid))`
  await writeFile(join(folder, 'starter.cjs'), starter)
  const parent = fork(join(folder, 'starter.cjs'), [PROGRAM], { cwd: folder, execArgv: [] })
  const [pid] = (await once(parent, 'message')) as [number]
  parent.kill('SIGKILL')
  await once(parent, 'exit')
  const lives = () => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  }
  for (let tries = 0; tries < 200 && lives(); tries++) await sleep(50)
  t.notOk(lives())
})
