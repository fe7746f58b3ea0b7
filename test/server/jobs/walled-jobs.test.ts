import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parseDocument, stringify } from 'yaml'
import { run } from '../../../src/core/process/process.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { accountOf, gitlabClaims, startIssuer, type TestIssuer } from '../../identity/issuer.ts'
import { type Include, makeRepository, runGitlab } from '../../support/ci/gitlab.ts'
import { startCli } from '../../support/cli.ts'
import { startMariadb } from '../../support/servers/mariadb.ts'
import { freePort } from '../../support/servers/ports.ts'
import { startRedis } from '../../support/servers/redis.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { startQueueRedis } from '../../support/servers/webhooks.ts'
import { createDemo, type Demo } from '../../support/setups/demo.ts'
import { makeWalledMachine, type WalledMachine } from '../../support/setups/wall.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const ENVIRONMENTS = ['test', 'staging', 'production']

/** What the server alone may know. */
const SECRETS = {
  LEDGER_PASSWORD: 'ledger-4b1f0c2d77',
  CONFIG_PASSWORD: 'p%40ss%3Aword%2F1',
  CONFIG_KEY: `k1:${Buffer.alloc(32, 9).toString('base64')}`,
}
/** They are the same in other words. */
const secretTexts = Object.values(SECRETS).flatMap((text) => [
  text,
  decodeURIComponent(text),
  encodeURIComponent(text),
  Buffer.from(text).toString('base64').replace(/=+$/, ''),
])

const job = { 'project-id': 20, ref: 'main', 'ref-protected': true }
const grant = (role: string, envs: string[], environment?: string) => ({
  job: { ...job, ...(environment && { environment }) },
  ...{ role, apps: ['webapi'], envs },
})
const policy = {
  roles: {
    viewer: ['view'],
    pipeline: ['view', 'logs', 'build', 'deploy', 'verify'],
    promoter: ['view', 'logs', 'promote', 'approve', 'deploy', 'verify'],
  },
  grants: [
    grant('pipeline', ['test']),
    grant('promoter', ['staging'], 'staging'),
    grant('viewer', ['staging'], 'production'),
    grant('promoter', ['production'], 'production'),
  ],
}

t.setTimeout(560_000)
const missing = missingProgram('mariadbd', 'redis-server', 'redis-cli', 'rsync', 'nft', 'ip')
const demo = missing || (await createDemo(t, { server: 'small' }))
const title = 'jobs behind a wall release to production, and no secret of production is with them'
if (typeof demo === 'string') await t.test(title, { skip: demo }, async () => {})
else await t.test(title, (t) => runWalled(t, demo))

async function runWalled(t: Test, demo: Demo) {
  const world = await startWorld(t, demo)
  const { wall, as, scan, ledger } = world

  await t.test('the wall lets through what a job needs, and nothing else', async (t) => {
    const [server, registry, ...rest] = world.ports
    t.ok(await wall.reaches(Number(server)))
    t.ok(await wall.reaches(Number(registry)))
    for (const port of rest) t.notOk(await wall.reaches(port), `port ${port}`)
  })

  const passes = async (t: Test, login: string, environment: string, jobs: string[]) => {
    const done = await as(login).runs(environment, jobs)
    t.match(done.jobs, Object.fromEntries(jobs.map((job) => [job, 'PASS'])), done.output)
    return done.output
  }

  await t.test('a push is built in the job, recorded and deployed by the server', async (t) => {
    const jobs = ['build-war', 'bake-image', 'push-image', 'deploy-test', 'verify-test']
    const output = await passes(t, 'dev-zhang', 'test', jobs)
    t.match(output, 'webapi@1.0.0 in test is what was built')
    t.match(await ledger.findRelease('webapi', '1.0.0'), {
      bakedBy: 'dev-zhang',
      bakedIdentity: world.issuer.url,
      branch: 'main',
      commit: world.commit,
    })
  })

  await t.test('a tester promotes to staging', async (t) => {
    const jobs = ['promote-to-staging', 'deploy-staging', 'verify-staging']
    const output = await passes(t, 'tester-wu', 'staging', jobs)
    t.match(output, 'webapi@1.0.0 in staging is what was built')
  })

  await t.test('production opens for whoever may approve, by their own signed token', async (t) => {
    await passes(t, 'tester-wu', 'production', ['promote-to-production'])
    const author = await as('dev-zhang').runs('production', ['gate-production'])
    t.match(author.jobs, { 'gate-production': 'FAIL' })
    t.match(author.output, /dev-zhang cannot approve webapi@1\.0\.0 for production/)
    const closed = await as('tester-wu').runs('production', ['deploy-production'])
    t.match(closed.output, 'the gate of production is closed for webapi@1.0.0')
    const opened = await passes(t, 'ops-li', 'production', ['gate-production'])
    t.match(opened, 'ops-li approved webapi@1.0.0 for production')
    await passes(t, 'tester-wu', 'production', ['deploy-production', 'verify-production'])
    t.match(await ledger.currentDeployment('webapi', 'production'), {
      version: '1.0.0',
      by: 'tester-wu',
      verified: true,
    })
  })

  await t.test('no secret was in their environment, on their disk or on their wire', async (t) => {
    const found = await scan()
    for (const [place, bytes] of Object.entries(found)) {
      t.ok(bytes.includes('webapi'), `the scan sees what is in the ${place}`)
      for (const text of secretTexts)
        t.notOk(bytes.includes(text), `${place}: ${text.slice(0, 4)}…`)
    }
    t.ok(found.traffic?.includes('/api/v1/runs'), 'and what is on the wire is plain')
  })
}

