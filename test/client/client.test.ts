import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { temporaryFolder } from '../support/temporary.ts'
import { startApiServer } from './api-server.ts'
import { DEPLOY, digest, jobOf, outputs } from './job.ts'

t.test(
  'a step runs on the server, and its log, outputs and report are as if it ran here',
  async (t) => {
    const server = await startApiServer(t)
    const { cwd, job } = await jobOf(t, server)
    server.whenRun((run) => {
      server.say(run, { text: 'Changing app-01', section: 'start' }, { text: 'pulled' })
      server.say(run, { level: 'warn', text: 'it is late' }, { level: 'output', text: 'of tomcat' })
      server.say(
        run,
        { level: 'debug', text: 'a detail' },
        { text: '', section: 'end', seconds: 2 },
      )
      server.finish(run, { outputs })
    })
    const told = await job([
      ...DEPLOY,
      '--reason',
      'why',
      '--dotenv',
      'crosscloud.env',
      '--log',
      'plain',
    ])
    t.equal(told.code, 0, told.stderr)
    t.match(
      told.stdout,
      /^deploy runs on http:\/\/127\.0\.0\.1:\d+\nChanging app-01\n {2}pulled\n {2}warning: it is late\n {2}\| of tomcat\nwebapi@1\.0\.1 runs in test\nImage/,
    )
    t.notMatch(told.stdout, 'a detail')
    t.match(await readFile(join(cwd, 'crosscloud.env'), 'utf8'), 'CROSSCLOUD_DIGEST=sha256:aaa')
    t.same([...server.runs.values()][0]?.body, {
      ...{ app: 'webapi', step: 'deploy' },
      inputs: { release: 'webapi@1.0.1', env: 'test', reason: 'why' },
    })
    t.equal([...server.runs.values()][0]?.by, 'job 302 of team/webapi (dev-wang)')
  },
)

t.test('--json prints the outputs alone, and a GitLab section is folded here', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  server.whenRun((run) => {
    server.say(run, { text: 'Changing', section: 'start' }, { text: '', section: 'end' })
    server.finish(run, { outputs: { ...outputs, more: 'of a later version' } })
  })
  const { stdout, stderr } = await job([...DEPLOY, '--json'])
  t.match(JSON.parse(stdout), outputs)
  t.match(stderr, /section_start:\d+:crosscloud_1\r.*Changing/)
  t.match(stderr, /section_end:\d+:crosscloud_1\r/)
})

t.test('steps of one job share its session, although its token starts one only once', async (t) => {
  const server = await startApiServer(t)
  const { cwd, job, token } = await jobOf(t, server)
  server.whenRun((run) => server.finish(run, { outputs: { ...outputs, ...verified } }))
  t.equal((await job(DEPLOY)).code, 0)
  const second = await job(['verify-md5', '--env', 'test'])
  t.equal(second.code, 0, second.stderr)
  t.equal(server.requests.filter((name) => name === 'POST session').length, 1)
  const folder = join(cwd, '.local/state/crosscloud/sessions')
  const [name = ''] = await readdir(folder)
  t.equal((await stat(join(folder, name))).mode & 0o777, 0o600)
  const content = await readFile(join(folder, name), 'utf8')
  t.notOk(content.includes(token), 'the ID token is not written down')
  const again = await job(DEPLOY, { variables: { CROSSCLOUD_STATE: join(cwd, 'another') } })
  t.equal(again.code, 1, 'a thief of the token has no session')
  t.match(again.stderr, /it has started a session before/)
})
const verified = {
  ...{ files: 1, warFiles: 1, imageFiles: 0, renderedFiles: 0, written: [], volumes: [] },
  hosts: ['app-01'],
}

t.test('the error of a run is the error here: code, hint, exit code', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  const error = {
    code: 'UNAVAILABLE',
    message: 'app-01: it does not answer',
    hint: 'Look.',
    retryable: true,
  }
  server.whenRun((run) => {
    server.say(run, { text: 'Changing', section: 'start' })
    server.finish(run, { outcome: 'failed', error, exitCode: 75 })
  })
  const { code, stderr, stdout } = await job([...DEPLOY, '--json'])
  t.equal(code, 75)
  t.match(stderr, 'error: app-01: it does not answer\n  → Look.\n')
  t.match(JSON.parse(stdout), { error: { code: 'UNAVAILABLE', retryable: true } })
  t.match(stderr, /section_end/, 'what was open is closed')
})

t.test('a refusal of the server is an error with its code, reasons and hint', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  server.faults.push({
    like: 'POST runs',
    answer: (reply) =>
      reply
        .code(403)
        .type('application/problem+json')
        .send(
          JSON.stringify({
            ...{ type: 'about:blank', title: 'FORBIDDEN', status: 403, code: 'FORBIDDEN' },
            detail: 'job 302 of team/webapi may not deploy webapi to test',
            reasons: ['grants[4] needs ref-protected true, the token says false'],
            hint: 'Who may: team/ops.',
          }),
        ),
  })
  const { code, stderr } = await job(DEPLOY)
  t.equal(code, 1)
  t.match(
    stderr,
    'error: job 302 of team/webapi may not deploy webapi to test\ngrants[4] needs ref-protected true',
  )
  t.match(stderr, '→ Who may: team/ops.')
})

t.test('inputs that are not for a server are refused here', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  const { code, stderr } = await job([...DEPLOY, '--adopt'])
  t.equal(code, 2)
  t.match(stderr, /error: deploy runs on the server, which does not take .*adopt/i)
  t.same(server.requests, [])
  server.whenRun((run) => server.finish(run, { outputs }))
  const said = await job(DEPLOY, { variables: { CROSSCLOUD_ADOPT: 'false' } })
  t.equal(said.code, 0, 'a template hands over what says nothing')
})

