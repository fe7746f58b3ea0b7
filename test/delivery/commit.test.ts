import t from 'tap'
import { run } from '../../src/core/process/process.ts'
import { describeCommit } from '../../src/delivery/source/commit.ts'
import { testContext } from '../support/context.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.test('the author is that of the commit the image was baked from', async (t) => {
  const folder = await temporaryFolder(t)
  const git = async (...args: string[]) => (await run('git', args, { cwd: folder })).stdout.trim()
  await git('init', '--quiet')
  const person = ['-c', 'user.name=Li Wei', '-c', 'user.email=li.wei@example.com']
  await git(...person, 'commit', '--quiet', '--allow-empty', '--message', 'first')
  const commit = await git('rev-parse', 'HEAD')
  const pipeline = {
    GITLAB_CI: 'true',
    CI_COMMIT_AUTHOR: 'Zhang Hua <zhang.hua@example.com>',
    CI_COMMIT_TIMESTAMP: '2026-01-02T03:04:05Z',
  }
  const describe = (asked: string | undefined, variables: Record<string, string>) =>
    describeCommit(asked, testContext(t, folder, { variables }))
  const zhang = {
    author: 'Zhang Hua <zhang.hua@example.com>',
    committedAt: '2026-01-02T03:04:05.000Z',
  }
  const same = { ...pipeline, CI_COMMIT_SHA: commit }
  t.strictSame(await describe(commit, same), zhang, "of the pipeline's commit GitLab tells")
  t.strictSame(await describe(commit.slice(0, 8), same), zhang)
  t.strictSame(await describe(undefined, same), zhang)
  const other = { ...pipeline, CI_COMMIT_SHA: 'f'.repeat(40) }
  t.match(await describe(commit, other), { author: 'Li Wei <li.wei@example.com>' }, 'git does')
  t.strictSame(
    await describe('e'.repeat(40), other),
    { author: undefined, committedAt: undefined },
    'nobody does',
  )
})
