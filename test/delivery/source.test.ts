import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Log, silentLog } from '../../src/core/log.ts'
import { createSecrets } from '../../src/core/secrets.ts'
import { checkOut } from '../../src/server/effects/checkout.ts'
import type { EventFacts } from '../../src/server/sources/event.ts'
import { buildWar } from '../../src/steps/build-war.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { testContext } from '../support/context.ts'
import { makeRepository, startGitServer } from '../support/servers/git.ts'
import { missingProgram } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** A Maven wrapper whose WAR tells what it was built from. */
const WRAPPER = `#!/bin/sh
mkdir -p target web/target
{ git describe --tags; cat lib/part.txt lib/deep/part.txt 2>&1; } > target/webapi.war
echo made > web/target/classes
`

function listeningLog(): { log: Log; warnings: string[] } {
  const warnings: string[] = []
  return { log: { ...silentLog, warn: (line) => void warnings.push(line) }, warnings }
}

type Given = { clean?: 'required'; localRepository?: string }

async function project(t: Test, format?: string) {
  const repository = await makeRepository(await temporaryFolder(t), format)
  const { folder } = repository
  const commit = await repository.commit({
    mvnw: WRAPPER,
    'src/index.jsp': 'hello',
    '.gitignore': '*.tmp\n',
    'web/pom.xml': '<project/>',
  })
  const build = async (given: Given = {}) => {
    const { log, warnings } = listeningLog()
    const context = testContext(t, folder, { log })
    const inputs = { war: 'target/webapi.war', maven: './mvnw', ...given }
    const built = await runStep(buildWar, inputs, context)
    return { commit: built.commit, warnings: warnings.join('\n') }
  }
  return { folder, repository, commit, build }
}

await t.test('what is built with files that are in no commit says so', async (t) => {
  const { folder, repository, commit, build } = await project(t)
  t.strictSame(await build(), { commit, warnings: '' })
  // What builds leave is nobody's source, ignored or not.
  await mkdir(join(folder, '.m2/repository/a'), { recursive: true })
  const reports = ['crosscloud.env', 'crosscloud-verify.xml', 'crosscloud-config-test.xml']
  for (const path of ['x.tmp', '.m2/repository/a/b.jar', ...reports]) {
    await writeFile(join(folder, path), 'made')
  }
  t.strictSame(await build({ localRepository: '.m2/repository' }), { commit, warnings: '' })
  await rm(join(folder, '.m2'), { recursive: true })

  const changes: [string, () => Promise<unknown>][] = [
    ['src/index.jsp', () => writeFile(join(folder, 'src/index.jsp'), 'changed')],
    ['src/index.jsp', () => rm(join(folder, 'src/index.jsp'))],
    ['src/new.jsp', () => writeFile(join(folder, 'src/new.jsp'), 'new')],
    ['src/crosscloud.env', () => writeFile(join(folder, 'src/crosscloud.env'), 'new')],
    ['src/有 空格.jsp', () => writeFile(join(folder, 'src/有 空格.jsp'), 'new')],
    ['src/moved.jsp', () => repository.git('mv', 'src/index.jsp', 'src/moved.jsp')],
  ]
  for (const [path, change] of changes) {
    await change()
    const built = await build()
    t.equal(built.commit, `${commit}+dirty`, path)
    t.match(built.warnings, `in no commit: `, path)
    t.match(built.warnings, path)
    await rm(join(folder, 'target'), { recursive: true })
    const refused = build({ clean: 'required' })
    await t.rejects(refused, {
      code: 'INPUT_INVALID',
      message: new RegExp(`in no commit: .*${path}`),
      hint: /Commit it/,
    })
    t.notOk((await readdir(folder)).includes('target'), 'Maven was not started')
    await repository.git('reset', '--quiet', '--hard')
    await repository.git('clean', '--quiet', '--force', '-d')
  }
  t.match(await build({ clean: 'required' }), { commit, warnings: '' })
})

await t.test('a checkout that git cannot compare is not clean', async (t) => {
  const { folder, commit, build } = await project(t)
  await writeFile(join(folder, 'src/new.jsp'), 'new')
  await writeFile(join(folder, '.git/index'), 'broken')
  const built = await build()
  t.equal(built.commit, `${commit}+dirty`)
  t.match(
    built.warnings,
    'git does not tell whether all files are in a commit; the release says so',
  )
  await t.rejects(build({ clean: 'required' }), { code: 'INPUT_INVALID' })
})

