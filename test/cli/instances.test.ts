import { Readable } from 'node:stream'
import Libsql from 'libsql'
import t, { type Test } from 'tap'
import { pack } from 'tar-stream'
import { openLedger } from '../../src/ledger/open.ts'
import { instanceLabels } from '../../src/targets/labels.ts'
import { SLOT_LABEL } from '../../src/targets/slot.ts'
import { startCli } from '../support/cli.ts'
import { runHere } from '../support/program.ts'
import { noEngine } from '../support/servers/engine.ts'
import { freePort } from '../support/servers/ports.ts'
import { createSandbox, type Sandbox } from '../support/setups/sandbox.ts'
import { until } from '../support/until.ts'

t.setTimeout(180_000)

/** Two environments on one engine: one that prunes, one with a gate; their images are in one repository. */
const environments = ({ repository, engine }: Sandbox) =>
  [
    `  shop: { image: "${repository}", config: "file:config/test.yaml", hosts: { app-01: "${engine.address}" }, prune: { keep: 2 } }`,
    `  prod: { image: "${repository}", config: "file:config/test.yaml", hosts: { app-01: "${engine.address}" }, gate: { approvals: 1 } }`,
  ].join('\n')

/** Two lines; the second is shorter than what is masked in documents. */
const SECRET = 'first-line-1\nk9x!z\n'

type Command = (...args: string[]) => ReturnType<typeof runHere>

async function prepare(t: Test) {
  const sandbox = await createSandbox(t)
  await sandbox.configure(
    'sqlite:ledger.db',
    environments(sandbox),
    'env: { CATALINA_BASE: /app, PASSWORD: none }, secrets: { db: { environment: DB_PASSWORD } }',
  )
  for (const version of ['1.0.0', '1.0.1', '1.0.2', '1.0.3']) await sandbox.release(version)
  const variables = { ...sandbox.variables, CROSSCLOUD_ENV: 'shop' }
  const cli: Command = (...args) => runHere(args, { cwd: sandbox.folder, variables })
  const deploy = async (version: string) => {
    // Only the job that deploys has it.
    const said = await runHere(['deploy', '--release', `webapi@${version}`], {
      cwd: sandbox.folder,
      variables: { ...variables, DB_PASSWORD: SECRET },
    })
    t.equal(said.code, 0, said.all)
    return said
  }
  const ledger = await openLedger(`${sandbox.folder}/ledger.db`)
  t.teardown(() => ledger.close())
  return { ...sandbox, cli, deploy, ledger }
}

type Prepared = Awaited<ReturnType<typeof prepare>>

const skip = noEngine('docker-registry', 'gcc')
t.test('people look at instances and hosts, and change them by hand', { skip }, async (t) => {
  const prepared = await prepare(t)
  await prepared.deploy('1.0.0')
  await prepared.deploy('1.0.1')
  await t.test('instances are listed, and everything else may be looked at', (t) =>
    list(t, prepared),
  )
  await t.test('the log is read by lines, patterns and times, and so are files', (t) =>
    readLogs(t, prepared),
  )
  await t.test('a command runs in an instance, and the ledger has it', (t) =>
    runCommands(t, prepared),
  )
  await t.test('a restart waits until the instance is healthy again', (t) => restart(t, prepared))
  await t.test('images that nobody needs go, and no others', (t) => prune(t, prepared))
  await t.test('a log is followed to the next instance, until Ctrl-C', (t) => follow(t, prepared))
  await t.test('an image goes only when nothing was made from it', (t) => removeImage(t, prepared))
})

