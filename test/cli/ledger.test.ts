import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'
import { openLedger } from '../../src/ledger/open.ts'
import { ended, HOSTILE, outcome, release, start } from '../ledger/conformance/samples.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { until } from '../support/until.ts'

const REVISION = (value: string) =>
  JSON.stringify({
    version: 2,
    keyId: null,
    templates: {},
    files: [],
    keys: { '/webapi/pool': { value }, [`/webapi/${value}`]: { value: '1' } },
  })

async function project(t: Test) {
  const cwd = await temporaryFolder(t)
  await writeFile(
    join(cwd, 'crosscloud.yml'),
    `app: webapi
ledger: sqlite:ledger.db
environments:
  test: { image: registry.test/webapi, url: https://test.example.com/webapi }
  production: { image: registry.test/webapi, hosts: { app-01: "tcp://127.0.0.1:1" } }
`,
  )
  const ledger = await openLedger(join(cwd, 'ledger.db'))
  t.teardown(() => ledger.close())
  return { cwd, ledger, run: (...args: string[]) => runHere(args, { cwd }) }
}

async function fill(ledger: Ledger, commits: readonly string[] = []) {
  for (const [index, version] of ['1.0.0', '1.0.1', '1.0.2'].entries()) {
    const commit = commits[index] ?? release(version).commit
    await ledger.recordRelease(release(version, { commit, repository: '127.0.0.1:1/team/webapi' }))
  }
  for (const value of ['a', 'b']) await ledger.recordConfigRevision(`r-${value}`, REVISION(value))
  const put = async (
    version: string,
    environment: string,
    more: object = {},
    state = 'succeeded',
  ) => {
    const { id } = await start(ledger, release(version), environment, more)
    const ok = state === 'succeeded'
    const hosts = [outcome('app-01', { url: `http://app-01.${environment}:8080`, ok })]
    await ledger.endDeployment(id, ended(state as 'failed', hosts))
    return id
  }
  await put('1.0.0', 'production', { configRevision: 'r-a', reason: HOSTILE })
  const { id } = await ledger.recordApproval({
    app: 'webapi',
    environment: 'production',
    version: '1.0.1',
    by: 'ops-li',
    groups: [],
    digest: release('1.0.1').digest,
    decision: 'approved',
    reason: 'tested',
    identity: 'https://gitlab.example.com',
  })
  await put('1.0.1', 'production', { configRevision: 'r-b', approvals: [id], by: 'wang' })
  await put('1.0.2', 'test', { identity: 'https://gitlab.example.com' })
  await put('1.0.1', 'test', {}, 'failed')
}

t.test('status of an empty ledger states that nothing was deployed', async (t) => {
  const { run } = await project(t)
  t.match(await run('status'), { code: 0, stdout: 'Nothing was deployed yet.\n' })
  t.match(await run('history'), { code: 0, stdout: 'No such deployment is in the ledger.\n' })
  t.match(await run('report'), { code: 0, stdout: /^Nothing was deployed in that time\./ })
  t.match(await run('show', 'webapi@1.0.0'), { code: 1, stderr: /push-image/ })
  const digest = release('1').digest
  t.match(await run('explain', digest), { code: 1, stderr: new RegExp(`no release .* ${digest}`) })
})

t.test('status shows what runs where, and what is wrong there', async (t) => {
  const { run, ledger } = await project(t)
  await fill(ledger)
  const { stdout } = await run('status')
  t.match(stdout, /^webapi +production +1\.0\.1 +1 release +\d{4}-\d\d-\d\d \d\d:\d\d +wang /m)
  t.match(stdout, /^webapi +test +1\.0\.2 +newest /m)
  await ledger.mark({
    app: 'webapi',
    environment: 'test',
    version: '1.0.2',
    bad: true,
    by: 'li',
    reason: 'slow',
  })
  await ledger.lock('webapi', 'production', 'li', 'stocktaking', 60_000)
  const live = await run('status', '--live')
  t.match(live.stdout, /^webapi in test: 1\.0\.2 is marked bad by li: slow$/m)
  t.match(live.stdout, /^webapi in production: locked by li until .* UTC: stocktaking$/m)
  t.match(live.stdout, /^webapi in production, app-01: .*ECONNREFUSED/m)
  const { environments } = JSON.parse((await run('status', '--env', 'test', '--json')).stdout)
  t.match(environments, [{ environment: 'test', version: '1.0.2', behind: 0 }])
  await ledger.recordRelease(release('2.0.0', { app: 'shop' }))
  const { id } = await start(ledger, release('2.0.0', { app: 'shop' }), 'production')
  await ledger.endDeployment(id, ended('succeeded'))
  const many = (await run('status')).stdout
  t.match(many, /^application +production +test$/m)
  t.match(many, /^webapi +1\.0\.1 \(-1, locked\) +1\.0\.2 \(bad\)$/m)
  t.match((await run('status', '--app', 'shop')).stdout, /^shop +production +2\.0\.0/m)
})

