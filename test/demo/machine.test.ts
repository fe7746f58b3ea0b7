import { createReadStream } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type Docker from 'dockerode'
import t, { type Test } from 'tap'
import { digestFile, sha256 } from '../../src/core/digest.ts'
import { silentLog } from '../../src/core/log.ts'
import { run } from '../../src/core/process/process.ts'
import { prepareBaseRootfs } from '../../src/demo/base-image.ts'
import { findEngine, startEngine } from '../../src/demo/engine.ts'
import {
  endProcesses,
  makeWhole,
  processesOf,
  startTime,
  unmountBelow,
} from '../../src/demo/leftovers.ts'
import { prepareMaven } from '../../src/demo/maven.ts'
import { overlap } from '../../src/demo/network.ts'
import { debianMirror, isRoot, missingPackages } from '../../src/demo/packages.ts'
import { DEMO_FOLDER } from '../support/folders.ts'
import { fetchText } from '../support/servers/http.ts'

const example = fileURLToPath(new URL('../../examples/webapi', import.meta.url))
const log = silentLog

// Maven, an engine and Tomcat on a busy machine.
t.setTimeout(240_000)

/** The base image takes a minute to build: `npm test` has built it there, or an earlier run. */
const cache = DEMO_FOLDER

const missing = await missingPackages(['engine', 'maven', 'base'])
const skip = !isRoot()
  ? 'needs root'
  : missing.length > 0
    ? `needs Debian's packages: ${missing.join(' ')}`
    : false

async function temporaryFolder(test: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-machine-'))
  test.teardown(async () => {
    await unmountBelow(folder)
    await rm(folder, { recursive: true, force: true })
  })
  return folder
}

t.test('two subnets overlap where they share an address', async (t) => {
  t.ok(overlap('10.213.5.0/24', '10.0.0.0/8'))
  t.ok(overlap('10.213.5.0/24', '10.213.5.77'))
  t.ok(overlap('0.0.0.0/0', '10.213.5.0/24'))
  t.notOk(overlap('10.213.5.0/24', '10.213.6.0/24'))
  t.notOk(overlap('10.213.5.0/24', '192.168.0.0/16'))
})

t.test("packages come from the mirror of the machine's own apt", async (t) => {
  const apt = t.testdir({
    'sources.list': [
      '# deb http://old.example/debian bookworm main',
      'deb http://security.example/debian-security bookworm-security main',
      'deb [arch=amd64 signed-by=/keys/debian.gpg] http://one.example/debian/ trixie main contrib',
    ].join('\n'),
    'sources.list.d': {
      'a.sources': [
        'Types: deb deb-src',
        '# a comment',
        'URIs: http://two.example/debian',
        'Suites: bookworm',
        ' bookworm-updates',
        'Components: main',
        'Trusted: yes',
        '',
        'Types: deb',
        'Enabled: no',
        'URIs: http://three.example/debian',
        'Suites: forky',
        'Components: main',
      ].join('\n'),
      'other.sources.disabled': 'Types: deb\nURIs: http://x/debian\nSuites: sid\nComponents: main',
    },
  })
  t.match(await debianMirror('bookworm', apt), { url: 'http://two.example/debian', trusted: true })
  t.match(await debianMirror('trixie', apt), {
    url: 'http://one.example/debian/',
    keyring: '/keys/debian.gpg',
  })
  t.match(
    await debianMirror('forky', apt),
    { url: 'http://one.example/debian/' },
    'a disabled one is not used',
  )
  t.equal(await debianMirror('bookworm', t.testdir({})), undefined)
})

t.test('a half-made folder never looks finished', async (t) => {
  const folder = join(t.testdir({}), 'made')
  await mkdir(`${folder}.unfinished-4194999/old`, { recursive: true })
  const failing = makeWhole(folder, async (unfinished) => {
    await writeFile(join(unfinished, 'part'), '')
    throw new Error('cut')
  })
  await t.rejects(failing, { message: 'cut' })
  t.same(await readdir(dirname(folder)), [], 'nor does it, or an older one, stay')
  await makeWhole(folder, (unfinished) => writeFile(join(unfinished, 'whole'), ''))
  t.same(await readdir(folder), ['whole'])
})

