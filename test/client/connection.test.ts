import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { StepError } from '../../src/core/errors.ts'
import { until } from '../support/until.ts'
import { startApiServer } from './api-server.ts'
import { DEPLOY, jobOf, outputs } from './job.ts'

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
