import { execFileSync } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { sha256 } from '../../src/core/digest.ts'
import { planSchema } from '../../src/delivery/plan/schema.ts'
import { runAction } from '../support/ci/action.ts'
import { runHere } from '../support/program.ts'
import { noEngine } from '../support/servers/engine.ts'
import { type Recorder, startRecorder } from '../support/servers/proxies/recorder.ts'
import { createSandbox, type Sandbox } from '../support/setups/sandbox.ts'
import { plannedProxy } from './rollout/planned-proxy.ts'
import { plannedSlots } from './rollout/planned-slots.ts'

const isRead = (request: string) => /^(?:GET|HEAD) /.test(request)

const skip = noEngine('docker-registry', 'gcc', 'git')
if (skip) t.test('a plan', { skip }, async () => {})
else await plans(await createSandbox(t))

async function plans(sandbox: Sandbox): Promise<void> {
  const { folder, variables } = sandbox
  const [host, port] = sandbox.repository.split(/[:/]/)
  const registry = await startRecorder(t, { host: host ?? '', port: port ?? '' })
  const engine = await startRecorder(
    t,
    { socketPath: sandbox.engine.socket },
    join(folder, 'engine.sock'),
  )
  const recorders = [registry, engine]
  const repository = sandbox.repository.replace(/^[^/]*/, registry.address)
  const configure = (more: { gate?: string; hosts?: string; container?: string } = {}) => {
    const hosts = `{ app-01: "unix://${engine.address}"${more.hosts ?? ''} }`
    const config = '"file:config/test.yaml"'
    return writeFile(
      join(folder, 'crosscloud.yml'),
      [
        'app: webapi',
        'identity: unverified',
        'ledger: sqlite:ledger.db',
        'container: { ports: ["127.0.0.1::8080"], stop-timeout: 1s, health: { http: ":8080/", timeout: 20s } }',
        'environments:',
        `  test: { image: "${repository}", config: ${config}, hosts: ${hosts}, ${more.container ?? ''} }`,
        `  staging: { from: test, image: "${repository}-staging", config: ${config}, hosts: ${hosts}, ${more.gate ?? ''} }`,
      ].join('\n'),
    )
  }
  const cli = (...args: string[]) => runHere(args, { cwd: folder, variables })
  /** Plans, and returns the plan as `--json` prints it. */
  const plan = async (...args: string[]) => {
    const said = await cli(...args, '--plan', '--json')
    const { error, ...rest } = JSON.parse(said.stdout)
    return { code: said.code, error, plan: planSchema.parse(rest), all: said.all }
  }
  const greet = (text: string) =>
    writeFile(
      join(folder, 'config/test.yaml'),
      `webapi: { greeting: ${text}, db: { password: swordfish-${text} } }\n`,
    )

  await writeFile(
    join(folder, 'deploy/templates/app.hbs'),
    'greeting={{getv "/webapi/greeting"}}\npassword={{getv "/webapi/db/password"}}\n',
  )
  await greet('hello')
  // The base image is looked up by its own address, so the sandbox's own settings bake.
  await sandbox.configure('sqlite:ledger.db')
  const commits = commitTwice(folder)
  await sandbox.release('1.0.0', commits[0])
  await sandbox.release('1.0.1', commits[1])
  await configure()
  const deploy = (version: string) => ['deploy', `webapi@${version}`, '--env', 'test']

  await t.test('a plan of a first deployment says that nothing runs, and is ready', async (t) => {
    const { code, plan: first } = await plan(...deploy('1.0.0'))
    t.equal(code, 0)
    t.match(first, { ready: true, problems: [], from: null, config: { before: null, keys: [] } })
    t.match(first.commits, { known: false, why: 'nothing runs there yet' })
    const { image, hosts } = first
    t.match(hosts, [{ name: 'app-01', action: 'create', runs: null, restores: null }])
    t.same(hosts[0]?.lacks, { layers: image?.layers, bytes: image?.bytes }, 'all of it')
    t.equal((await cli(...deploy('1.0.0'))).code, 0)
  })

  await t.test('a plan reads, and writes nothing anywhere', async (t) => {
    await greet('good day')
    const before = await everything(sandbox)
    for (const recorder of recorders) {
      recorder.clear()
      recorder.refuseWrites(true)
    }
    const commands = [
      deploy('1.0.1'),
      ['promote', 'webapi@1.0.0', '--to', 'staging'],
      ['rollback', '--env', 'test', '--to', 'webapi@1.0.0', '--reason', 'x'],
    ]
    for (const command of commands) await cli(...command, '--plan')
    for (const recorder of recorders) {
      t.ok(recorder.requests().length > 0)
      t.same(
        recorder.requests().filter((request) => !isRead(request)),
        [],
      )
      recorder.refuseWrites(false)
    }
    t.same(await everything(sandbox), before)
  })

  await t.test('a deployment does what its plan said', async (t) => {
    const { plan: said } = await plan(...deploy('1.0.1'))
    t.equal(said.ready, true)
    t.match(said.commits, { known: true, removed: [], added: [{ subject: 'second: | `x` @all' }] })
    const secret = /^\(secret [0-9a-f]{8}\)$/
    t.match(said.config.keys, [
      {
        key: '/webapi/db/password',
        change: 'unknown',
        before: '(secret, not kept)',
        after: secret,
      },
      { key: '/webapi/greeting', change: 'changed', before: '"hello"', after: '"good day"' },
    ])
    t.same(said.config.files, [{ path: '/tmp/app.properties', change: 'changed' }])
    const [host] = said.hosts
    t.match(host, { action: 'replace', restores: 'webapi@1.0.0', leftovers: [], error: null })
    registry.clear()
    const { stdout, code } = await cli(...deploy('1.0.1'), '--json')
    t.equal(code, 0)
    const done = JSON.parse(stdout)
    const pulled = blobsPulled(registry).size
    t.equal(pulled, 1 + (host?.lacks?.layers ?? 0), 'its config, and the layers that it lacked')
    t.ok(host?.lacks && said.image && host.lacks.bytes < said.image.bytes)
    t.match(done, {
      release: said.release,
      environment: said.environment,
      digest: said.digest,
      configRevision: said.config.after,
    })
    t.same(
      done.containers.map((each: { host: string }) => each.host),
      said.hosts.map(({ name }) => name),
    )
    const diff = await cli('diff', 'webapi@1.0.0', 'webapi@1.0.1', '--json')
    const [{ changed, unknown }] = JSON.parse(diff.stdout).config
    t.same(
      [...unknown, ...changed].sort(),
      said.config.keys.map(({ key }) => key),
    )
    const { plan: again } = await plan(...deploy('1.0.1'))
    t.same(
      again.config.keys.filter(({ change }) => change !== 'unknown'),
      [],
    )
    t.same(again.hosts[0]?.lacks, { layers: 0, bytes: 0 })
  })

  await t.test('a plan of other facts has another hash; an obstacle is none of them', async (t) => {
    const hash = async () => (await plan(...deploy('1.0.1'))).plan.hash
    const stale = await hash()
    t.equal(await hash(), stale)
    await cli('lock', '--env', 'test', '--reason', 'stocktaking')
    t.equal(await hash(), stale)
    await cli('unlock', '--env', 'test')
    await greet('good night')
    t.not(await hash(), stale)
  })

  await t.test('all that stands in the way is listed, first what the step ends with', async (t) => {
    await cli('lock', '--env', 'test', '--reason', 'stocktaking')
    await cli('mark', 'webapi@1.0.0', '--env', 'test', '--reason', 'orders fail')
    const found = await plan(...deploy('1.0.0'))
    t.equal(found.code, 1)
    t.match(found.error, { code: 'GATE_CLOSED', message: / now: lock, mark, older$/ })
    t.match(found.plan, {
      ready: false,
      problems: [
        { check: 'lock', code: 'CONFLICT', message: /is locked by li .*stocktaking/ },
        { check: 'mark', code: 'GATE_CLOSED', message: /known to be bad.*orders fail/ },
        { check: 'older', code: 'CONFLICT', message: /git has its commit before/ },
      ],
      lock: { owner: 'li (by hand)', reason: 'stocktaking', since: /^\d{4}-/ },
    })
    const undo = [
      ['unlock', '--env', 'test'],
      ['mark', 'webapi@1.0.0', '--env', 'test', '--good', '--reason', 'it was the network'],
    ]
    for (const way of [...undo, undefined]) {
      const { plan: now } = await plan(...deploy('1.0.0'))
      const { stdout, code } = await cli(...deploy('1.0.0'), '--json')
      const { error } = JSON.parse(stdout)
      t.equal(code, 1)
      const [first] = now.problems
      t.same([error.code, error.message, error.hint], [first?.code, first?.message, first?.hint])
      if (way) await cli(...way)
    }
    const waiting = await cli('lock', '--env', 'test', '--reason', 'stocktaking')
    t.equal(waiting.code, 0)
    const patient = await plan(...deploy('1.0.1'), '--lock-wait', '10m')
    t.match(patient, { code: 0, plan: { ready: true, lock: { owner: 'li (by hand)' } } })
    t.match(patient.plan.warnings, [/would wait for it/])
    await cli('unlock', '--env', 'test')
  })

  await t.test('a plan of a promotion says what is copied, and what the gate misses', async (t) => {
    const week = '{ days: [mon, tue, wed, thu, fri, sat, sun], reason: holidays }'
    await configure({ gate: `gate: { approvals: 1, approvers: [ops-li], freeze: [${week}] }` })
    const promote = ['promote', 'webapi@1.0.1', '--to', 'staging']
    const closed = await plan(...promote)
    t.match(closed.plan.problems, [{ check: 'gate', message: /frozen(?:.|\n)*1 more approval/ }])
    t.equal(closed.code, 1)
    await configure()
    const { plan: open, code } = await plan(...promote)
    const name = `${repository}-staging`
    t.match(open, { kind: 'promote', ready: true, from: null })
    t.match(open.image, {
      reference: `${name}@${open.digest}`,
      copy: { from: `${repository}@${open.digest}`, to: `${name}:1.0.1`, mounted: true },
    })
    t.equal(code, 0)
    t.equal((await cli(...promote)).code, 0)
    t.equal((await plan(...promote)).plan.image?.copy, null, 'it is there now')
    const skipped = await plan('promote', 'webapi@1.0.0', '--to', 'staging')
    t.match(skipped.plan.problems, [{ check: 'older' }])
    const half = await cli(...promote, '--plan', '--no-deploy')
    t.match(half, { code: 2, stderr: /`--plan` is of the deployment/ })
  })

  await t.test('a rollback goes back to what its plan said', async (t) => {
    const back = ['rollback', '--env', 'test', '--reason', 'orders fail']
    const { plan: said } = await plan(...back)
    t.match(said, { kind: 'rollback', ready: true, release: 'webapi@1.0.0' })
    t.match(said.commits, { added: [], removed: [{ subject: /^second/ }] })
    const done = JSON.parse((await cli(...back, '--json')).stdout)
    t.match(done, { release: said.release, configRevision: said.config.after })
  })

  await t.test('a host that is down, or has a container of others, is named', async (t) => {
    const dead = join(folder, 'dead.sock')
    await configure({ hosts: `, app-02: "unix://${dead}"` })
    const { plan: down } = await plan(...deploy('1.0.1'), '--force', '--reason', 'again')
    t.match(down.problems, [{ check: 'hosts', code: 'UNAVAILABLE', hint: /--without app-02/ }])
    t.match(down.hosts, [
      { name: 'app-01', error: null },
      { name: 'app-02', error: /app-02/ },
    ])
    const without = ['--without', 'app-02', '--force', '--reason', 'its disk died']
    const { plan: past } = await plan(...deploy('1.0.1'), ...without)
    t.match(past, { ready: true, hosts: [{ name: 'app-01' }, { action: 'leave out' }] })
    await configure()
    const { docker } = sandbox.engine
    const { Id, Image } = await docker.getContainer('webapi-test').inspect()
    const ours = docker.getContainer(Id)
    await ours.rename({ name: 'aside' })
    const theirs = await docker.createContainer({ Image, name: 'webapi-test' })
    const { plan: taken } = await plan(...deploy('1.0.1'), '--force', '--reason', 'again')
    t.match(taken.problems, [{ check: 'owner', message: /was not put there by crosscloud/ }])
    await theirs.remove()
    await ours.rename({ name: 'webapi-test' })
  })

  await t.test('people read it at a terminal, in a merge request and from a job', async (t) => {
    const files = ['--markdown', 'plan.md', '--dotenv', 'plan.env']
    await greet('"a|b <b>"')
    const force = ['--force', '--reason', 'again']
    const said = await cli(...deploy('1.0.1'), ...force, '--plan', ...files)
    t.equal(said.code, 0, said.all)
    t.match(said.stdout, /^Plan {5}deploy webapi@1\.0\.0 → webapi@1\.0\.1 in test/)
    t.match(said.stdout, /1\. app-01 {2}webapi@1\.0\.0 → webapi@1\.0\.1; has the image/)
    t.match(said.stdout, /Failure {2}restores app-01: webapi@1\.0\.0\n/)
    t.notMatch(said.all, 'swordfish')
    const markdown = await readFile(join(folder, 'plan.md'), 'utf8')
    t.match(markdown, "`li: second: | 'x' @all`", 'mentions nobody')
    t.notMatch(markdown, 'swordfish')
    t.ok(markdown.length < 5000)
    const dotenv = await readFile(join(folder, 'plan.env'), 'utf8')
    t.match(dotenv, /^CROSSCLOUD_RELEASE=webapi@1\.0\.1\n(?:.|\n)*CROSSCLOUD_READY=true\n/)
    const without = await cli(...deploy('1.0.1'), '--markdown', 'plan.md')
    t.match(without, { code: 2, stderr: /`--markdown` is for a plan/ })
    const unknown = await cli('deploy', 'webapi@9.9.9', '--env', 'test', '--plan')
    t.match(unknown, { code: 1, stderr: /webapi@9\.9\.9 is not in the ledger/ })
  })

  await t.test(
    'an action shows the plan in its summary, and fails where it is not ready',
    async (t) => {
      const dist = join(folder, 'action')
      await mkdir(dist)
      // As built, but not bundled: the bundle has no SQLite.
      const main = JSON.stringify(new URL('../../dist/actions/main.js', import.meta.url))
      const start = `import(${main}).then(({ runAction }) => runAction('deploy'))`
      await writeFile(join(dist, 'deploy.cjs'), start)
      const run = (inputs: object) =>
        runAction(
          folder,
          'deploy',
          { env: 'test', plan: 'true', ...inputs },
          { dist, env: variables },
        )
      const [good, bad] = [
        await run({ release: 'webapi@1.0.0' }),
        await run({ release: 'webapi@1.0.1' }),
      ]
      t.equal(good.code, 0, good.printed)
      t.match(good.output, /ready<<.*\ntrue\n/)
      t.match(good.summary, '### Plan: deploy `webapi@1.0.0 → webapi@1.0.0` in `test`')
      t.match(bad, { code: 1, summary: /\*\*mark\*\*: webapi@1\.0\.1 is known to be bad/ })
      t.match(bad.printed, /::error.*cannot be deployed to test now: mark/)
    },
  )

  await plannedSlots(t, { configure, plan: () => plan(...deploy('1.0.0')) })
  await plannedProxy(t, { folder, configure, plan: () => plan(...deploy('1.0.0')) })
}

