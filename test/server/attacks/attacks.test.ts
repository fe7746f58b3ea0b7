import t, { type Test } from 'tap'
import { missingProgram } from '../../support/servers/server.ts'
import { until } from '../../support/until.ts'
import { type Act, confused, foreign } from './acts.ts'
import { type Attack, logins } from './logins.ts'
import { uses } from './uses.ts'
import { type Attacked, deploy, post, startAttacked } from './world.ts'

const UNIFORM = /^the (?:ID token is|credentials are) not accepted$/

const skip = missingProgram('redis-server', 'redis-cli', 'git')

if (skip) t.test('attacks', { skip }, async () => {})
else await attackAll(t)

async function attackAll(t: Test): Promise<void> {
  const world = await startAttacked(t)
  await t.test('what the attacks differ from is let in', async (t) => {
    const job = await world.job({ job_id: '300' })
    t.equal((await job.send({ path: '/session' })).status, 200)
    const made = await job.send(
      post({ app: 'webapi', step: 'verify-md5', inputs: { env: 'test' } }),
    )
    t.equal(made.status, 202)
    const own = await world.job({ environment: 'production', job_id: '301' })
    const inputs = { env: 'production' }
    const verify = await own.send(post({ app: 'webapi', step: 'verify-md5', inputs }))
    t.equal(verify.status, 202)
  })
  await t.test('logins', (t) => refuseAll(t, world, logins, 1))
  await t.test('sessions and API tokens', (t) => refuseAll(t, world, uses, 2))
  await t.test('confused subjects', (t) => refuseActs(t, world, confused))
  await t.test('what is of others', (t) => refuseActs(t, world, foreign))
  await t.test('an idempotency key is of its own subject', async (t) => {
    const headers: [string, string][] = [['idempotency-key', 'job-1']]
    const runs = await Promise.all(
      ['310', '311'].map(async (id) => {
        const job = await world.job({ job_id: id })
        return (await job.send({ ...post(deploy()), headers })).body.run
      }),
    )
    t.ok(runs[0] && runs[1])
    t.not(runs[0], runs[1])
  })
  await t.test('no attack changed anything, and none shows a secret', async (t) => {
    t.strictSame(await world.ledger.deployments({ app: 'webapi', limit: 9 }), [])
    t.match(await world.ledger.verifyAudit(), { intact: true })
    t.notMatch(world.log(), /ccs_\w|cct_\w|eyJ\w{10}/)
    const all = [logins, uses, confused, foreign].flatMap((table) => Object.keys(table))
    t.ok(all.length >= 80, `${all.length} attacks`)
  })
}

async function refuseAll(
  t: Test,
  world: Attacked,
  attacks: Readonly<Record<string, Attack>>,
  network: number,
): Promise<void> {
  for (const [at, [name, attack]] of Object.entries(attacks).entries()) {
    const { status = 401, told = UNIFORM, reason } = attack
    const from = `127.1.${network}.${at + 1}`
    const answer = await world.send({ ...(await attack.request(world)), from })
    t.equal(answer.status, status, `${name}: ${JSON.stringify(answer.body)}`)
    t.match(answer.body.detail, told, name)
    if (reason === undefined) continue
    const line = `${from} was not let in: ${reason}\n`
    t.ok(await until(async () => world.log().includes(line), 2000), `${name}: ${reason}`)
  }
}

async function refuseActs(
  t: Test,
  world: Attacked,
  acts: Readonly<Record<string, Act>>,
): Promise<void> {
  const newest = async () => {
    const [record] = await world.ledger.audits({ limit: 1, decision: 'refused' })
    return record
  }
  for (const [name, { status, told, audited, send }] of Object.entries(acts)) {
    const before = (await newest())?.number
    const answer = await send(world)
    t.equal(answer.status, status, `${name}: ${JSON.stringify(answer.body)}`)
    t.match(answer.body.detail, told, name)
    const record = await newest()
    if (audited) t.match(record?.reason, audited, name)
    t.equal(record?.number !== before, audited !== undefined, `${name}: in the audit log`)
  }
}