t.test('processes are ended by what they are, with their children', async (t) => {
  const folder = t.testdir({ file: '' })
  const { spawn } = await import('node:child_process')
  const child = spawn('sh', ['-c', `sleep 600 & wait # ${folder}/`], { stdio: 'ignore' })
  const other = spawn('sleep', ['600'], { stdio: 'ignore' })
  t.teardown(() => {
    child.kill('SIGKILL')
    other.kill('SIGKILL')
  })
  const programs = /^(?:sh|dash)$/
  while ((await processesOf(folder, programs)).all.length < 2) {}
  const { own, all } = await processesOf(folder, programs)
  t.equal(own[0]?.pid, child.pid)
  t.ok(await endProcesses(all, 'SIGTERM', 5000))
  t.same((await processesOf(folder, programs)).all, [])
  t.ok(await startTime(other.pid ?? 0), 'others go on')
})

t.test('an engine that is elsewhere is not used', async (t) => {
  const said: string[] = []
  const spoken = { ...silentLog, info: (text: string) => said.push(text) }
  await findEngine(spoken, 'tcp://192.0.2.1:2376')
  t.match(said, [/elsewhere/])
})

const builds = await temporaryFolder(t)
/** Of the example; built by the first test that follows, deployed by the next. */
let war = ''

t.test('the example builds, twice the same bytes', { skip }, async (t) => {
  const args = await prepareMaven(cache)
  t.same(await prepareMaven(cache), args)
  war = await buildExample(join(builds, 'one'), args)
  const again = await buildExample(join(builds, 'two'), args)
  t.same(await digestFile(war), await digestFile(again))
  const other = await buildExample(join(builds, 'two'), [...args, '-Drevision=1.0.1'])
  t.not(
    (await digestFile(other)).md5,
    (await digestFile(war)).md5,
    'another version is another WAR',
  )
})

t.test('Tomcat serves the example on an engine of our own', { skip }, async (t) => {
  const folder = await temporaryFolder(t)
  const base = await prepareBaseRootfs(cache, log)
  t.same(await prepareBaseRootfs(cache, log), base)
  t.match(await digestFile(base.layerPath), { sha256: base.digest.slice(7), size: base.size })

  const engine = await startEngine(folder, { log })
  t.teardown(() => engine.stop())
  t.ok(engine.own)
  t.ok(engine.socket.length < 100)
  t.match((await run('ip', ['link'])).stdout, engine.socket.replace(/.*-(\w+)\/.*/, 'ccd-$1'))
  await t.rejects(startEngine(folder, { log }), { code: 'CONFLICT' }, 'one engine a folder')

  const { default: Dockerode } = await import('dockerode')
  const docker = new Dockerode({ socketPath: engine.socket })
  const image = await importBase(docker, base)
  const properties = 'greeting = Grüße <b>\nenvironment = test\ndb.url = jdbc:x\ndb.pool = 5\n'
  const start = async (withProperties: boolean) =>
    startTomcat(docker, image, folder, war, base.webapp, withProperties ? properties : undefined)

  await t.test('it is healthy with its properties', async (t) => {
    const url = await start(true)
    const health = await fetchText(`${url}/healthz`)
    t.match(health, { status: 200, body: /^ok webapi 1\.0\.0\n$/ })
    t.match(JSON.parse((await fetchText(`${url}/info`)).body), {
      application: 'webapi',
      version: '1.0.0',
      file: '/etc/webapi/webapi.properties',
      values: { greeting: 'Grüße <b>', environment: 'test', 'db.url': 'jdbc:x', 'db.pool': '5' },
    })
    const page = await fetchText(`${url}/`)
    t.match(page, { status: 200, body: /<h1>Grüße &lt;b&gt;<\/h1>/ })
    t.match(page.body, /id="db-url">jdbc:x</)
  })

  await t.test('it is not ready without them, and reports why', async (t) => {
    const url = await start(false)
    t.match(await fetchText(`${url}/healthz`), {
      status: 503,
      body: /not ready: webapi 1\.0\.0: .*\/etc\/webapi\/webapi\.properties/,
    })
    t.match(await fetchText(`${url}/`), { status: 503, body: /Not ready/ })
    const [container] = await docker.listContainers({ limit: 1 })
    const logs = await docker.getContainer(container?.Id ?? '').logs({ stdout: true, stderr: true })
    t.match(logs.toString(), /cannot read the settings/, "the reason is in the container's log")
  })

  await t.test('Tomcat is process 1 and receives SIGTERM', async (t) => {
    const [info] = await docker.listContainers({ limit: 1 })
    const container = docker.getContainer(info?.Id ?? '')
    await container.stop({ t: 60 })
    const { ExitCode } = (await container.inspect()).State
    t.equal(ExitCode, 128 + 15, 'ended by itself; what is killed has 128 + 9')
  })

  await t.test('what a killed run left is ended by the next', async (t) => {
    const network = await docker.createNetwork({ Name: 'left-behind' })
    const bridge = `br-${network.id.slice(0, 12)}`
    t.match((await run('ip', ['link'])).stdout, bridge)
    await writeFile(join(dirname(engine.socket), 'owner'), '4194999 1')
    const next = await startEngine(folder, { log })
    t.same((await docker.listContainers()).length, 0)
    await next.stop()
    await next.stop()
    await nothingLeft(t, folder)
    t.notMatch((await run('ip', ['link'])).stdout, bridge, 'no network')
  })
})