async function list(t: Test, prepared: Prepared) {
  const { cli, engine } = prepared
  const [ours] = await engine.docker.listContainers({ filters: { name: ['webapi-shop'] } })
  const stranger = await engine.docker.createContainer({ Image: ours?.ImageID ?? '', name: 'cron' })
  const { stdout } = await cli('instances', 'list')
  t.match(
    stdout,
    /^host +instance +version +state +restarts +ports\napp-01 +webapi-shop +1\.0\.1 +running +0 +127\.0\.0\.1:\d+:8080\n/,
  )
  t.match(stdout, /webapi-shop\.previous +1\.0\.0 +ended/)
  t.notMatch(stdout, /cron/)
  const { instances } = JSON.parse((await cli('instances', 'list', '--all', '--json')).stdout)
  t.match(instances, [
    { name: 'cron', application: '', running: false },
    { name: 'webapi-shop', application: 'webapi', environment: 'shop' },
    { name: 'webapi-shop.previous' },
  ])
  await stranger.remove()
  await listRestarting(t, prepared, ours?.ImageID ?? '')
  const stats = JSON.parse((await cli('instances', 'stats', '--json')).stdout)
  t.match(stats, { instances: [{ host: 'app-01', name: 'webapi-shop', restarts: 0 }] })
  t.match((await cli('instances', 'stats')).stdout, /up for\napp-01 +webapi-shop +\d+\.\d %/)
  const threads = await cli('instances', 'threads')
  t.match(threads, { code: 1, stderr: /first process is \/server, not java/ })
  const check = JSON.parse((await cli('hosts', 'check', '--json')).stdout)
  t.match(check.hosts, [{ host: 'app-01', answers: true, facts: { clockAhead: 0 } }])
  t.match((await cli('hosts', 'check')).stdout, /8080\/tcp is published on a loopback address/)
}

/** One that ends again and again, in the second slot. */
async function listRestarting(t: Test, { cli, engine }: Prepared, image: string) {
  const port = String(await freePort())
  const labels = {
    [instanceLabels.application]: 'webapi',
    [instanceLabels.environment]: 'shop',
    [SLOT_LABEL]: JSON.stringify({ slot: 2, ports: [['8080/tcp', port]] }),
  }
  const loop = await engine.docker.createContainer({
    ...{ Image: image, name: 'loop', Labels: labels, Env: ['EXIT=3'] },
    HostConfig: {
      RestartPolicy: { Name: 'always' },
      PortBindings: { '8080/tcp': [{ HostPort: port }] },
    },
  })
  t.match((await cli('instances', 'list')).stdout, new RegExp(`not started +0 +2 +${port}:8080`))
  await loop.start()
  let seen: Awaited<ReturnType<Command>> | undefined
  const isRestarting = await until(async () => {
    seen = await cli('instances', 'list')
    return /loop +restarting, ended with 3 +[1-9]\d* +2 +\d+:8080$/m.test(seen.stdout)
  })
  t.ok(isRestarting, seen?.stdout ?? '')
  t.match(seen?.stdout, /^host +instance +version +state +restarts +slot +ports$/m)
  const { instances } = JSON.parse((await cli('instances', 'list', '--json')).stdout)
  t.match(instances, [{ name: 'loop', slot: 2, ports: [`${port}:8080`] }, { slot: null }, {}])
  const former = await cli('hosts', 'containers')
  t.match(former.stdout, /^host +container +version +state +restarts$/m, 'as it was')
  await loop.remove({ force: true })
}