t.test('history is shown page by page', async (t) => {
  const { run, ledger } = await project(t)
  await fill(ledger)
  const page = await run('history', '--limit', '3', '--app', 'webapi')
  t.match(page.stdout, /^d4 .* failed +no +li/m)
  t.match(page.stdout, /^d3 .* succeeded +yes +li \(signed\)/m)
  const [, next] = /^Older ones: crosscloud (.*)$/m.exec(page.stdout) ?? []
  t.equal(next, 'history --limit 3 --app webapi --before d2')
  const last = await run(...(next ?? '').split(' '))
  t.match(last.stdout, /^d1 /m)
  t.notMatch(last.stdout, 'Older ones')
  const ids = async (...args: string[]) => {
    const { stdout } = await run('history', '--json', ...args)
    return (JSON.parse(stdout) as { deployments: { id: string }[] }).deployments.map(({ id }) => id)
  }
  t.same(await ids('--by', 'wang'), ['d2'])
  t.same(await ids('--release', 'webapi@1.0.1', '--env', 'test'), ['d4'])
  t.same(await ids('--state', 'failed'), ['d4'])
  t.same(await ids('--since', '1h'), ['d4', 'd3', 'd2', 'd1'])
  t.same(await ids('--since', '2099-01-01'), [])
  for (const wrong of [
    ['--since', 'yesterday'],
    ['--since', '2026-02-31'],
    ['--since', '99999999999d'],
    ['--limit', '0'],
    ['--before', '5'],
    ['--state', 'done'],
    ['--release', 'webapi'],
    ['--release', 'webapi@1.0.0', '--app', 'shop'],
  ]) {
    t.match(await run('history', ...wrong), { code: 2 }, wrong.join(' '))
  }
})

t.test('history has what else was done between the deployments, each once', async (t) => {
  const { run, ledger } = await project(t)
  const place = { app: 'webapi', environment: 'test', by: 'li', identity: 'unverified' }
  await ledger.recordRelease(release('1.0.0'))
  let last = Date.now()
  /** Times are kept in milliseconds: what comes next is later. */
  const later = async () => {
    await until(() => Date.now() > last)
    last = Date.now()
  }
  const deployed = async () => {
    await later()
    const { id } = await start(ledger, release('1.0.0'), 'test')
    await ledger.endDeployment(id, ended('succeeded'))
    await later()
  }
  await ledger.recordEvent({ ...place, action: 'lock', subject: 'li (by hand)', reason: 'first' })
  await deployed()
  await ledger.mark({ ...place, version: '1.0.0', bad: true, reason: 'wrong prices' })
  await deployed()
  const kept = { state: 'kept', text: 'secret or not' } as const
  const changes = [{ key: '/webapi/greeting', before: kept, after: { state: 'absent' } as const }]
  await ledger.recordConfigChange({ ...place, reason: undefined, changes })
  await deployed()

  const names = async (...args: string[]) => {
    const { stdout } = await run('history', ...args)
    return [...stdout.matchAll(/lock|marked bad|config|^d\d/gm)].map(([name]) => name)
  }
  t.same(await names(), ['d3', 'config', 'd2', 'marked bad', 'd1', 'lock'])
  t.same(await names('--limit', '2'), ['d3', 'config', 'd2'])
  t.same(await names('--before', 'd2'), ['marked bad', 'd1', 'lock'])
  t.same(await names('--limit', '1', '--before', 'd3'), ['config', 'd2'])
  t.same(await names('--only', 'deployments'), ['d3', 'd2', 'd1'])
  t.same(await names('--only', 'events', '--limit', '2'), ['config', 'marked bad'])
  t.same(await names('--by', 'wang'), [])
  t.same(await names('--release', 'webapi@1.0.0'), ['d3', 'd2', 'marked bad', 'd1'])
  t.match(await run('history', '--only', 'locks'), { code: 2, stderr: /--only "locks"/ })
  const told = await run('history', '--json')
  t.match(JSON.parse(told.stdout).events, [
    { id: 'c1', action: 'config', subject: '/webapi/greeting', by: 'li', reason: null },
    { id: null, action: 'marked bad', subject: 'webapi@1.0.0' },
    { id: 'e1', action: 'lock', identity: 'unverified' },
  ])
  t.notMatch(told.stdout, 'secret or not')
})

