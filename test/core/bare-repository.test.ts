import { existsSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { readWithGit } from '../../src/core/git/git.ts'
import { run } from '../../src/core/process/process.ts'
import { lineage } from '../../src/delivery/release-order.ts'
import { commitsBetween } from '../../src/delivery/source/commits.ts'
import { makeRepository } from '../support/servers/git.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.test('a bare repository that somebody committed runs nothing', async (t) => {
  const folder = await temporaryFolder(t)
  const marker = join(folder, 'marker')
  const evil = `touch ${marker}; false`
  const { folder: root, commit } = await makeRepository(join(folder, 'repository'))
  const settings = `[core]
  repositoryformatversion = 1
  bare = false
  worktree = .
  fsmonitor = "${evil}"
[extensions]
  partialClone = evil
[remote "evil"]
  url = .
  promisor = true
  uploadpack = "${evil}"
`
  await commit({
    'webapi/HEAD': 'ref: refs/heads/main\n',
    'webapi/config': settings,
    'webapi/objects/keep': '',
    'webapi/refs/keep': '',
  })
  const cwd = join(root, 'webapi')
  await mkdir(join(cwd, 'refs/heads'), { recursive: true })
  const [one, two] = ['a'.repeat(40), 'b'.repeat(40)]
  const hasRun = async () => {
    const found = existsSync(marker)
    await rm(marker, { force: true })
    return found
  }
  const unsafe = ['-c', 'safe.bareRepository=all']
  for (const args of [['status'], ['merge-base', '--is-ancestor', one, two]]) {
    await run('git', [...unsafe, ...args], { cwd }).catch(() => {})
    t.ok(await hasRun(), `git ${args[0]} as it was called runs it`)
    await t.rejects(readWithGit(args, { cwd }), { code: 'COMMAND_FAILED' })
    t.notOk(await hasRun(), `git ${args[0]} runs nothing`)
  }
  const { signal } = new AbortController()
  t.equal(await lineage(one, two, { cwd, signal }), undefined)
  t.equal(await commitsBetween(one, two, { cwd, signal }), undefined)
  t.notOk(await hasRun(), 'nor do those that ask it')
  const { stdout } = await readWithGit(['rev-parse', 'HEAD'], { cwd: root })
  t.match(stdout, /^[0-9a-f]{40}$/, 'the repository around it is read')
})
