import t from 'tap'
import { missingProgram } from '../../support/servers/server.ts'
import { allLines } from './event-reader.ts'
import { policySettings, startWorld, type World } from './world.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'git')
const verify = { app: 'webapi', step: 'verify-md5', inputs: { env: 'test' } }

const post = async (world: World, body: object, by: string) =>
  String((await world.ask('POST', '/runs', { body, by })).body.run)

const endOf = async (world: World, run: string) => (await allLines(world, run)).at(-1)?.data

t.test('a run that waited begins only where it is still allowed', { skip }, async (t) => {
  const world = await startWorld(t)
  const deploy = { release: 'webapi@1.0.0', env: 'test', reason: 'x', older: true }
  const forced = await post(world, { app: 'webapi', step: 'deploy', inputs: deploy }, 'job')
  const ofZhang = await post(world, verify, 'zhang')
  const ofLi = await post(world, verify, 'li')
  const { roles, grants } = policySettings
  const policy = {
    roles: { ...roles, job: ['view', 'deploy'], zhang: ['view', 'logs'] },
    grants,
  }
  const server = await world.startServer(policy)
  t.match(await endOf(world, forced), {
    ...{ outcome: 'refused', exitCode: 1, outputs: null },
    error: {
      code: 'FORBIDDEN',
      message: /job 4711 of team\/webapi might not force webapi in test any more: .*no force/,
    },
  })
  t.match(await endOf(world, ofZhang), { outcome: 'refused', error: { message: /no verify/ } })
  t.match(await endOf(world, ofLi), { outcome: 'failed' }, 'who still may is tried')
  t.strictSame(await world.ledger.deployments({ app: 'webapi', limit: 5 }), [], 'nothing was begun')
  const refused = await world.ledger.audits({ limit: 9, decision: 'refused' })
  t.match(refused, [
    { run: ofZhang, verb: 'verify', subject: 'zhang (team/dev)', reason: /no verify/ },
    {
      ...{ run: forced, verb: 'force', via: 'session', reason: /no force/ },
      object: { app: 'webapi', environment: 'test', text: /release webapi@1\.0\.0/ },
    },
  ])
  t.match((await world.ask('GET', `/runs/${forced}`)).body, {
    ...{ state: 'finished', startedAt: null, finished: { outcome: 'refused' } },
  })
  await server.kill('SIGTERM')
})

t.test('a run of a session that is over, or of a token, does not begin', { skip }, async (t) => {
  const world = await startWorld(t)
  const ended = await post(world, verify, 'zhang')
  const alive = await post(world, verify, 'li')
  const { sessions } = world
  const [session] = await sessions.list({ user: 'zhang' })
  t.ok(session && (await sessions.revoke(session)))
  const server = await world.startServer()
  t.match(await endOf(world, ended), {
    outcome: 'refused',
    error: { code: 'UNAUTHORIZED', message: /the session that asked for it has ended/ },
  })
  t.match(await endOf(world, alive), { outcome: 'failed' })
  await server.kill('SIGTERM')
})

t.test('a promotion asks for its source as it is now', { skip }, async (t) => {
  const world = await startWorld(t)
  const promote = {
    app: 'webapi',
    step: 'promote',
    inputs: { to: 'staging', release: 'webapi@1.0.0' },
  }
  const run = await post(world, promote, 'li')
  const { roles, grants } = policySettings
  const rest = grants.map((grant) => ({
    ...grant,
    envs: grant.envs.filter((name) => name !== 'test'),
  }))
  const kept = rest.filter(({ envs }) => envs.length > 0)
  const server = await world.startServer({ roles, grants: kept })
  t.match(await endOf(world, run), {
    outcome: 'refused',
    error: { message: /promote takes view on test/ },
  })
  await server.kill('SIGTERM')
})