/** Two commits, the second with a subject that means something to Markdown. */
function commitTwice(cwd: string): string[] {
  const names = ['-c', 'user.name=li', '-c', 'user.email=li@example.com']
  const git = (...args: string[]) =>
    execFileSync('git', [...names, ...args], { cwd, encoding: 'utf8' }).trim()
  git('init', '--quiet', '--initial-branch=main')
  return ['first', 'second: | `x` @all'].map((message) => {
    git('commit', '--quiet', '--allow-empty', `--message=${message}`)
    return git('rev-parse', 'HEAD')
  })
}

/** All that a plan could have changed: the ledger, this machine's state, containers and images. */
async function everything({ folder, engine, variables, context }: Sandbox) {
  const open = context()
  const lines: string[] = []
  await (await open.ledger()).exportRecords((line) => void lines.push(line))
  await open.close()
  const { docker } = engine
  const containers = await docker.listContainers({ all: true })
  const images = await docker.listImages()
  return {
    // The first line has the time of the export, the last a sum over it.
    ledger: lines.slice(1, -1),
    file: sha256(await readFile(join(folder, 'ledger.db'))),
    state: await readdir(join(variables.CROSSCLOUD_STATE ?? '', 'journal')).catch(() => []),
    containers: containers.map(({ Id, State, Names }) => [Id, State, Names]),
    images: images.map(({ Id }) => Id),
  }
}

/** Blobs that the engine itself fetched. */
function blobsPulled(registry: Recorder): Set<string> {
  const requests = registry.requests(/^docker\//)
  return new Set(requests.filter((request) => /^GET .*\/blobs\//.test(request)))
}
