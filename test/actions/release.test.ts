import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { run } from '../../src/core/process.ts'
import { stepNames } from '../../src/steps/index.ts'
import { sourceRepository } from '../support/release.ts'

t.setTimeout(280_000)
const sources = await sourceRepository(t)
const { folder, git, release } = sources
const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as {
  version: string
}
const [exact, moving] = [`v${version}`, `v${version.split('.')[0]}`]

await t.test('a release is refused where it could not be repeated', async (t) => {
  t.match(await release('9.9.9'), { code: 2, stderr: `package.json has version ${version}` })
  await writeFile(join(folder, 'stray.txt'), 'not committed')
  t.match(await release(), { code: 1, stderr: /the checkout is not clean:\n\?\? stray\.txt/ })
  await git('clean', '--force', '--quiet')
  await git('tag', exact)
  t.match(await release(), { code: 1, stderr: `the tag ${exact} is there already` })
  await git('tag', '--delete', exact)
  const tried = await release('--dry-run')
  t.match(tried, { code: 0, stdout: `${exact} and ${moving} would be made of` }, tried.stderr)
  t.equal(await git('tag'), '', 'nothing was tagged')
})

await t.test('the ref that workflows name has what actions need, on no branch', async (t) => {
  // The moving tag comes from the release before.
  await git('tag', moving)
  const head = await git('rev-parse', 'HEAD')
  const made = await release()
  t.equal(made.code, 0, made.stderr)
  t.match(made.stdout, `git push origin ${exact}\ngit push --force origin ${moving}`)
  const commit = await git('rev-parse', exact)
  t.equal(await git('rev-parse', moving), commit)
  t.equal(await git('rev-parse', `${exact}^`), head, 'it names the sources it was made of')
  t.equal(await git('branch', '--contains', commit), '', 'it is on no branch')
  t.equal(await git('status', '--porcelain'), '', 'the checkout is as it was')

  const clone = t.testdir({})
  await run('git', ['clone', '--quiet', '--branch', exact, `file://${folder}`, clone])
  const files = (await run('git', ['ls-files'], { cwd: clone })).stdout.split('\n')
  for (const step of stepNames) {
    t.ok(files.includes(`actions/${step}/action.yml`) && files.includes(`dist/${step}.cjs`), step)
  }
  for (const wanted of [
    'action.yml',
    'dist/crosscloud.cjs',
    'dist/proto/rpc.proto',
    'docs/steps.md',
  ]) {
    t.ok(files.includes(wanted), wanted)
  }
  t.notOk(
    files.some((path) => /^(?:src|test)\/|^dist\/.*\.js$/.test(path)),
    'and nothing else',
  )
  const { stdout } = await run(process.execPath, [join(clone, 'dist', 'bake-image.cjs')], {
    cwd: clone,
  }).catch((error: Error) => ({ stdout: error.message }))
  t.match(stdout, '::error title=crosscloud bake-image::', 'its bundle starts')
})

await t.test('it is pushed only where that was asked for', async (t) => {
  const origin = t.testdir({})
  await run('git', ['init', '--quiet', '--bare', origin])
  await git('remote', 'add', 'origin', origin)
  await git('push', '--quiet', 'origin', 'main', moving)
  await git('push', '--quiet', 'origin', exact)
  await git('tag', '--delete', exact)
  t.match(await release(), { code: 1, stderr: `the tag ${exact} is there already` }, 'asks origin')
  await git('push', '--quiet', '--delete', 'origin', exact)
  const pushed = await release('--push')
  t.equal(pushed.code, 0, pushed.stderr)
  const commit = await git('rev-parse', exact)
  const there = (await run('git', ['ls-remote', '--tags', origin])).stdout
  t.match(there, `${commit}\trefs/tags/${exact}`)
  t.match(there, `${commit}\trefs/tags/${moving}`, 'the moving tag was moved')
})
