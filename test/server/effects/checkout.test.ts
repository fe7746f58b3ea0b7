import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { silentLog } from '../../../src/core/log.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import { checkOutCommit, headOf, type WantedCommit } from '../../../src/server/effects/checkout.ts'
import { makeRepository, startGitServer } from '../../support/servers/git.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const skip = missingProgram('git')
const basic = `Basic ${Buffer.from('li:secret-token').toString('base64')}`
const signal = AbortSignal.timeout(300_000)

async function startWorld(t: Test, variables: Record<string, string> = {}) {
  const root = await temporaryFolder(t)
  const main = await makeRepository(join(root, 'main.git'))
  const commit = await main.commit({ 'a.txt': 'of main' })
  const server = await startGitServer(t, root)
  const worker = {
    ...{ folder: '/', program: '', log: silentLog, secrets: createSecrets() },
    variables: { PATH: process.env.PATH ?? '', HOME: root, ...variables },
  }
  const url = `http://li:secret-token@127.0.0.1:${server.port}/main.git`
  const out = async (commit: string, more: Partial<WantedCommit> = {}) => {
    const wanted = { url, commit, project: 'webapi', submodules: 'none', ...more } as const
    const checkout = await checkOutCommit(wanted, worker, signal)
    t.teardown(checkout.remove)
    return checkout.folder
  }
  const head = (address = url) =>
    headOf({ url: address, branch: 'main', project: 'webapi' }, worker, signal)
  return { root, main, commit, server, url, out, head }
}