await t.test(
  'a token that stands alone in an address is masked, and a password with an @',
  async (t) => {
    for (const person of ['ghp_abcdefgh12345678', 'li:p@ss@word-12345678']) {
      const context = testContext(t, await temporaryFolder(t))
      const repository = `http://${person}@127.0.0.1:1/x.git`
      const failed = runStep(buildWar, { war: 'a.war', repository }, context)
      const { message } = (await failed.catch((error: unknown) => error)) as Error
      t.match(message, '127.0.0.1:1/x.git')
      t.notMatch(context.secrets.mask(message), '12345678')
    }
  },
)

await t.test('a commit that the ledger could not keep with the mark is shortened', async (t) => {
  const { folder, commit, build } = await project(t, 'sha256')
  await writeFile(join(folder, 'src/index.jsp'), 'changed')
  t.equal((await build()).commit, `${commit.slice(0, 58)}+dirty`)
})

await t.test('without git a build is not promised to be clean', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'mvnw'), WRAPPER, { mode: 0o755 })
  const { log, warnings } = listeningLog()
  const variables = { CI_COMMIT_SHA: 'from-ci' }
  const context = testContext(t, folder, { log, variables })
  const inputs = { war: 'target/webapi.war', maven: './mvnw' }
  t.equal((await runStep(buildWar, inputs, context)).commit, 'from-ci')
  t.match(warnings, [/git does not tell .*; CI says from-ci/])
  await t.rejects(runStep(buildWar, { ...inputs, clean: 'required' }, context), {
    code: 'INPUT_INVALID',
    message: /git does not tell whether .*: .*not a git repository/s,
  })
})

/** main is two commits after the tag, and has a submodule that has one. */
async function projectWithSubmodules(t: Test) {
  const root = await temporaryFolder(t)
  const [deep, lib, main] = [
    await makeRepository(join(root, 'deep.git')),
    await makeRepository(join(root, 'lib.git')),
    await makeRepository(join(root, 'main.git')),
  ]
  await deep.commit({ 'part.txt': 'deep\n' })
  await lib.git('submodule', '--quiet', 'add', '../deep.git', 'deep')
  await lib.commit({ 'part.txt': 'lib\n' })
  await main.commit({ mvnw: WRAPPER, 'large.txt': 'of yesterday' })
  await main.git('tag', 'v1.4.2')
  await main.commit({ 'large.txt': 'of today' })
  await main.git('submodule', '--quiet', 'add', '../lib.git', 'lib')
  const commit = await main.commit({})
  return { root, main, commit, described: `v1.4.2-2-g${commit.slice(0, 7)}\nlib\ndeep\n` }
}

await t.test(
  'build-war checks out a repository with its history, tags and submodules',
  async (t) => {
    const { root, commit, described } = await projectWithSubmodules(t)
    const server = await startGitServer(t, root)
    const context = testContext(t, await temporaryFolder(t))
    const build = (repository: string) =>
      runStep(buildWar, { war: 'target/webapi.war', maven: './mvnw', repository }, context)
    for (const url of [`http://127.0.0.1:${server.port}/main.git`, `file://${root}/main.git`]) {
      const built = await build(url)
      t.equal(built.commit, commit, url)
      t.equal(await readFile(built.war, 'utf8'), described, url)
    }
    await rm(join(root, 'deep.git'), { recursive: true })
    await t.rejects(build(`file://${root}/main.git`), {
      code: 'COMMAND_FAILED',
      message: /fetching the submodules lib: .*deep/s,
      hint: /\.gitmodules/,
    })
    t.strictSame(await readdir(join(context.cwd, '.crosscloud')), [], 'nothing half is left')
  },
)

const facts = (commit: string) =>
  ({ kind: 'push', ref: 'main', commit, project: 'main' }) as EventFacts
const place = { folder: '/', program: '', variables: { PATH: process.env.PATH ?? '' } }