/** The server, with all secrets; and a project and a machine for its jobs, with none. */
async function startWorld(t: Test, demo: Demo) {
  const { project, addresses, engine } = demo
  const [config, mariadb, queue] = await Promise.all([
    startRedis(t),
    startMariadb(t),
    startQueueRedis(t),
  ])
  await mariadb.query('create database crosscloud')
  await mariadb.query(`create user 'server'@'%' identified by '${SECRETS.LEDGER_PASSWORD}'`)
  await mariadb.query("grant all on crosscloud.* to 'server'@'%'")
  const ledgerUrl = `mysql://server:${SECRETS.LEDGER_PASSWORD}@127.0.0.1:${mariadb.port}/crosscloud`
  const issuer = await startIssuer()
  t.teardown(() => issuer.close())
  const places = Object.fromEntries(
    ENVIRONMENTS.map((name, db) => [
      name,
      {
        image: `${addresses[name === 'test' ? 0 : 1]}/team/webapi`,
        config: `redis://:\${CONFIG_PASSWORD}@127.0.0.1:${config.port}/${db}`,
        hosts: { [`app-${name}`]: engine.address },
      },
    ]),
  )
  await importConfig(t, demo, places)
  await writeRepository(project, issuer, places)
  const port = await freePort()
  const folder = await temporaryFolder(t)
  const url = `http://127.0.0.1:${port}`
  const gate = { approvers: ['ops-li', 'dev-zhang'], soak: '0s' }
  await writeFile(
    join(folder, 'crosscloud.server.yml'),
    stringify({
      ...{ listen: { host: '127.0.0.1', port }, queue: { redis: queue.url }, ledger: ledgerUrl },
      sessions: { url, issuers: { gitlab: { issuer: issuer.url, project: 'team/webapi' } } },
      policy,
      applications: {
        webapi: {
          ...{ repository: `file://${project}`, branch: 'main', ledger: ledgerUrl },
          'config-key': '${CONFIG_KEY}',
          identity: identityOf(issuer),
          environments: { ...places, production: { ...places.production, gate } },
        },
      },
    }),
  )
  const env = { ...SECRETS, CROSSCLOUD_STATE: join(folder, 'state') }
  const server = startCli(['serve', '--log', 'plain'], { cwd: folder, env })
  t.teardown(() => void server.child.kill('SIGKILL'))
  await server.until('listening on')
  const portOf = (address: string) => Number(new URL(`tcp://${address}`).port)
  const open = [port, portOf(addresses[0])]
  const closed = [config.port, mariadb.port, portOf(queue.url.slice(8)), portOf(addresses[1])]
  const wall = await makeWalledMachine(open)
  t.teardown(() => wall.remove())
  const ledger = await openLedger(ledgerUrl)
  t.teardown(() => ledger.close())
  const jobs = await openJobs(t, { project, url, issuer, wall })
  return { ...jobs, wall, issuer, ledger, ports: [...open, ...closed] }
}

function identityOf({ url }: TestIssuer) {
  return { issuer: url, audience: 'crosscloud', project: 'team/webapi' }
}