async function readLogs(t: Test, { cli, engine }: Prepared) {
  const { stdout } = await cli('instances', 'logs')
  t.match(stdout, /^demo 1 starts$/m)
  t.equal((await cli('instances', 'logs', '--lines', '1')).stdout.split('\n').length, 2)
  const found = await cli('instances', 'logs', '--grep', '^demo .* starts$', '--json')
  t.match(JSON.parse(found.stdout), {
    lines: [{ host: 'app-01', name: 'webapi-shop', text: 'demo 1 starts' }],
  })
  t.equal((await cli('instances', 'logs', '--until', '2020-01-31')).stdout, '')
  t.equal((await cli('instances', 'logs', '--since', '1h')).stdout, stdout)
  const file = await cli('instances', 'logs', '--file', 'ROOT/*.html')
  t.match(file.stdout, '== /app/ROOT/index.html of webapi-shop on app-01\n<h1>demo 1</h1>\n')
  const links = pack()
  links.entry({ name: 'conf', type: 'symlink', linkname: 'tmp' })
  links.entry({ name: 'pages', type: 'symlink', linkname: '/app/ROOT' })
  links.finalize()
  await engine.docker.getContainer('webapi-shop').putArchive(Readable.from(links), { path: '/' })
  const linked = await cli('instances', 'logs', '--file', '/pages/index.html')
  t.equal(linked.stdout, file.stdout, 'by way of a linked folder')
  t.equal((await cli('instances', 'logs', '--file', '/conf/*.properties')).code, 1)
  for (const [args, message] of [
    [['--file', '/conf/app.properties'], /rendered from the config/],
    [['--file', '../etc/passwd'], /without "\."/],
    [['--file', 'l*gs/x.log'], /has a \* before its last part/],
    [['--file', '/tmp/app.properties'], /rendered from the config/],
    [['--file', 'x.log', '--follow'], /--file cannot be followed/],
    [['--follow', '--json'], /no one JSON document/],
    [['--since', 'yesterday'], /--since "yesterday" is no time/],
    [['--grep', '('], /--grep/],
    [['--lines', '0'], /--lines "0"/],
  ] as const) {
    t.match(await cli('instances', 'logs', ...args), { code: 2, stderr: message }, args.join(' '))
  }
  const missing = await cli('instances', 'logs', '--file', 'logs/none.log')
  t.match(missing, { code: 1, stderr: /none\.log/ })
}

async function runCommands(t: Test, { cli, ledger }: Prepared) {
  const cat = ['--', '/server', 'cat', '/run/secrets/db']
  t.match(await cli('instances', 'exec', ...cat), { code: 0, stdout: '***\n***\n', stderr: '' })
  const shown = await cli('instances', 'exec', '--json', ...cat)
  const output = ['***', '***'].map((text) => ({ stream: 'stdout', text }))
  t.match(JSON.parse(shown.stdout), { instances: [{ exitCode: 0, output }] })
  const typed = await cli('instances', 'exec', '--', '/server', 'cat', '/k9x!z')
  t.match(typed, { code: 1, stderr: /^\/\*\*\*: No such file/m })
  t.match(await ledger.events({ limit: 1 }), [{ subject: /: \/server cat \/\*\*\*$/ }])
  const said = await cli('instances', 'exec', '--reason', 'to see', '--', '/server', '--x')
  t.match(said, { code: 7, stdout: 'demo 1 starts\n', stderr: /^a line on stderr$/m })
  t.match(await ledger.events({ limit: 1 }), [
    {
      action: 'instances exec',
      subject: 'webapi-shop on app-01: /server --x',
      reason: 'to see',
      by: 'li',
    },
  ])
  const json = await cli('instances', 'exec', '--json', '--', '/server')
  t.match(JSON.parse(json.stdout), { instances: [{ host: 'app-01', exitCode: 7 }] })
  t.match(await cli('instances', 'exec', '--env', 'prod', '--', '/server'), {
    code: 1,
    stderr: /prod has a gate, and a command could change what was approved/,
  })
  const trial = ['hosts', 'check', '--env', 'prod', '--try-stop', '--release', 'webapi@1.0.1']
  t.match(await cli(...trial), { code: 2, stderr: /prod has a gate: hosts check --try-stop needs/ })
  t.not((await cli(...trial, '--reason', 'to see')).code, 0, 'nobody signed in')
  t.same(await ledger.events({ action: 'hosts check', limit: 1 }), [], 'nothing was started')
  const lock = await ledger.lock('webapi', 'shop', 'wang', 'stocktaking', 60_000)
  const locked = await cli('instances', 'exec', '--', '/server')
  t.match(locked, { code: 1, stdout: '', stderr: /stocktaking/ })
  await ledger.unlock(lock)
}

