import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { StepError } from '../../src/core/errors.ts'
import { accountOf, gitlabClaims } from '../identity/issuer.ts'
import { type ProgramOptions, runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { until } from '../support/until.ts'
import { type ApiServer, startApiServer } from './api-server.ts'

const digest = `sha256:${'a'.repeat(64)}`
const outputs = {
  ...{ release: 'webapi@1.0.1', environment: 'test', deployment: 'd1', digest },
  ...{ warMd5: 'd41d8cd98f00b204e9800998ecf8427e', configRevision: 'c1', verified: true },
  containers: [{ host: 'app-01', containerId: 'abc', downtime: 0, silence: 0 }],
}
const DEPLOY = ['deploy', 'webapi@1.0.1', '--env', 'test']

/** A job of GitLab in a folder of its own, whose only way to anything is the server. */
async function jobOf(t: Test, server: ApiServer, claims = {}) {
  const cwd = await temporaryFolder(t)
  await writeFile(
    join(cwd, 'crosscloud.yml'),
    `app: webapi\nserver: { url: "${server.url}", wait: 5s }\n`,
  )
  const { issuer } = server.world
  const all = gitlabClaims(issuer.url, { aud: server.url, ...accountOf('dev-wang'), ...claims })
  const variables = {
    ...{ CROSSCLOUD_WORKER: '', GITLAB_USER_LOGIN: '', GITLAB_CI: 'true', CI_JOB_ID: '302' },
    ...{ CI_SERVER_URL: issuer.url, CROSSCLOUD_ID_TOKEN: await issuer.sign(all) },
  }
  const job = (args: string[], more: Partial<ProgramOptions> = {}) =>
    runHere(args, { cwd, ...more, variables: { ...variables, ...more.variables } })
  return { cwd, job, token: variables.CROSSCLOUD_ID_TOKEN }
}

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

t.test('a connection that drops resumes strictly after the last line', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  server.whenRun((run) => server.say(run, { text: 'one' }, { text: 'two' }))
  const running = job(DEPLOY)
  await until(() => server.streams.size === 1)
  await sleep(200)
  server.cut()
  const [run] = server.runs.values()
  if (!run) throw new Error('no run')
  server.say(run, { text: 'three' })
  server.finish(run, { outputs })
  const { code, stdout } = await running
  t.equal(code, 0)
  t.same(stdout.match(/\b(?:one|two|three)\b/g), ['one', 'two', 'three'])
  t.same(
    server.heads.flatMap((head) => head['last-event-id'] ?? []),
    ['2'],
  )
})

t.test('a server that restarts is a pause, and the run goes on', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  server.whenRun((run) => server.say(run, { text: 'before' }))
  const running = job(DEPLOY)
  await until(() => server.streams.size === 1)
  await sleep(200)
  await server.stop()
  await sleep(1500)
  const [run] = server.runs.values()
  if (!run) throw new Error('no run')
  server.say(run, { text: 'after' })
  server.finish(run, { outputs })
  await server.start()
  const { code, stdout } = await running
  t.equal(code, 0)
  t.match(stdout, /before\n.*the server does not answer; trying for 5 s/s)
  t.match(stdout, /answers again\n.*after/s)
})

t.test('a server that stays away ends the command, and it may be tried again', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  await server.stop()
  const { code, stderr } = await job(DEPLOY)
  t.equal(code, 75)
  t.match(stderr, /error: http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/)
})

t.test('Retry-After is waited for', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  server.whenRun((run) => server.finish(run, { outputs }))
  server.faults.push({
    like: 'POST runs',
    answer: (reply) => reply.code(503).header('retry-after', '2').send({}),
  })
  const before = Date.now()
  t.equal((await job(DEPLOY)).code, 0)
  t.ok(Date.now() - before >= 2000)
  t.equal(server.runs.size, 1)
})

