import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { run } from '../../src/core/process/process.ts'
import { stepNames } from '../../src/steps/index.ts'
import { sourceRepository } from '../support/ci/release.ts'

t.setTimeout(280_000)
const sources = await sourceRepository(t)
const { folder, git, release } = sources
const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as {
  version: string
}
const origin = t.testdir({})
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
    'dist/crosscloud/proto/rpc.proto',
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

await t.test('a release that was not pushed, or half, is finished by the next run', async (t) => {
  await run('git', ['init', '--quiet', '--bare', origin])
  await git('remote', 'add', 'origin', origin)
  const commit = await git('rev-parse', exact)
  const there = async () => (await run('git', ['ls-remote', '--tags', origin])).stdout
  const moved = new RegExp(`^${commit}\trefs/tags/${moving}$`, 'm')
  const forced = `git push --force origin ${moving}`
  // The moving tag of the release before, and an origin that does not let it be moved.
  await git('push', '--quiet', 'origin', `main:refs/tags/${moving}`)
  const hook = join(origin, 'hooks/update')
  await writeFile(hook, `#!/bin/sh\n[ "$1" != refs/tags/${moving} ]\n`, { mode: 0o755 })
  const cut = await release('--push')
  t.not(cut.code, 0)
  t.match(cut.stderr, `Run \`npm run release -- --push\` again, or \`${forced}\`.`)
  t.match(await there(), `${commit}\trefs/tags/${exact}`)
  t.notMatch(await there(), moved)

  // Another clone has the tags of origin at the most.
  await git('tag', '--delete', exact, moving)
  await git('config', 'remote.origin.tagOpt', '--no-tags')
  const looked = await release('--dry-run')
  t.match(looked, { code: 0, stdout: `${exact} is ${commit}; nothing was done\n${forced}` })
  await rm(hook)
  const pushed = await release('--push')
  t.match(pushed, { code: 0, stdout: 'pushed' }, pushed.stderr)
  t.match(await there(), `${commit}\trefs/tags/${exact}`)
  t.match(await there(), moved, 'the moving tag was moved')
  t.match(await release('--push'), { code: 0, stdout: 'origin has both' })
})

await t.test('a version that others were released after is not released again', async (t) => {
  const refused = { code: 1, stderr: `the tag ${exact} is there already` }
  const newer = version.replace(/\d+$/, '10')
  await git('tag', `v${newer}`)
  t.match(await release('--push'), refused, 'the moving tag does not go back')
  await git('tag', '--delete', `v${newer}`)
  await git('commit', '--quiet', '--allow-empty', '--message', 'More')
  await git('tag', '--delete', exact)
  t.match(await release('--push'), refused, 'origin has it, of other sources')
})
