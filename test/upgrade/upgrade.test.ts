import { readdir } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { noEngine } from '../support/servers/engine.ts'
import { missingProgram } from '../support/servers/server.ts'
import { installReleased, releasedVersions } from './released.ts'
import { buildWorld, type Deployer, makeProject, type Project, type World } from './world.ts'

const skip = noEngine('docker-registry', 'gcc') || missingProgram('mariadbd')
t.setTimeout(560_000)
if (skip) t.test('a world made by a released version goes on', { skip }, async () => {})
else {
  const world = await buildWorld(t)
  for (const version of releasedVersions) {
    for (const database of ['sqlite', 'mariadb'] as const) {
      await t.test(`a project of ${version} with its ledger in ${database} goes on`, (t) =>
        goesOn(t, world, version, database),
      )
    }
  }
}

async function goesOn(t: Test, world: World, version: string, database: 'sqlite' | 'mariadb') {
  const ledger = world.ledgers[database]
  const project = await makeProject(t, world, `webapi-${database}`, ledger)
  const before = project.deployer(await installReleased(t, version))
  const now = project.deployer()
  const first = await deployFirst(t, project, before)
  await t.test('the audit log and tokens are added, and the old program goes on', async (t) => {
    const scope = ['--verb', 'deploy', '--app', project.app, '--env', 'test', '--expires', '1d']
    await now.json('tokens', 'create', 'jenkins', ...scope)
    t.match(await before.json('ledger', 'status'), { schema: /^0004-/ })
    t.match(await now.json('ledger', 'status'), { schema: /^0005-/, rows: { audit_log: 1 } })
  })

  await t.test('status, verify-md5 and rollback work on what was deployed', async (t) => {
    const { app } = project
    const { environments } = await now.json('status', '--check')
    t.match(environments, [{ app, environment: 'test', version: '1.0.1', verified: true }])
    await now.json('verify-md5', '--env', 'test')
    const back = await now.json('rollback', '--env', 'test', '--reason', 'orders fail')
    t.match(back, { release: `${app}@1.0.0`, configRevision: first.configRevision })
  })
  if (database === 'sqlite') await sideBySide(t, project, before, now, first.baked)
  else {
    await t.test('an outcome that the old program could not record is recorded', (t) =>
      recordsLate(t, world, project, before, now),
    )
  }
  await t.test('what the old program did left the audit log whole', async (t) => {
    t.match(await now.json('audit', 'verify'), { intact: true, count: 1 })
    t.match(await now.json('tokens', 'list'), { tokens: [{ name: 'jenkins', state: 'living' }] })
  })
  await t.test('both read the same history', async (t) => {
    for (const question of [['history'], ['show', `${project.app}@1.0.1`]]) {
      t.match(await now.json(...question), await before.json(...question), question.join(' '))
    }
  })
}

/** Two releases, deployed one after the other with different values. */
async function deployFirst(t: Test, project: Project, before: Deployer) {
  let baked: unknown
  for (const version of ['1.0.0', '1.0.1']) {
    baked = await bake(project, before, version)
    await before.json('push-image', '--env', 'test')
  }
  const { configRevision } = await before.json(...deploy(project.app, '1.0.0'))
  await project.greet('hello again')
  await before.json(...deploy(project.app, '1.0.1'))
  const kept = await readdir(project.home, { recursive: true })
  for (const name of [/^layers\/./, /^\.cache\/crosscloud\/code\/.*\.unit$/]) {
    t.ok(
      kept.some((path) => name.test(path)),
      `${name} was kept`,
    )
  }
  return { configRevision, baked }
}

/** The image's digest. */
async function bake(project: Project, { json }: Deployer, version: string): Promise<unknown> {
  const war = await project.war(version)
  return (await json('bake-image', '--war', war, '--version', version)).digest
}

function deploy(app: string, version: string): string[] {
  return ['deploy', '--release', `${app}@${version}`, '--env', 'test', '--older']
}

async function sideBySide(
  t: Test,
  project: Project,
  before: Deployer,
  now: Deployer,
  baked: unknown,
) {
  const { app } = project
  await t.test('the same WAR is baked into the same image, with the layers kept', async (t) => {
    t.equal(await bake(project, now, '1.0.1'), baked)
  })

  await t.test('the old program deploys what the new program released', async () => {
    await bake(project, now, '1.0.2')
    await now.json('push-image', '--env', 'test')
    await before.json(...deploy(app, '1.0.2'))
    await now.json('verify-md5', '--env', 'test')
  })

  await t.test('each respects the marks of the other', async (t) => {
    const bad = { code: 1, stderr: /known to be bad in test/ }
    t.match(await before.run(...deploy(app, '1.0.1')), bad)
    await before.json('rollback', '--env', 'test', '--reason', 'prices are wrong')
    t.match(await now.run(...deploy(app, '1.0.2')), bad)
  })

  await t.test('each respects the lock of the other', async (t) => {
    for (const [holder, other] of [
      [before, now],
      [now, before],
    ] as const) {
      await holder.json('lock', '--env', 'test', '--reason', 'stocktaking')
      const refused = await other.run(...deploy(app, '1.0.0'))
      t.match(refused, { code: 1, stderr: /locked by.*stocktaking/ })
      await other.json('unlock', '--env', 'test', '--reason', 'counted')
    }
  })

  await t.test('each repairs what the other left when it was killed', async (t) => {
    await project.greet('hello from the new program')
    await takesOver(t, app, before, now)
    await project.greet('hello from the old program')
    await takesOver(t, app, now, before)
    await before.json('status', '--check')
  })
}

/** The first is killed between two containers; the second goes on. */
async function takesOver(t: Test, app: string, killed: Deployer, next: Deployer) {
  const running = killed.start(...deploy(app, '1.0.0'))
  await running.until(`stopped the old ${app}-test`)
  running.child.kill('SIGKILL')
  await running.finished
  const { code, stdout, stderr } = await next.run(...deploy(app, '1.0.0'))
  t.equal(code, 0, stderr)
  t.match(stdout, /ended without giving back the lock of/)
}

async function recordsLate(
  t: Test,
  { proxy }: World,
  { app }: Project,
  before: Deployer,
  now: Deployer,
) {
  const running = before.start(...deploy(app, '1.0.0'))
  await running.until(`stopped the old ${app}-test`)
  proxy.down()
  const { code, stdout, stderr } = await running.finished
  proxy.up()
  t.equal(code, 0, stderr)
  const [, id] = /ledger (?:was not told|could not record) that (d\d+) succeeded/.exec(stdout) ?? []
  t.ok(id, 'the old program reports what it could not record')
  const { deployments } = await now.json('history', '--limit', '1')
  t.match(deployments, [{ id, version: '1.0.0', state: 'succeeded' }])
}