t.test('a token for somebody else is sent to nobody', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server, { aud: 'crosscloud' })
  const { code, stderr } = await job(DEPLOY)
  t.equal(code, 1)
  t.match(stderr, /the ID token is not for http:\/\/127\.0\.0\.1/)
  t.same(server.requests, [])
})

t.test('an API token takes the place of an ID token, and is never printed', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  const secret = `cct_${'s'.repeat(43)}`
  const { sha256 } = await import('../server/sessions/world.ts')
  const scope = { verbs: ['deploy'] as const, apps: ['*'], envs: ['*'] }
  server.world.tokens.set(sha256(secret), { name: 'jenkins', scope })
  server.whenRun((run) => {
    server.say(run, { text: `echo ${secret}` })
    server.finish(run, { outputs })
  })
  const astray = await job(DEPLOY, { variables: { CROSSCLOUD_TOKEN: secret } })
  t.equal(astray.code, 2)
  t.match(astray.stderr, 'CROSSCLOUD_TOKEN is only sent to the server that CROSSCLOUD_SERVER names')
  t.same(server.requests, [], 'a branch does not choose where it goes')
  const variables = { CROSSCLOUD_TOKEN: secret, CROSSCLOUD_SERVER: server.url }
  const { code, all } = await job(DEPLOY, { variables })
  t.equal(code, 0)
  t.equal([...server.runs.values()][0]?.by, 'token jenkins')
  t.match(all, 'echo ***')
  t.notOk(all.includes(secret))
})

t.test('a wrong clock here is put right by that of the server', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  server.whenRun((run) => server.finish(run, { outputs }))
  const { now } = Date
  t.teardown(() => {
    Date.now = now
  })
  // The server is in this process: only proofs are made by the wrong clock.
  Date.now = () => {
    const isClient = new Error().stack?.includes('/src/client/')
    return now() - (isClient ? 10 * 60_000 : 0)
  }
  const { code, stderr } = await job(DEPLOY)
  t.equal(code, 0, stderr)
})

t.test('a session that is over is begun anew by its key', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  server.whenRun((run) => server.finish(run, { outputs }))
  t.equal((await job(DEPLOY)).code, 0)
  const { store, redis } = server.world
  for (const { id } of await store.list({}))
    await redis.cli('del', `{crosscloud:test}:session:${id}`)
  const { code, stderr } = await job(['verify-md5', '--env', 'test'])
  t.equal(code, 1, 'the outputs are not those of verify-md5')
  t.match(stderr, 'its answer is not understood')
  t.equal(server.requests.filter((name) => name === 'POST session').length, 2)
})

t.test('a plan is made on the server, and shown as if it were made here', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  server.planned({
    ...{ kind: 'deploy', release: 'webapi@1.0.1', environment: 'test', digest },
    ...{ warMd5: outputs.warMd5, from: null, to: { name: 'webapi@1.0.1', digest, commit: null } },
    commits: { known: false, why: 'nothing runs there yet', added: [], removed: [] },
    config: { before: null, after: digest, known: false, keys: [], files: [] },
    ...{ image: null, hosts: [], lock: null, ready: false, warnings: [], hash: digest },
    rollout: { before: null, after: null, onFailure: 'restore', stages: [] },
    problems: [
      {
        check: 'gate',
        code: 'GATE_CLOSED',
        message: 'nobody has approved it',
        hint: null,
        retryable: false,
      },
    ],
  })
  const { code, stdout, stderr } = await job([...DEPLOY, '--plan'])
  t.equal(code, 1)
  t.match(stdout, /webapi@1\.0\.1.*nobody has approved it/s)
  t.match(stderr, 'webapi@1.0.1 cannot be deployed to test now: gate')
  t.equal(server.runs.size, 0)
})

t.test('CROSSCLOUD_SERVER goes before crosscloud.yml, which need not be there', async (t) => {
  const server = await startApiServer(t)
  const { job, cwd } = await jobOf(t, server)
  server.whenRun((run) => server.finish(run, { outputs }))
  await writeFile(join(cwd, 'crosscloud.yml'), 'app: webapi\n')
  const here = await job(DEPLOY)
  t.equal(here.code, 2, 'no server: it runs here')
  t.same(server.requests, [])
  const there = await job(DEPLOY, { variables: { CROSSCLOUD_SERVER: `${server.url}/` } })
  t.equal(there.code, 0, there.stderr)
  const empty = await temporaryFolder(t)
  const bare = await job(DEPLOY, { cwd: empty, variables: { CROSSCLOUD_SERVER: server.url } })
  t.equal(bare.code, 1, 'its token was used; its session is in the other home')
  await writeFile(join(cwd, 'crosscloud.yml'), `app: webapi\nserver: "${server.url}"\n`)
  const count = server.requests.length
  t.equal((await job(DEPLOY, { variables: { CROSSCLOUD_SERVER: 'none' } })).code, 2)
  t.equal((await job(DEPLOY, { variables: { CROSSCLOUD_WORKER: 'true' } })).code, 2)
  t.equal(server.requests.length, count, 'the server itself runs its steps')
  const wrong = await job(DEPLOY, { variables: { CROSSCLOUD_SERVER: 'http://crosscloud.test' } })
  t.match(wrong.stderr, 'CROSSCLOUD_SERVER is not the address of a server')
})