t.test('an answer that is lost makes no second run', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  server.whenRun((run) => server.finish(run, { outcome: 'failed', error: null, exitCode: 1 }))
  server.faults.push({
    ...{ like: '', before: false },
    answer: (reply) => {
      reply.hijack()
      reply.raw.destroy()
    },
  })
  const { code } = await job(DEPLOY)
  t.equal(code, 1)
  t.equal(server.runs.size, 1, 'also where it failed at once')
})

t.test('the same job finds its run; after a failure it begins another one', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  let fails = true
  server.whenRun((run) =>
    fails
      ? server.finish(run, { outcome: 'failed', error: null, exitCode: 1 })
      : server.finish(run, { outputs }),
  )
  t.equal((await job(DEPLOY)).code, 1)
  fails = false
  t.equal((await job(DEPLOY)).code, 0)
  const third = await job(DEPLOY)
  t.equal(third.code, 0)
  t.match(third.stdout, /run r2 of this job has done that already/)
  t.equal(server.runs.size, 2)
  const other = await job(DEPLOY, { variables: { CI_JOB_ID: '303' } })
  t.equal(other.code, 0)
  t.equal(server.runs.size, 3, 'another job has another one')
})

t.test('a job that is stopped cancels its run, and waits for its end', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  const stop = new AbortController()
  server.whenRun((run) => server.say(run, { text: 'Changing' }))
  server.whenCancelled((run) => {
    server.say(run, { text: 'bringing back what ran before' })
    const error = {
      code: 'CANCELLED',
      message: 'cancelled by dev-wang',
      hint: null,
      retryable: false,
    }
    setTimeout(() => server.finish(run, { outcome: 'cancelled', error, exitCode: 1 }), 300)
  })
  const onText = (text: string) => {
    if (text.includes('Changing')) stop.abort(new StepError('CANCELLED', 'stopped by SIGTERM'))
  }
  const { code, stdout, stderr } = await job(DEPLOY, { signal: stop.signal, onText })
  t.equal(code, 1)
  t.equal([...server.runs.values()][0]?.cancelled, 'stopped by SIGTERM')
  t.match(stdout, 'bringing back what ran before')
  t.match(stderr, 'error: cancelled by dev-wang')
})

t.test('a job that is stopped while the server is away does not wait for it', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  await server.stop()
  const stop = new AbortController()
  const onText = (text: string) => {
    if (text.includes('does not answer'))
      stop.abort(new StepError('CANCELLED', 'stopped by SIGINT'))
  }
  const before = Date.now()
  const { code, stderr } = await job(DEPLOY, { signal: stop.signal, onText })
  t.equal(code, 1)
  t.match(stderr, 'stopped by SIGINT')
  t.ok(Date.now() - before < 4000)
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
  await server.world.sessions.revoke({ identity: server.world.issuer.url })
  const { code, stderr } = await job(['verify-md5', '--env', 'test'])
  t.equal(code, 1, 'the outputs are not those of verify-md5')
  t.match(stderr, 'its answer is not understood')
  t.equal(server.requests.filter((name) => name === 'POST session').length, 2)
})

t.test('a stream that says good-bye is opened again; a revoked session is the end', async (t) => {
  const server = await startApiServer(t)
  const { job } = await jobOf(t, server)
  server.whenRun((run) => {
    server.say(run, { text: 'one' })
    server.bye(run, 'restart')
    server.say(run, { text: 'two' })
    server.bye(run, 'expired')
    server.say(run, { text: 'three' })
    server.finish(run, { outputs })
  })
  const { code, stdout } = await job(DEPLOY)
  t.equal(code, 0)
  t.same(stdout.match(/\b(?:one|two|three)\b/g), ['one', 'two', 'three'])
  server.whenRun((run) => server.bye(run, 'revoked'))
  const revoked = await job(['deploy', 'webapi@1.0.2', '--env', 'test'])
  t.equal(revoked.code, 1)
  t.match(revoked.stderr, 'the server has ended this session: it was revoked')
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
  t.match(stdout, /webapi@1\.0\.1/)
  t.match(stderr, /nobody has approved it/)
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
