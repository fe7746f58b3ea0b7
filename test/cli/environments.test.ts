import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import { openLedger } from '../../src/ledger/open.ts'
import { release } from '../ledger/conformance/samples.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

async function project(t: Test, settings: string) {
  const cwd = await temporaryFolder(t)
  await writeFile(join(cwd, 'crosscloud.yml'), `app: webapi\nledger: sqlite:ledger.db\n${settings}`)
  return { cwd, run: (...args: string[]) => runHere(args, { cwd }) }
}

t.test('environments are listed in the order in which a release goes there', async (t) => {
  const { run } = await project(
    t,
    `identity: unverified
environments:
  production: { from: staging, image: r.test/p, gate: { approvals: 2, approvers: [li, wu] } }
  demo: { from: test, image: r.test/d }
  staging: { from: test, image: r.test/s }
  test: { image: r.test/t, url: https://test.example.com }
`,
  )
  const { code, stdout } = await run('environments', '--json')
  t.equal(code, 0)
  const plain = { url: null, gated: false, approvals: 0 }
  t.strictSame(JSON.parse(stdout), {
    app: 'webapi',
    identity: 'unverified',
    environments: [
      { ...plain, name: 'test', from: null, url: 'https://test.example.com' },
      { ...plain, name: 'demo', from: 'test' },
      { ...plain, name: 'staging', from: 'test' },
      { ...plain, name: 'production', from: 'staging', gated: true, approvals: 2 },
    ],
  })
  t.match((await run('environments')).stdout, /^test .*\n.*\n.*\nproduction +staging +2 approvals/m)
})

t.test('a release is found by the commit it was built from', async (t) => {
  const { cwd, run: crosscloud } = await project(t, '')
  const git = (...args: string[]) =>
    run('git', ['-c', 'user.name=li', '-c', 'user.email=li@example.com', ...args], { cwd })
  await git('init', '--quiet')
  await git('commit', '--quiet', '--allow-empty', '--message', 'one')
  const head = (await git('rev-parse', 'HEAD')).stdout.trim()
  const ledger = await openLedger(join(cwd, 'ledger.db'))
  t.teardown(() => ledger.close())
  await ledger.recordRelease(release('1.0.0', { commit: head }))
  await ledger.recordRelease(release('1.0.1', { commit: head }))
  await ledger.recordRelease(release('1.0.2', { commit: '0'.repeat(40) }))
  const found = async (...args: string[]) => {
    const { code, stdout } = await crosscloud('releases', ...args, '--json')
    t.equal(code, 0)
    return (JSON.parse(stdout) as { releases: { release: string }[] }).releases.map(
      (one) => one.release,
    )
  }
  t.strictSame(await found(), ['webapi@1.0.2', 'webapi@1.0.1', 'webapi@1.0.0'])
  t.strictSame(await found('--commit', 'HEAD'), ['webapi@1.0.1', 'webapi@1.0.0'])
  t.strictSame(await found('--commit', 'HEAD', '--limit', '1'), ['webapi@1.0.1'])
  t.strictSame(await found('--commit', 'f'.repeat(40)), [])
  t.match((await crosscloud('releases')).stdout, /^webapi@1\.0\.2 .*000000000000/m)
})

t.test('outside a checkout there is no HEAD', async (t) => {
  const { run } = await project(t, '')
  const { code, stderr } = await run('releases', '--commit', 'HEAD')
  t.equal(code, 1)
  t.match(stderr, /is no checkout of Git: it has no HEAD/)
})
