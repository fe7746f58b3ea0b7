import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { runHere } from '../support/program.ts'
import { missingProgram } from '../support/servers/server.ts'
import { startQueueRedis } from '../support/servers/webhooks.ts'
import { temporaryFolder } from '../support/temporary.ts'

const SECRET = 'a-secret-of-the-test-1'
const skip = missingProgram('redis-server', 'redis-cli')

t.test(
  'a server does not start with wrong settings or a Redis that forgets',
  { skip },
  async (t) => {
    const redis = await startQueueRedis(t)
    const folder = await temporaryFolder(t)
    const start = async (settings: object, ...args: string[]) => {
      await writeFile(join(folder, 'crosscloud.server.yml'), stringify(settings))
      return runHere(['serve', ...args], { cwd: folder })
    }
    const queue = { redis: redis.url }
    const source = { secrets: [SECRET], projects: ['team/*'] }
    const pipeline = { name: 'a', source: 'gitlab', pipeline: {} }
    const wrong: [object, RegExp][] = [
      [{ queue }, /says nothing to listen to/],
      [
        { queue, gitlab: { ...source, secrets: [] } },
        /:\d+ gitlab.secrets names none; without a secret/,
      ],
      [{ queue, gitlab: { ...source, secrets: ['short'] } }, /gitlab.secrets.0 is shorter than 16/],
      [{ queue, gitlab: { projects: ['a'] } }, /gitlab.secrets is required/],
      [{ queue, gitlab: { secrets: [SECRET] } }, /gitlab.projects is required/],
      [
        { queue, gitlab: source, routes: [pipeline] },
        /routes.0 starts a pipeline, which needs gitlab.token/,
      ],
      [
        { queue, gitlab: source, routes: [{ ...pipeline, jenkins: { job: 'x' } }] },
        /does pipeline and jenkins/,
      ],
      [{ queue, gitlab: source, routes: [{ name: 'a', source: 'gitlab' }] }, /does nothing/],
      [
        { queue, gitlab: source, routes: [{ ...pipeline, source: 'x' }] },
        /has source "x", which is not here/,
      ],
      [
        { queue, gitlab: source, routes: [{ ...pipeline, notify: ['x'] }] },
        /"x" is not under notify/,
      ],
      [
        {
          queue,
          gitlab: { ...source, token: 't' },
          routes: [{ ...pipeline, pipeline: { variables: { A: '{{secret}}' } } }],
        },
        /has \{\{secret\}\}, which is no fact/,
      ],
      [
        { queue, generic: { x: { ...source, facts: { project: '/a' } } } },
        /signature: standard begin with whsec_/,
      ],
      [
        { queue, schedules: [{ name: 'a', cron: '* * *', run: 'drift', folder: '.' }] },
        /is not a cron line/,
      ],
      [
        { queue, gitlab: { ...source, secrets: ['${NO_SUCH_VARIABLE}'] } },
        /variable NO_SUCH_VARIABLE is not set/,
      ],
      [{ queue, gitlab: { ...source, secrets: ['$GITLAB_WEBHOOK_SECRET'] } }, /write \$\{NAME\}/],
      [
        { queue, gitlab: { ...source, token: '$GITLAB_TOKEN' } },
        /gitlab.token .* write \$\{NAME\}/,
      ],
      [{ queue: { redis: '127.0.0.1:6379' }, gitlab: source }, /queue.redis is not the URL/],
      [{ queue, gitlab: source, listen: { proxies: ['nginx'] } }, /is no address and no network/],
      [
        { queue, harbor: source, routes: [{ ...pipeline, source: 'harbor' }] },
        /routes.0 waits for push, which never comes from harbor; write artifact or scan under on/,
      ],
      [
        { queue, schedules: [{ name: 'a', cron: 'H 3 * * *', run: 'drift', folder: '.' }] },
        /is not a cron line/,
      ],
      [
        { queue, schedules: [{ name: 'a', cron: '0 3 * * *', run: 'prune', folder: '.' }] },
        /schedules.0.env is required: hosts are those of one environment/,
      ],
      [{ queue, gitlab: { ...source, 'catch-up': true } }, /gitlab.catch-up needs gitlab.token/],
      [
        {
          queue,
          gitlab: source,
          listen: { tls: { cert: 'crosscloud.server.yml', key: 'crosscloud.server.yml' } },
        },
        /listen.tls: crosscloud.server.yml and crosscloud.server.yml: /,
      ],
      [{ queue, github: { ...source, 'catch-up': true } }, /github.catch-up needs github.token/],
      [
        { queue, gitlab: source, routes: [{ ...pipeline, pipline: {} }] },
        /:\d+ routes.0.pipline is not a known setting: did you mean pipeline\?/,
      ],
      [
        {
          queue,
          gitlab: { ...source, token: 't' },
          routes: [{ ...pipeline, branches: ['refs/heads/main'] }],
        },
        /routes.0.branches.0 is a whole ref; write main/,
      ],
      [
        { queue, gitlab: { ...source, token: 't' }, routes: [{ ...pipeline, on: ['pipeline'] }] },
        /routes.0 does something when a pipeline ends, which may start the next one/,
      ],
      [
        {
          queue,
          github: { ...source, token: 't' },
          routes: [
            { name: 'a', source: 'github', on: ['comment'], workflow: { workflow: 'x.yml' } },
          ],
        },
        /routes.0 does something for a comment, which anybody may write/,
      ],
      [
        {
          queue,
          harbor: source,
          routes: [
            {
              name: 'a',
              source: 'harbor',
              on: ['artifact'],
              branches: ['main'],
              run: { step: 'deploy', folder: '.' },
            },
          ],
        },
        /routes.0 has branches, and images have none; write tags/,
      ],
      [
        {
          queue,
          gitlab: source,
          jenkins: { url: 'http://ci:hunter2@jenkins.example.com', user: 'x', token: 'y' },
        },
        /jenkins.url has a login before the host/,
      ],
      [
        { queue, gitea: { ...source, url: 'https://gitea.example.com/api/v1' } },
        /gitea.url is the API; write https:\/\/gitea.example.com/,
      ],
      [
        {
          queue,
          gitea: { ...source, url: 'https://gitea.example.com' },
          routes: [{ name: 'a', source: 'gitea', paths: ['src/**'], jenkins: { job: 'a' } }],
          jenkins: { url: 'https://jenkins.example.com', user: 'x', token: 'y' },
        },
        /routes.0 has paths, which needs gitea.token/,
      ],
      [
        {
          queue,
          gitea: { ...source, url: 'https://gitea.example.com', token: 't' },
          routes: [{ name: 'a', source: 'gitea', on: ['comment'], reply: { folder: '.' } }],
        },
        /routes.0 waits for comment, which never comes from gitea/,
      ],
      [
        { queue: { ...queue, 'dedupe-window': '1m' }, gitlab: source },
        /queue.dedupe-window is less than 10m/,
      ],
      [
        { queue, gitlab: { ...source, projects: ['/team/webapi'] } },
        /gitlab.projects.0 begins with \//,
      ],
      [
        { queue, gitlab: { ...source, projects: ['https://gitlab.example.com/team/webapi'] } },
        /gitlab.projects.0 is a URL; write team\/webapi/,
      ],
      [
        {
          queue,
          gitlab: { ...source, token: 't' },
          routes: [{ ...pipeline, pipeline: { variables: { A: 'x\n{{project' } } }],
        },
        /is no template: syntax error near .*\{\{project/,
      ],
    ]
    for (const [settings, message] of wrong) {
      const { code, stderr } = await start(settings)
      t.match(stderr, message)
      t.notMatch(stderr, 'hunter2')
      t.equal(code, 2, String(message))
    }
    t.match(await start({ queue: { redis: redis.url.replace(/0$/, '99') }, gitlab: source }), {
      code: 1,
      stderr: /\/99: .*DB index is out of range/,
    })
    const tls = { cert: 'no.pem', key: 'no.pem' }
    t.match(await start({ queue, gitlab: source, listen: { tls } }), {
      code: 1,
      stderr: /reading no.pem of listen.tls/,
    })
    t.match(await start({ queue, gitlab: source }, '--check'), {
      code: 0,
      stdout: /webhooks\/gitlab/,
    })
    t.match(await start({ queue: { redis: 'redis://127.0.0.1:1' }, gitlab: source }), {
      code: 75,
      stderr: /127\.0\.0\.1:1.*ECONNREFUSED/,
    })
    t.match(
      await start({ queue: { redis: redis.url.replace('redis', 'rediss') }, gitlab: source }),
      {
        code: 75,
        stderr: /no answer; perhaps it speaks no TLS/,
      },
    )
    await redis.cli('config', 'set', 'appendonly', 'no')
    const volatile = await start({
      queue: { ...queue, 'allow-volatile': true },
      gitlab: source,
      listen: { tls },
    })
    t.match(volatile, {
      code: 1,
      stdout: /appendonly is not yes/,
      stderr: /reading no.pem/,
    })
    t.match(await start({ queue, gitlab: source }), { code: 2, stderr: /appendonly is not yes/ })
    await redis.cli('config', 'set', 'appendonly', 'yes')
    await redis.cli('config', 'set', 'maxmemory-policy', 'allkeys-lru')
    t.match(await start({ queue, gitlab: source }), { code: 2, stderr: /maxmemory-policy/ })
  },
)

t.test('a setting of version 0.1.0 is answered with its new name, all at once', async (t) => {
  const folder = await temporaryFolder(t)
  const source = { secrets: [SECRET], projects: ['team/*'] }
  const old = { patience: '1m', takeover: '30s', remember: '24h', keep: 100, calls: 20, runs: 2 }
  const check = async (queue: object) => {
    const settings = { queue: { redis: 'redis://127.0.0.1:1', ...queue }, gitlab: source }
    await writeFile(join(folder, 'crosscloud.server.yml'), stringify(settings))
    return runHere(['serve', '--check'], { cwd: folder })
  }
  const { code, stderr } = await check({ ...old, volatile: true, concurency: {}, retention: -1 })
  t.equal(code, 2)
  const names = [
    ['patience', 'shutdown-timeout'],
    ['takeover', 'stalled-timeout'],
    ['remember', 'dedupe-window'],
    ['keep', 'retention'],
    ['calls', 'concurrency.requests'],
    ['runs', 'concurrency.commands'],
    ['volatile', 'allow-volatile'],
  ]
  for (const [before, name] of names) {
    t.match(
      stderr,
      new RegExp(
        `yml:\\d+ queue.${before} has a new name: write queue.${name}(?:, in YAML concurrency: { (?:requests|commands): … })?$`,
        'm',
      ),
    )
  }
  t.match(stderr, /queue.concurency is not a known setting: did you mean concurrency\?/)
  t.match(stderr, /queue.retention is less than 0/)
  const current = {
    'shutdown-timeout': '1m',
    'stalled-timeout': '30s',
    'dedupe-window': '24h',
    retention: 100,
    concurrency: { requests: 20, commands: 2 },
    'allow-volatile': true,
  }
  t.match(await check(current), { code: 0, stdout: /webhooks\/gitlab/ })
})