t.test('an engine whose start is cancelled leaves nothing behind', { skip }, async (t) => {
  const folder = await temporaryFolder(t)
  const starting = startEngine(folder, { log, signal: AbortSignal.timeout(150) })
  t.teardown(() => starting.then((engine) => engine.stop()).catch(() => {}))
  await t.rejects(starting, { code: 'CANCELLED' })
  await nothingLeft(t, folder)
})

async function buildExample(folder: string, args: string[]): Promise<string> {
  await cp(example, folder, { recursive: true, filter: (path) => !/\/target(\/|$)/.test(path) })
  await run('mvn', ['-B', '-q', ...args, 'clean', 'package', '-Dmaven.test.skip=true'], {
    cwd: folder,
  })
  return join(folder, 'target/webapi.war')
}

async function importBase(docker: Docker, base: Awaited<ReturnType<typeof prepareBaseRootfs>>) {
  const changes = [
    ...base.config.Env.map((entry) => `ENV ${entry.replace('=', '="')}"`),
    `CMD ${JSON.stringify(base.config.Cmd)}`,
    `WORKDIR ${base.config.WorkingDir}`,
  ]
  const stream = await docker.importImage(createReadStream(base.layerPath), {
    repo: 'base',
    tag: 'latest',
    changes,
  })
  for await (const _ of stream) {
  }
  const { RootFS } = await docker.getImage('base:latest').inspect()
  t.same(RootFS.Layers, [base.diffId], 'the engine finds the same diffID')
  return 'base:latest'
}

async function startTomcat(
  docker: Docker,
  image: string,
  folder: string,
  war: string,
  webapp: string,
  properties: string | undefined,
): Promise<string> {
  const root = await mkdtemp(join(folder, 'root-'))
  await mkdir(join(root, dirname(webapp)), { recursive: true })
  await run('unzip', ['-q', war, '-d', join(root, webapp)])
  if (properties !== undefined) {
    await mkdir(join(root, 'etc/webapi'), { recursive: true })
    await writeFile(join(root, 'etc/webapi/webapi.properties'), properties)
  }
  await run('tar', ['-cf', `${root}.tar`, '-C', root, '.'])
  const container = await docker.createContainer({
    Image: image,
    HostConfig: { PortBindings: { '8080/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] } },
    ExposedPorts: { '8080/tcp': {} },
  })
  await container.putArchive(`${root}.tar`, { path: '/' })
  await container.start()
  const { NetworkSettings } = await container.inspect()
  const url = `http://127.0.0.1:${NetworkSettings.Ports['8080/tcp']?.[0]?.HostPort}`
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; ) {
    const reached = await fetchText(`${url}/healthz`).then(
      () => true,
      () => false,
    )
    if (reached) return url
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  throw new Error(`nothing answers at ${url}`)
}

async function nothingLeft(t: Test, folder: string): Promise<void> {
  const id = sha256(join(folder, 'engine')).slice('sha256:'.length, 'sha256:'.length + 8)
  t.notMatch(await readFile('/proc/self/mountinfo', 'utf8'), folder, 'no mount')
  t.notMatch((await run('ip', ['link'])).stdout, `ccd-${id}`, 'no bridge')
  t.notOk((await readdir('/run')).includes(`crosscloud-${id}`), 'no socket')
  t.same((await processesOf(`/run/crosscloud-${id}`, /./)).all, [], 'no process')
}
