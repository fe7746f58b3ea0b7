import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parseDocument } from 'yaml'
import { run } from '../../src/core/process/process.ts'
import { fixture } from '../support/data/signatures.ts'
import { DELIVERY_TOKEN, startDeliveryGitlab } from '../support/platforms/delivery-gitlab.ts'
import { fetchText } from '../support/servers/http.ts'
import { missingProgram } from '../support/servers/server.ts'
import { deliver, startQueueRedis, startWebhookServer } from '../support/servers/webhooks.ts'
import { createDemo, type Demo } from '../support/setups/demo.ts'

const SECRET = 'a-secret-of-the-test-1'
const missing = missingProgram('redis-server', 'redis-cli', 'git')
const demo = missing || (await createDemo(t, { server: 'small' }))
if (typeof demo === 'string') t.test('webhooks of the demo', { skip: demo }, async () => {})
else await t.test('webhooks of the demo', (t) => webhooks(t, demo))

async function until<T>(look: () => Promise<T | undefined>, timeout = 120_000): Promise<T> {
  for (const end = Date.now() + timeout; Date.now() < end; await sleep(200)) {
    const found = await look()
    if (found !== undefined) return found
  }
  throw new Error('it did not come')
}

/** The project as a repository; its ledger is elsewhere, as a checkout is thrown away. */
async function makeRepository({ project }: Demo): Promise<string> {
  const file = join(project, 'crosscloud.yml')
  const settings = parseDocument(await readFile(file, 'utf8'))
  settings.set('ledger', `sqlite:${join(project, 'ledger.db')}`)
  settings.set('identity', 'unverified')
  const gate = { approvals: 1, approvers: ['harbor-scan'], verified: false, 'four-eyes': false }
  settings.setIn(['environments', 'staging', 'gate'], gate)
  await writeFile(file, settings.toString())
  await writeFile(join(project, '.gitignore'), 'target\nledger.db*\n')
  const git = (...args: string[]) => run('git', args, { cwd: project })
  const who = ['-c', 'user.name=Li', '-c', 'user.email=li@example.com']
  await git('init', '--quiet', '-b', 'main', '.')
  await git('add', '--all')
  await git(...who, 'commit', '--quiet', '--message', 'Round prices')
  return (await git('rev-parse', 'HEAD')).stdout.trim()
}