/** Sends everybody on, and notes with what they came. */
async function startRedirects(t: Test, to: string): Promise<string> {
  const server = createServer((request, response) => {
    response.writeHead(302, { location: `${to}${request.url}` }).end()
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.teardown(() => new Promise((closed) => server.close(closed)))
  return `http://li:secret-token@127.0.0.1:${(server.address() as AddressInfo).port}/main.git`
}

t.test('a server that redirects takes the credential nowhere', { skip }, async (t) => {
  const { commit, server, out, head } = await startWorld(t)
  const address = await startRedirects(t, `http://127.0.0.1:${server.port}`)
  const refused = { code: 'UNAVAILABLE', hint: /redirects to another address/ }
  for (const submodules of ['none', 'same-host', 'anywhere'] as const) {
    await t.rejects(out(commit, { url: address, submodules }), refused, submodules)
  }
  await t.rejects(head(address), refused)
  t.strictSame(server.authorizations, [])
})

t.test("a user's settings of git send nobody elsewhere", { skip }, async (t) => {
  const { root, commit, server, out, head } = await startWorld(t)
  const other = await makeRepository(join(root, 'other/main.git'))
  await other.commit({ 'a.txt': 'of another' })
  const rule = `[url "file://${root}/other/"]\n  insteadOf = http://127.0.0.1:${server.port}/\n`
  await writeFile(join(root, '.gitconfig'), `${rule}[core]\n  askPass = /bin/false\n`)
  t.equal(await readFile(join(await out(commit), 'a.txt'), 'utf8'), 'of main')
  t.equal(await head(), commit)
})

t.test('git is started with little, and that is fixed', { skip }, async (t) => {
  const bin = await temporaryFolder(t)
  await writeFile(join(bin, 'git'), `#!/bin/sh\n/usr/bin/env > ${bin}/env\nexit 1\n`)
  await chmod(join(bin, 'git'), 0o755)
  const { commit, out, head } = await startWorld(t, {
    ...{ PATH: `${bin}:/usr/bin:/bin`, HTTPS_PROXY: 'http://proxy.test', LANG: 'C' },
    ...{ DOCKER_CONFIG: '/etc/docker', MAVEN_OPTS: '-x', CROSSCLOUD_OWN_PASSWORD: 'swordfish' },
  })
  for (const start of [() => out(commit), () => head()]) {
    await t.rejects(start())
    const names = (await readFile(join(bin, 'env'), 'utf8'))
      .split('\n')
      .map((line) => line.split('=')[0] ?? '')
      .filter((name) => !/^(?:GIT_CONFIG_(?:KEY|VALUE)_\d+|_|PWD|SHLVL|OLDPWD|)$/.test(name))
    t.strictSame(names.sort(), [
      ...['GIT_ALLOW_PROTOCOL', 'GIT_ATTR_NOSYSTEM', 'GIT_CONFIG_COUNT', 'GIT_CONFIG_GLOBAL'],
      ...['GIT_CONFIG_NOSYSTEM', 'GIT_LFS_SKIP_SMUDGE', 'GIT_SSH_COMMAND', 'GIT_TERMINAL_PROMPT'],
      ...['HOME', 'HTTPS_PROXY', 'LANG', 'PATH'],
    ])
  }
})

t.test(
  'submodules are fetched where that is wanted, beside their repository',
  { skip },
  async (t) => {
    const { root, main, server, out } = await startWorld(t)
    const elsewhere = await startGitServer(t, root)
    const [lib, deep] = [
      await makeRepository(join(root, 'lib.git')),
      await makeRepository(join(root, 'deep.git')),
    ]
    await deep.commit({ 'b.txt': 'deep' })
    await lib.git('submodule', '--quiet', 'add', '../deep.git', 'deep')
    await lib.commit({ 'b.txt': 'lib' })
    await main.git('submodule', '--quiet', 'add', '../lib.git', 'lib')
    const commit = await main.commit({})
    const read = (folder: string, path: string) => readFile(join(folder, path), 'utf8')

    const without = await out(commit)
    await t.rejects(read(without, 'lib/b.txt'), { code: 'ENOENT' })
    t.ok(server.paths.every((path) => path.startsWith('/main.git/')))
    const folder = await out(commit, { submodules: 'same-host' })
    t.equal(await read(folder, 'lib/b.txt'), 'lib')
    t.equal(await read(folder, 'lib/deep/b.txt'), 'deep')
    t.ok(server.authorizations.every((header) => header === basic))

    const { port } = elsewhere
    const addresses = [
      `http://127.0.0.1:${port}/lib.git`,
      `https://127.0.0.1:${server.port}/lib.git`,
      `file://${root}/lib.git`,
      join(root, 'lib.git'),
      'ext::sh -c touch% /tmp/crosscloud-was-here',
      'git@127.0.0.1:lib.git',
    ]
    const refused = { code: 'FORBIDDEN', message: /^a submodule of webapi is (?:elsewhere|at 127)/ }
    for (const address of addresses) {
      await main.git('config', '--file', '.gitmodules', 'submodule.lib.url', address)
      const moved = await main.commit({})
      await t.rejects(out(moved, { submodules: 'same-host' }), refused, address)
      t.ok(await out(moved), 'not even asked for')
    }
    await main.git('config', '--file', '.gitmodules', 'submodule.lib.url', '../lib.git')
    await lib.git('config', '--file', '.gitmodules', 'submodule.deep.url', addresses[0] ?? '')
    const inner = await lib.commit({})
    await main.git('update-index', '--cacheinfo', `160000,${inner},lib`)
    await main.git('commit', '--quiet', '--message', 'inner', '--', '.gitmodules')
    await main.git('commit', '--quiet', '--allow-empty', '--message', 'x')
    const nested = await main.git('rev-parse', 'HEAD')
    await t.rejects(out(nested, { submodules: 'same-host' }), refused, 'a submodule of a submodule')
    t.strictSame(elsewhere.authorizations, [], 'nothing went there')
    const url = `file://${root}/main.git`
    t.equal(await read(await out(commit, { url, submodules: 'same-host' }), 'lib/b.txt'), 'lib')
  },
)

t.test('a commit does not say where Git LFS keeps files', { skip }, async (t) => {
  const { root, main, out } = await startWorld(t)
  await mkdir(join(root, 'x'))
  const refused = {
    code: 'FORBIDDEN',
    message: '.lfsconfig of webapi says where Git LFS keeps files',
  }
  for (const text of [
    '[lfs]\n  url = file:///srv/git/secret.git\n',
    '[lfs] URL=https://evil.test\n',
    '[remote "origin"]\n lfsurl = "http://169.254.169.254/"\n',
  ]) {
    const commit = await main.commit({ '.lfsconfig': text })
    await t.rejects(out(commit), refused, text)
  }
  t.ok(await out(await main.commit({ '.lfsconfig': '[lfs]\n  fetchexclude = "*.zip"\n' })))
})