t.test('show prints the life of a release, and explain what a name stands for', async (t) => {
  const { run, ledger } = await project(t)
  await fill(ledger)
  const { stdout } = await run('show', 'webapi@1.0.1')
  t.match(stdout, /^WAR +MD5 d41d8cd98f00b204e9800998ecf8427e, 67108864 bytes$/m)
  t.match(stdout, /^d2 +.* production +webapi@1\.0\.1 +succeeded/m)
  t.match(stdout, /^d2 production, app-01: runs as new-app-01 after 4 s; then at http:/m)
  t.match(stdout, /^a1 .* ops-li approved it for production \(signed by https:.*\): tested$/m)
  const { digest } = release('1.0.1')
  t.match(await run('explain', `registry.test/webapi@${digest}`), {
    stdout: /^image: webapi@1\.0\.1/,
  })
  for (const [thing, what] of [
    ['webapi@1.0.1', 'release: webapi@1.0.1'],
    ['D41D8CD98F00B204E9800998ECF8427E', 'WAR: webapi@1.0.2'],
    ['2fd4e1c67a2d28fced849ee1bb76e7391b93eb12', 'commit: webapi@1.0.2'],
  ] as const) {
    t.match(await run('explain', thing), { code: 0, stdout: what }, thing)
  }
  t.match(await run('explain', 'f'.repeat(32)), {
    code: 1,
    stderr: /no release of webapi has the WAR/,
  })
  const page = await run('explain', 'https://test.example.com/webapi/info?x=1')
  t.match(page.stdout, /which is test: webapi@1\.0\.2\nDeployed .* UTC to test by li, as d3$/m)
  const host = await run('explain', 'http://app-01.production:8080/healthz')
  t.match(host.stdout, /which is production: webapi@1\.0\.1/)
  t.match(host.stdout, /ops-li approved it/)
  const unknown = await run('explain', 'webapi-nowhere')
  t.match(unknown, { code: 75, stderr: /app-01.*ECONNREFUSED/ }, 'it may be on the silent host')
})

t.test('diff shows what changed between two releases', async (t) => {
  const { cwd, run: crosscloud, ledger } = await project(t)
  const git = (...args: string[]) =>
    run('git', ['-c', 'user.name=dev', '-c', 'user.email=d@example.com', ...args], { cwd })
  await git('init', '--quiet')
  const commits: string[] = []
  for (const subject of ['first', 'second', 'third']) {
    await git('commit', '--quiet', '--allow-empty', '--message', subject)
    commits.push((await git('rev-parse', 'HEAD')).stdout.trim())
  }
  await fill(ledger, commits)
  const { stdout } = await crosscloud('diff', 'webapi@1.0.0', 'webapi@1.0.1')
  t.match(stdout, /^webapi@1\.0\.0 → webapi@1\.0\.1$/m)
  t.match(stdout, /^Commits\n {2}[0-9a-f]+ dev: second$/m)
  t.match(stdout, /^Layers\n {2}not compared: .*ECONNREFUSED/m)
  t.match(
    stdout,
    /production: \+ \/webapi\/b\n +production: - \/webapi\/a\n +production: ~ \/webapi\/pool/,
  )
  const never = await crosscloud('diff', 'webapi@1.0.0', 'webapi@1.0.2')
  t.match(never.stdout, /they never ran in the same environment/)
  const back = await crosscloud('diff', 'webapi@1.0.2', 'webapi@1.0.1')
  t.match(back.stdout, /Commits\n {2}none from .*; it was a step back/)
})

t.test('report measures how releases are delivered', async (t) => {
  const { cwd, run, ledger } = await project(t)
  await fill(ledger)
  const said = await run('report', '--since', '7d', '--csv', 'r.csv', '--html', 'r.html')
  t.match(said.stdout, /^webapi +production +2 +2\.0 +.* 0 % +– +0$/m)
  t.match(said.stdout, /^change failure rate: share of/m)
  t.match(said.stdout, /^Wrote r\.csv\nWrote r\.html$/m)
  const csv = await readFile(join(cwd, 'r.csv'), 'utf8')
  t.match(csv, /^application,environment,deployments,/)
  t.match(csv, /^webapi,test,1,0\.1429,\d+,0\.5000,1,,0\r$/m)
  const page = await readFile(join(cwd, 'r.html'), 'utf8')
  t.match(page, '<h2>production</h2>')
  t.match(page, /<title>\d{4}-\d\d-\d\d: 2 succeeded, 0 failed<\/title>/)
  t.notMatch(page, /<script|src=|href=|@import|url\(/, 'it asks nobody for anything')
  const { measures } = JSON.parse((await run('report', '--env', 'test', '--json')).stdout)
  t.match(measures, [{ environment: 'test', deployments: 1, failureRate: 0.5 }])
  t.match(await run('report', '--html', 'no/such/folder/r.html'), { code: 1, stderr: /writing/ })
})