async function webhooks(t: Test, demo: Demo): Promise<void> {
  const commit = await makeRepository(demo)
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  const folder = demo.project
  const server = await startWebhookServer(
    t,
    {
      queue: { redis: redis.url },
      gitlab: { secrets: [SECRET], projects: ['team/*'], url: gitlab.url, token: DELIVERY_TOKEN },
      harbor: { secrets: [SECRET], projects: ['team/*'] },
      routes: [
        {
          name: 'build',
          source: 'gitlab',
          branches: ['main'],
          status: true,
          run: {
            step: 'release',
            env: 'test',
            repository: `file://${folder}`,
            reason: '{{by}}: {{title}}',
          },
        },
        { name: 'table', source: 'gitlab', on: ['comment'], reply: { folder } },
        { name: 'follow', source: 'harbor', on: ['artifact'], run: { step: 'deploy', folder } },
        {
          name: 'scan',
          source: 'harbor',
          on: ['scan'],
          gate: { folder, severity: 'high', approve: true },
        },
      ],
    },
    { env: { CROSSCLOUD_CACHE: join(folder, '../cache') } },
  )
  let key = 0
  const send = (path: string, body: object) => {
    const token = { 'x-gitlab-token': SECRET, authorization: SECRET }
    const headers = { ...token, 'idempotency-key': `k${++key}` }
    return deliver(server.port, `/webhooks/${path}`, headers, JSON.stringify(body))
  }
  const logged = (words: string) =>
    until(async () => (server.running.output().includes(words) ? true : undefined)).catch(() => {
      throw new Error(`"${words}" was not logged:\n${server.running.output()}`)
    })
  const release = async () => {
    const { stdout } = await demo.cli('history', '--json')
    return (JSON.parse(stdout) as { deployments: Record<string, string>[] }).deployments
  }

  await t.test('a push is released to test in the name of its author', async (t) => {
    const push = { ...fixture('gitlab/push'), after: commit, checkout_sha: commit }
    t.match(await send('gitlab', push), { status: 202 })
    await logged('webapi@1.0.0 runs in test')
    t.match(await demo.json('status'), {
      environments: [{ environment: 'test', version: '1.0.0', by: 'li' }],
    })
    await until(async () => gitlab.statuses.find(({ state }) => state === 'success'))
    const states = gitlab.statuses.map(({ state, name }) => `${name} ${state}`)
    t.strictSame(states, ['crosscloud/build running', 'crosscloud/build success'])
    t.match(gitlab.statuses, [{ commit, project: 'team/webapi' }, {}])
    const shown = await demo.json('show', 'webapi@1.0.0')
    t.match(JSON.stringify(shown), commit)
  })

  await t.test('an image pushed to Harbor is deployed by the route that follows it', async (t) => {
    const [{ digest = '', id: before = '' } = {}] = await release()
    const registry = demo.addresses[0]
    const push = fixture('harbor/push_artifact')
    const resources = [{ digest, tag: '1.0.0', resource_url: `${registry}/team/webapi:1.0.0` }]
    const data = { ...(push.event_data as object), resources }
    t.match(await send('harbor', { ...push, event_data: data }), { status: 202 })
    const after = await until(async () => {
      const [newest] = await release()
      return newest && newest.id !== before && newest.state === 'succeeded' ? newest : undefined
    })
    t.match(after, { environment: 'test', version: '1.0.0', digest })
    const unknown = [
      { digest: `sha256:${'0'.repeat(64)}`, tag: 'x', resource_url: `${registry}/team/webapi:x` },
    ]
    await send('harbor', { ...push, occur_at: 1, event_data: { ...data, resources: unknown } })
    await logged('no release of webapi in the ledger has the image sha256:0000')
    await logged('tried again at')
    await send('harbor', { ...push, occur_at: 2, event_data: data })
    const next = await until(async () => {
      const [newest] = await release()
      return newest && newest.id !== after.id && newest.state === 'succeeded' ? newest : undefined
    })
    t.match(next, { version: '1.0.0' }, 'what nobody knows holds nothing up')
  })

  await t.test('a bad scan closes the gate and a good scan opens it', async (t) => {
    const [{ digest = '' } = {}] = await release()
    const scan = (name: string, repository = 'team/webapi') => {
      const event = fixture(`harbor/${name}`)
      const data = event.event_data as { resources: object[] }
      const resource_url = `${demo.addresses[0]}/${repository}:1.0.0`
      const resources = [{ ...data.resources[0], digest, resource_url }]
      const where = { repo_full_name: repository }
      return { ...event, event_data: { ...data, resources, repository: where } }
    }
    await send('harbor', scan('scanning_completed'))
    await logged('webapi@1.0.0 is kept out of staging: the scan found severity Critical')
    await send('harbor', scan('scanning_completed-clean', 'team/sandbox'))
    await logged('/team/sandbox: nothing was done')
    const refused = await demo.cli('promote', '--release', 'webapi@1.0.0', '--to', 'staging')
    t.equal(refused.code, 1)
    t.match(refused.stderr, /harbor-scan.*the scan found severity Critical/)
    await send('harbor', scan('scanning_completed-clean'))
    await logged('webapi@1.0.0 may go to staging')
    const open = await demo.cli('promote', '--release', 'webapi@1.0.0', '--to', 'staging')
    t.equal(open.code, 0, open.stderr)
  })

  await t.test('a comment gets one reply with the status table', async (t) => {
    t.match(await send('gitlab', fixture('gitlab/note-merge_request')), { status: 202 })
    const note = await until(async () => gitlab.notes[0])
    t.match(note, { project: 'team/webapi', number: 16 })
    t.match(note.body, /^<!-- crosscloud:\w+ -->\n\*\*webapi\*\*/)
    t.match(note.body, /\| test \| 1\.0\.0 \| [\d: -]+ \| robot\$team\+ci \| /)
    const other = fixture('gitlab/note-merge_request')
    const words = { ...(other.object_attributes as object), note: 'looks good to me' }
    t.match(await send('gitlab', { ...other, object_attributes: words }), {
      body: { ignored: /./ },
    })
  })

  await t.test('the metrics count effects and replies', async (t) => {
    const { body } = await fetchText(`http://127.0.0.1:${server.port}/metrics`)
    t.match(body, /crosscloud_effect_seconds_count\{route="build"\} 1/)
    t.match(body, /crosscloud_feedback_total\{receiver="gitlab",end="sent"\} 2/)
  })
}
