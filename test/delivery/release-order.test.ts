import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { refuseOlder, warnOfOlder } from '../../src/delivery/release-order.ts'
import type { Release } from '../../src/ledger/ledger.ts'
import { ended, release, start } from '../ledger/conformance/samples.ts'
import { testContext } from '../support/context.ts'
import { listen } from '../support/setups/sandbox.ts'
import { temporaryFolder } from '../support/temporary.ts'

const NAMES = ['-c', 'user.name=li', '-c', 'user.email=li@example.com']
const git = (cwd: string, ...args: string[]) =>
  execFileSync('git', [...NAMES, ...args], { cwd, encoding: 'utf8' }).trim()

/** A checkout with three commits, one after the other, and a ledger beside it. */
async function open(t: Test, given: readonly Partial<Release>[] = []) {
  const folder = await temporaryFolder(t)
  git(folder, 'init', '--quiet', '--initial-branch=main')
  const commits = ['first', 'second', 'third'].map((message) => {
    git(folder, 'commit', '--quiet', '--allow-empty', `--message=${message}`)
    return git(folder, 'rev-parse', 'HEAD')
  })
  await writeFile(join(folder, 'crosscloud.yml'), 'app: webapi\nledger: sqlite:ledger.db\n')
  const { log, text } = listen()
  const context = testContext(t, folder, { log })
  const ledger = await context.ledger()
  const record = async (version: string, more: Partial<Release>) => {
    const made = release(version, { commit: undefined, ...more })
    await ledger.recordRelease(made)
    return made
  }
  const made = []
  for (const [at, more] of given.entries()) made.push(await record(`1.0.${at}`, more))
  const check = (release: Release, running: string, older = false) =>
    refuseOlder({ release, environment: 'test', older }, [running], context)
  return { folder, commits, context, ledger, record, check, made, text }
}

t.test('git decides which commit is older, whatever the order of their releases', async (t) => {
  const { commits, record, check } = await open(t)
  const [first, , third] = commits
  const newer = await record('1.0.0', { commit: third, branch: 'v1.1' })
  const slow = await record('1.0.1', { commit: first, branch: 'v1.0' })
  await check(newer, '1.0.1')
  await t.rejects(check(slow, '1.0.0'), {
    code: 'CONFLICT',
    message:
      'webapi@1.0.0 runs in test, and webapi@1.0.1 is older: git has its commit before the other',
    hint: /crosscloud rollback --env test.*`--older`/,
  })
})

t.test('a job that has only the newest commits goes by the times of the commits', async (t) => {
  const { commits, record, check } = await open(t)
  const gone = 'f'.repeat(40)
  const at = (hour: number) => `2026-01-31T${hour}:00:00.000Z`
  const newer = await record('1.0.0', { commit: commits[2], committedAt: at(12) })
  const slow = await record('1.0.1', { commit: gone, committedAt: at(11) })
  await check(newer, '1.0.1')
  await t.rejects(check(slow, '1.0.0'), {
    code: 'CONFLICT',
    message: `webapi@1.0.0 runs in test, and webapi@1.0.1 is older: its commit was made earlier, at ${at(11)}`,
  })
})

t.test('of two releases made by hand on diverging lines neither is surely older', async (t) => {
  const { folder, commits, record, check, text } = await open(t)
  git(folder, 'checkout', '--quiet', '--detach', String(commits[0]))
  git(folder, 'commit', '--quiet', '--allow-empty', '--message=hotfix')
  const commit = git(folder, 'rev-parse', 'HEAD')
  const at = (hour: number) => ({ branch: undefined, committedAt: `2026-01-31T${hour}:00:00.000Z` })
  const main = await record('1.0.0', { commit: commits[2], ...at(11) })
  const hotfix = await record('1.0.1', { commit, ...at(12) })
  await check(hotfix, '1.0.0')
  t.equal(text(), '')
  await check(main, '1.0.1')
  t.match(text(), 'it was recorded earlier, on another line of commits: this sets test back')
  const pushed = await record('1.0.2', { commit: commits[2], ...at(11), branch: 'main' })
  await record('1.0.3', { commit, ...at(12), branch: 'main' })
  await t.rejects(check(pushed, '1.0.3'), { code: 'CONFLICT', message: /commit was made earlier/ })
})

t.test('without commits the order of the ledger counts, on one branch', async (t) => {
  const { check, made, text } = await open(t, [{}, {}, { branch: 'hotfix' }])
  const [first, second] = made as [Release, Release]
  await check(second, '1.0.0')
  await check(first, '1.0.0')
  await check(first, '9.9.9')
  t.equal(text(), '')
  await t.rejects(check(first, '1.0.1'), { code: 'CONFLICT', message: /it was recorded earlier$/ })
  await check(second, '1.0.2')
  t.match(text(), /webapi@1\.0\.1 is older: .* another branch \(main and hotfix\): this sets test/)
})

t.test('the second release of a commit comes after the first', async (t) => {
  const commit = 'a'.repeat(40)
  const { check, made } = await open(t, [{ commit }, { commit }])
  const [first, again] = made as [Release, Release]
  await check(again, '1.0.0')
  await t.rejects(check(first, '1.0.1'), { code: 'CONFLICT' })
})

t.test(
  'an older release that is meant gets a warning, and so does its late approval',
  async (t) => {
    const { check, made, text, ledger, context } = await open(t, [{}, {}])
    const [first, second] = made as [Release, Release]
    await check(first, '1.0.1', true)
    t.match(text(), 'webapi@1.0.1 runs in test, and webapi@1.0.0 is older')
    t.match(text(), 'this sets test back')
    await warnOfOlder(first, 'staging', context)
    t.notMatch(text(), 'staging', 'nothing runs there')
    const { id } = await start(ledger, second, 'staging')
    await ledger.endDeployment(id, ended('succeeded'))
    await warnOfOlder(second, 'staging', context)
    t.notMatch(text(), 'staging')
    await warnOfOlder(first, 'staging', context)
    t.match(text(), /runs in staging, .*: its deployment stops unless it is given `--older`/)
  },
)