await t.test("a server's checkout is complete, and its token stays with its server", async (t) => {
  const { root, main, commit, described } = await projectWithSubmodules(t)
  const elsewhere = await startGitServer(t, root)
  const server = await startGitServer(t, root)
  const worker = { ...place, log: silentLog, secrets: createSecrets() }
  const { signal } = new AbortController()
  const out = (address: string, commit: string) => checkOut(address, facts(commit), worker, signal)
  const own = `http://li:secret-token@127.0.0.1:${server.port}/{{project}}.git`
  const { folder, remove } = await out(own, commit)
  const built = await runStep(
    buildWar,
    { war: 'target/webapi.war', maven: './mvnw', clean: 'required' },
    testContext(t, folder),
  )
  t.equal(built.commit, commit)
  t.equal(await readFile(join(folder, built.war), 'utf8'), described)
  await remove()

  const basic = `Basic ${Buffer.from('li:secret-token').toString('base64')}`
  t.ok(server.authorizations.length > 5)
  t.ok(server.authorizations.every((header) => header === basic))
  await main.git('submodule', 'set-url', 'lib', `http://127.0.0.1:${elsewhere.port}/lib.git`)
  const moved = await out(own, await main.commit({}))
  await moved.remove()
  t.ok(elsewhere.authorizations.length > 0)
  t.ok(elsewhere.authorizations.every((header) => header === ''))

  const secretRepository = await makeRepository(join(root, 'secret'))
  await secretRepository.commit({ secret: 'of this machine' })
  await main.git('submodule', 'set-url', 'lib', `file://${secretRepository.folder}`)
  await t.rejects(out(own, await main.commit({})), {
    code: 'UNAVAILABLE',
    message: /fetching the submodules lib: .*transport 'file' not allowed/s,
  })
})

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${'ab'.repeat(32)}\nsize 12345\n`
const withoutLfs = missingProgram('git-lfs')

await t.test(
  'files that Git LFS keeps and does not give are named, and nothing is built',
  async (t) => {
    const root = await temporaryFolder(t)
    const [lib, main] = [
      await makeRepository(join(root, 'lib.git')),
      await makeRepository(join(root, 'main.git')),
    ]
    // git-lfs, where there is one, must take the pointers as they stand.
    const attributes = { '.gitattributes': '*.png filter=lfs -text\n' }
    await lib.commit({ ...attributes, 'logo.png': POINTER })
    await main.git('submodule', '--quiet', 'add', '../lib.git', 'lib')
    const commit = await main.commit({ mvnw: WRAPPER, 'README.png': 'small, and no pointer' })
    const context = testContext(t, await temporaryFolder(t))
    const missing = {
      code: withoutLfs ? 'NOT_FOUND' : 'COMMAND_FAILED',
      message: /fetching lib\/logo\.png from Git LFS: /,
      hint: /git-lfs|git lfs/,
    }
    const inputs = { war: 'target/webapi.war', maven: './mvnw', repository: main.folder }
    await t.rejects(runStep(buildWar, inputs, context), missing)
    t.strictSame(await readdir(join(context.cwd, '.crosscloud')), [])
    const worker = { ...place, log: silentLog, secrets: createSecrets() }
    const work = checkOut(
      `file://${root}/{{project}}.git`,
      facts(commit),
      worker,
      new AbortController().signal,
    )
    await t.rejects(work, {
      code: withoutLfs ? 'NOT_FOUND' : 'UNAVAILABLE',
      message: /lib\/logo\.png from Git LFS/,
    })
  },
)

await t.test('files that Git LFS keeps are fetched', { skip: withoutLfs }, async (t) => {
  const root = await temporaryFolder(t)
  const [lib, main] = [
    await makeRepository(join(root, 'lib.git')),
    await makeRepository(join(root, 'main.git')),
  ]
  for (const { git } of [lib, main]) await git('lfs', 'install', '--local')
  const attributes = { '.gitattributes': '*.txt filter=lfs diff=lfs merge=lfs -text\n' }
  await lib.commit({ ...attributes, 'part.txt': 'lib\n', 'deep/part.txt': 'deep\n' })
  await main.git('submodule', '--quiet', 'add', '../lib.git', 'lib')
  const commit = await main.commit({ ...attributes, mvnw: WRAPPER, 'large.txt': 'large' })
  t.match(await main.git('cat-file', 'blob', 'HEAD:large.txt'), 'oid sha256:')
  await main.git('tag', 'v1')
  const context = testContext(t, await temporaryFolder(t))
  const inputs = { war: 'target/webapi.war', maven: './mvnw' }
  const built = await runStep(buildWar, { ...inputs, repository: main.folder }, context)
  t.equal(await readFile(built.war, 'utf8'), 'v1\nlib\ndeep\n')

  const worker = { ...place, log: silentLog, secrets: createSecrets() }
  const { signal } = new AbortController()
  const address = `file://${root}/{{project}}.git`
  const { folder, remove } = await checkOut(address, facts(commit), worker, signal)
  t.teardown(remove)
  t.equal(await readFile(join(folder, 'large.txt'), 'utf8'), 'large')
  const clean = { ...inputs, clean: 'required' as const }
  t.match(await runStep(buildWar, clean, testContext(t, folder)), { commit })
})
