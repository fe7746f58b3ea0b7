import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { runHere } from '../../support/program.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const gitlab = { secrets: ['a-secret-of-the-test-1'], projects: ['team/*'], token: 't' }
const least = { queue: { redis: 'redis://127.0.0.1:1' }, gitlab }

async function serverIn(t: Tap, settings: object) {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'crosscloud.server.yml'), stringify({ ...least, ...settings }))
  await mkdir(join(folder, 'webapi'))
  const file = 'app: webapi\nenvironments:\n  test: { image: "registry.example.com/${TEAM}/a" }\n'
  await writeFile(join(folder, 'webapi/crosscloud.yml'), file)
  return {
    folder,
    serve: (...args: string[]) => runHere(['serve', ...args], { cwd: folder }),
  }
}
type Tap = Parameters<typeof temporaryFolder>[0]

t.test('--check reports problems of the applications of routes and schedules', async (t) => {
  const variables = { TEAM: 'x' }
  const routes = [
    {
      name: 'a',
      source: 'gitlab',
      run: { step: 'promote', env: 'prod', folder: 'webapi', variables },
    },
    {
      name: 'b',
      source: 'gitlab',
      run: { step: 'promote', env: 'test', folder: 'webapi', variables },
    },
    { name: 'c', source: 'gitlab', on: ['comment'], reply: { folder: 'webapi' } },
  ]
  const schedules = [{ name: 'd', cron: '0 6 * * *', run: 'drift', folder: 'no-such' }]
  const { folder, serve } = await serverIn(t, { routes, schedules })
  const { code, stderr } = await serve('--check')
  t.equal(code, 2)
  t.match(
    stderr,
    `error: route a: there is no environment "prod" in ${folder}/webapi/crosscloud.yml\n`,
  )
  t.match(stderr, /^route c: .*crosscloud\.yml:3 variable TEAM is not set$/m)
  t.match(stderr, `schedule d: ${folder}/no-such/crosscloud.yml does not exist`)
  t.match(stderr, 'The server would start')
  t.notMatch(stderr, 'route b')
  const { code: sound } = await serve('--check', '--role', 'receive')
  t.equal(sound, 0, 'who only takes deliveries needs none of them')
})

t.test('a server with applications builds no repository beside their keys', async (t) => {
  const repository = 'https://gitlab.example.com/{{project}}.git'
  const build = {
    name: 'build',
    source: 'gitlab',
    run: { step: 'release', env: 'test', repository },
  }
  const webapi = { repository: 'https://gitlab.example.com/team/webapi.git', branch: 'main' }
  const beside = await serverIn(t, { routes: [build], applications: { webapi } })
  const { code, stderr } = await beside.serve('--check', '--role', 'receive')
  t.equal(code, 2)
  t.match(stderr, /routes.0 builds a repository beside the keys of applications/)
  const alone = await serverIn(t, { routes: [build] })
  t.equal((await alone.serve('--check', '--role', 'receive')).code, 0)
  const pipeline = { name: 'build', source: 'gitlab', pipeline: { ref: 'main' } }
  const started = await serverIn(t, { routes: [pipeline], applications: { webapi } })
  const sound = await started.serve('--check', '--role', 'receive')
  t.equal(sound.code, 0, sound.stderr)
})

t.test('--check reports a wrong certificate', async (t) => {
  const { serve } = await serverIn(t, { listen: { tls: { cert: 'no.pem', key: 'no.pem' } } })
  const { code, stderr } = await serve('--check')
  t.equal(code, 1)
  t.match(stderr, 'reading no.pem of listen.tls')
})

t.test('with --log json every line is JSON', async (t) => {
  const { serve } = await serverIn(t, {})
  const records = (text: string) =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
  t.match(records((await serve('--check', '--log', 'json')).stdout), [
    { level: 'info', text: /is sound\.\n\/webhooks\/gitlab$/ },
  ])
  const { code, stderr, stdout } = await serve('--log', 'json')
  t.match({ code, stdout }, { code: 75, stdout: '' })
  t.match(records(stderr), [{ level: 'error', text: /127\.0\.0\.1:1: .*ECONNREFUSED.*\nCheck/s }])
})