async function restart(t: Test, { cli, ledger }: Prepared) {
  t.match(await cli('instances', 'restart'), { code: 0, stdout: /restarted webapi-shop/ })
  t.match(await ledger.events({ limit: 1 }), [{ action: 'instances restart' }])
  t.match((await cli('instances', 'list')).stdout, /webapi-shop +1\.0\.1 +running/)
}

async function prune(t: Test, { cli, deploy, ledger, folder }: Prepared) {
  const broken = new Libsql(`${folder}/ledger.db`)
  broken.exec(
    "CREATE TRIGGER refuse BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'no'); END",
  )
  t.match((await deploy('1.0.2')).all, /warning: images that nobody needs were not all removed/)
  broken.exec('DROP TRIGGER refuse')
  broken.close()
  const before = JSON.parse((await cli('hosts', 'images', '--json')).stdout)
  t.same(
    before.images
      .map(({ version, use }: { version: string; use: string }) => `${version} ${use}`)
      .sort(),
    ['1.0.0 none', '1.0.1 stopped', '1.0.2 runs'],
  )
  t.match((await cli('hosts', 'images', '--all')).stdout, /webapi@1\.0\.2 .* runs/)
  t.match((await cli('hosts', 'prune', '--dry-run')).stdout, 'app-01: webapi@1.0.0\n1 to remove.\n')
  t.match((await cli('hosts', 'prune', '--keep', '1')).stderr, /--keep 1 is not a number from 2/)
  t.match(await cli('hosts', 'prune', '--keep', '4'), { stdout: 'Nothing to remove.\n' })
  t.match(await cli('hosts', 'prune'), { code: 0, stdout: /1 removed\.\n$/ })
  t.match(await ledger.events({ limit: 1 }), [
    { action: 'hosts prune', subject: 'webapi@1.0.0 on app-01' },
  ])
  t.notMatch((await cli('hosts', 'images')).stdout, /1\.0\.0/)
}

async function follow(t: Test, { cli, deploy, folder, variables, ledger }: Prepared) {
  const env = { ...variables, CROSSCLOUD_ENV: 'shop' }
  const followed = startCli(['instances', 'logs', '--follow', '--lines', '9'], { cwd: folder, env })
  await followed.until('demo 1 starts')
  await deploy('1.0.3')
  await followed.until('webapi-shop on app-01 took its place, version 1.0.3; going on with its log')
  followed.child.kill('SIGINT')
  const { code, stdout, stderr } = await followed.finished
  t.equal(code, 0, stderr)
  t.match(stderr, /^-- the log of webapi-shop on app-01 ended/m)
  t.notMatch(stdout, /--/, 'what is said beside the lines is on stderr')
  t.match(await ledger.events({ limit: 1 }), [
    { action: 'hosts prune', subject: 'webapi@1.0.1 on app-01', reason: /^after d\d+$/ },
  ])
  t.notMatch((await cli('hosts', 'images')).stdout, /1\.0\.1/, 'the deployment removed it')
}

async function removeImage(t: Test, { cli, engine, ledger }: Prepared) {
  t.match(await cli('hosts', 'rmi', 'webapi@1.0.3', '--force', '--reason', 'x'), {
    code: 1,
    stderr: /webapi-shop was made from webapi@1\.0\.3/,
  })
  t.match(await cli('hosts', 'rmi', 'webapi@1.0.0'), { code: 1, stderr: /on none of these hosts/ })
  await engine.docker.getContainer('webapi-shop.previous').remove()
  t.match(await cli('hosts', 'rmi', 'webapi@1.0.2', '--force'), {
    code: 1,
    stderr: /a rollback would need webapi@1\.0\.2/,
  })
  const removed = await cli('hosts', 'rmi', 'webapi@1.0.2', '--force', '--reason', 'a password')
  t.match(removed, { code: 0, stdout: /1 removed/ })
  t.match(await ledger.events({ limit: 1 }), [
    { action: 'hosts rmi', subject: 'webapi@1.0.2 on app-01', reason: 'a password' },
  ])
  t.notMatch((await cli('hosts', 'images')).stdout, /1\.0\.2/)
}