type Places = Record<string, { image: string; config: string; hosts: Record<string, string> }>

/** By an operator, who has the secrets. */
async function importConfig(t: Test, { project, cli }: Demo, places: Places): Promise<void> {
  const file = join(project, 'crosscloud.yml')
  const settings = parseDocument(await readFile(file, 'utf8'))
  for (const [name, { config, image, hosts }] of Object.entries(places)) {
    const value = config.replace('${CONFIG_PASSWORD}', SECRETS.CONFIG_PASSWORD)
    settings.setIn(['environments', name], { image, hosts, config: value })
  }
  await writeFile(file, settings.toString())
  for (const name of ENVIRONMENTS) {
    const values = join(project, `config/${name === 'test' ? 'test' : 'staging'}.yaml`)
    const { code, stderr } = await cli(
      ...['config', 'import', values, '--env', name, '--reason', 'first', '--yes'],
    )
    t.equal(code, 0, stderr)
  }
}

/** What developers see: how it is built, and the names of the environments. */
async function writeRepository(project: string, issuer: TestIssuer, places: Places) {
  const file = join(project, 'crosscloud.yml')
  const settings = parseDocument(await readFile(file, 'utf8'))
  settings.delete('ledger')
  settings.delete('config-key')
  settings.set('identity', identityOf(issuer))
  settings.set(
    'environments',
    Object.fromEntries(
      ENVIRONMENTS.map((name, at) => [
        name,
        { image: places[name]?.image, ...(at > 0 && { from: ENVIRONMENTS[at - 1] }) },
      ]),
    ),
  )
  await writeFile(file, settings.toString())
}

interface JobOptions {
  project: string
  url: string
  issuer: TestIssuer
  wall: WalledMachine
}

/** What GitLab does when somebody pushes or clicks, on a runner behind the wall. */
async function openJobs(t: Test, { project, url, issuer, wall }: JobOptions) {
  const home = await temporaryFolder(t)
  const seen = join(home, 'environment.txt')
  const command = join(home, 'crosscloud')
  await writeFile(command, `#!/bin/sh\nenv >>${seen}\nexec ${process.execPath} ${MAIN} "$@"\n`)
  await chmod(command, 0o755)
  await mkdir(join(home, 'tmp'))
  const server = url
  const includes: Include[] = [
    ['release', { server }],
    ['environment', { environment: 'staging', after: 'verify-test', server }],
    ['environment', { environment: 'production', after: 'verify-staging', gate: 'true', server }],
  ]
  await makeRepository(project, { setup: { command }, includes })
  const { stdout: commit } = await run('git', ['rev-parse', 'HEAD'], { cwd: project })
  const none = Object.fromEntries(Object.keys(SECRETS).map((name) => [name, undefined]))
  const env = {
    ...none,
    HOME: home,
    TMPDIR: join(home, 'tmp'),
    CROSSCLOUD_STATE: join(home, 'state'),
  }
  let number = 300
  const as = (login: string) => ({
    async runs(environment: string, jobs: readonly string[]) {
      const id = String(++number)
      const claims = {
        ...accountOf(login),
        environment,
        groups_direct: [],
        job_id: id,
        sha: commit,
      }
      const sign = (aud: string) => issuer.sign(gitlabClaims(issuer.url, { ...claims, aud }))
      const variables = {
        CROSSCLOUD_ID_TOKEN: await sign('crosscloud'),
        CROSSCLOUD_SERVER_TOKEN: await sign(url),
        ...{ GITLAB_USER_LOGIN: login, CI_JOB_ID: id },
      }
      const given = Object.entries(variables).flatMap(([name, value]) => [
        ...['--variable', `${name}=${value}`],
      ])
      const manual = jobs.map((name) => `--manual=${name}`)
      return runGitlab(project, [...jobs, ...manual, ...given], env, wall.enter)
    },
  })
  const scan = async (): Promise<Record<string, Buffer>> => ({
    environment: await readFile(seen),
    disk: Buffer.concat([await bytesBelow(home), await bytesBelow(project)]),
    traffic: wall.traffic(),
  })
  return { as, scan, commit }
}

async function bytesBelow(folder: string): Promise<Buffer> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = names.filter((entry) => entry.isFile())
  return Buffer.concat(
    await Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name)))),
  )
}
