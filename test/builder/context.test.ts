import { chmod, mkdir, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { extract } from 'tar-stream'
import { createSecrets } from '../../src/core/secrets.ts'
import { packBuildContext, readBuildContext } from '../../src/delivery/image/docker-context.ts'
import { temporaryFolder } from '../support/temporary.ts'

const signal = new AbortController().signal
const secrets = createSecrets()
secrets.add('Sup3r:S&cret-Pw')
const DOCKERFILE = 'FROM scratch\nARG WAR\nCOPY ${WAR} /app.war\n'

async function project(t: Test, files: Record<string, string>): Promise<string> {
  const folder = await temporaryFolder(t)
  const all = { Dockerfile: DOCKERFILE, 'target/webapi.war': 'the WAR', ...files }
  for (const [path, text] of Object.entries(all)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  return folder
}

interface Given {
  context?: string
  dockerfile?: string
  buildArgs?: string[]
}

async function read(folder: string, given: Given = {}) {
  const inputs = { context: '.', buildArgs: [], ...given }
  const war = join(folder, 'target/webapi.war')
  return readBuildContext(inputs, war, { cwd: folder, signal, secrets })
}

/** What the engine gets: names, with what links lead to, and the bytes. */
async function sent(folder: string, given: Given = {}) {
  const context = await read(folder, given)
  const bytes = await buffer(await packBuildContext(context, signal))
  const unpack = extract()
  const entries = new Map<string, string>()
  const reading = (async () => {
    for await (const entry of unpack) {
      const { name, type, linkname, mode, uid, gid } = entry.header
      const content = (await buffer(entry)).toString()
      t.equal(`${uid}:${gid}`, '0:0')
      entries.set(name, type === 'symlink' ? `-> ${linkname}` : `${mode?.toString(8)} ${content}`)
    }
  })()
  unpack.end(bytes)
  await reading
  return { bytes, entries, names: [...entries.keys()], context }
}

t.test('the same files give the same bytes, whatever the day and the umask', async (t) => {
  const files = { 'a.txt': 'a', 'bin/run': '#!/bin/sh', empty: '' }
  const folders = [await project(t, files), await project(t, files)] as const
  for (const folder of folders) await chmod(join(folder, 'bin/run'), 0o755)
  await chmod(join(folders[1], 'a.txt'), 0o666)
  await chmod(join(folders[1], 'bin'), 0o700)
  await utimes(join(folders[1], 'a.txt'), 1, 1)
  const [one, two] = [await sent(folders[0]), await sent(folders[1])]
  t.ok(one.bytes.equals(two.bytes))
  t.equal(one.entries.get('a.txt'), '644 a')
  t.equal(one.entries.get('bin/run'), '755 #!/bin/sh')
  t.equal(one.entries.get('empty'), '644 ')
})

t.test('links are sent as links, also those that lead out of the context', async (t) => {
  const folder = await project(t, { 'a.txt': 'a' })
  await symlink('/etc/passwd', join(folder, 'passwd'))
  await symlink('/etc', join(folder, 'etc'))
  const { entries, names } = await sent(folder)
  t.equal(entries.get('passwd'), '-> /etc/passwd')
  t.equal(entries.get('etc'), '-> /etc')
  t.notOk(names.some((name) => name.startsWith('etc/')))
})

t.test('a .dockerignore that is a link is refused', async (t) => {
  for (const name of ['.dockerignore', 'Dockerfile.dockerignore']) {
    const folder = await project(t, {})
    await symlink('/etc/hostname', join(folder, name))
    const message = `${join(folder, name)} is a symbolic link`
    await t.rejects(read(folder), { code: 'INPUT_INVALID', message })
  }
  const folder = await project(t, { '.dockerignore/a': '' })
  await t.rejects(read(folder), { code: 'INPUT_INVALID', message: /is no plain file/ })
})

t.test('the WAR is sent once, and its argument says where it is', async (t) => {
  const folder = await project(t, {})
  const plain = await sent(folder)
  t.equal(plain.context.args.WAR, 'target/webapi.war')
  t.equal([...plain.entries.values()].filter((text) => text.endsWith('the WAR')).length, 1)

  await writeFile(join(folder, '.dockerignore'), 'target\n')
  const ignored = await sent(folder)
  t.equal(ignored.context.args.WAR, '.crosscloud/app.war')
  t.equal(ignored.entries.get('.crosscloud/app.war'), '644 the WAR')
  t.notOk(ignored.names.includes('target/webapi.war'))

  await mkdir(join(folder, 'docker'))
  await writeFile(join(folder, 'docker/Dockerfile'), DOCKERFILE)
  const below = await sent(folder, { context: 'docker' })
  t.strictSame(below.names.sort(), ['.crosscloud/app.war', 'Dockerfile'])
})

t.test("crosscloud's own folder stays here; the Dockerfile always goes along", async (t) => {
  const folder = await project(t, {
    '.crosscloud/ledger.db': 'who approved what',
    '.crosscloud/image/blobs/sha256/1': 'an earlier image',
    '.dockerignore': '*\n',
  })
  const { names, entries } = await sent(folder)
  t.strictSame(names.sort(), ['.crosscloud/app.war', '.dockerignore', 'Dockerfile'])
  t.equal(entries.get('Dockerfile'), `644 ${DOCKERFILE}`)
})

t.test('a Dockerfile of another name, elsewhere, with an ignore file of its own', async (t) => {
  const folder = await project(t, {
    'app/a.txt': 'a',
    'app/b.txt': 'b',
    'app/.dockerignore': 'a.txt\n',
    'build/web.Dockerfile': 'FROM scratch\n',
    'build/web.Dockerfile.dockerignore': 'b.txt\n',
  })
  const given = { context: 'app', dockerfile: 'build/web.Dockerfile' }
  const { names, context } = await sent(folder, given)
  t.equal(context.dockerfile, '.crosscloud/Dockerfile')
  t.ok(names.includes('a.txt'))
  t.notOk(names.includes('b.txt'))
})

t.test('what cannot be built is said before anything is sent', async (t) => {
  const folder = await project(t, {})
  const outside = await temporaryFolder(t)
  await symlink(outside, join(folder, 'elsewhere'))
  const faults: [Given, string, RegExp][] = [
    [{ context: 'nowhere' }, 'NOT_FOUND', /Dockerfile .*nowhere\/Dockerfile does not exist/],
    [{ dockerfile: 'Other' }, 'NOT_FOUND', /Dockerfile .*Other does not exist/],
    [{ context: 'elsewhere' }, 'INPUT_INVALID', /symbolic link on its way leads elsewhere/],
    [{ buildArgs: ['NEXUS_PASSWORD=x'] }, 'INPUT_INVALID', /NEXUS_PASSWORD looks like a secret/],
    [{ buildArgs: ['NEXUS=https://li:secret@nexus'] }, 'INPUT_INVALID', /NEXUS holds a password/],
    [
      { buildArgs: ['BUILD_INFO=of Sup3r:S&cret-Pw'] },
      'INPUT_INVALID',
      /^build argument BUILD_INFO holds a password$/,
    ],
    [{ buildArgs: ['WAR=x'] }, 'INPUT_INVALID', /WAR: crosscloud sets it itself/],
    [{ buildArgs: ['9=x'] }, 'INPUT_INVALID', /not written NAME=value$/],
  ]
  for (const [given, code, message] of faults) {
    await t.rejects(read(folder, given), { code, message }, String(message))
  }
  await writeFile(join(folder, '.dockerignore'), 'a[\n')
  await t.rejects(read(folder), { code: 'INPUT_INVALID', message: /\.dockerignore has a pattern/ })
})

t.test('build arguments keep every character of their value', async (t) => {
  const { args } = await read(await project(t, {}), { buildArgs: ['A=b=c\nd', 'E='] })
  t.strictSame({ ...args, WAR: '' }, { A: 'b=c\nd', E: '', WAR: '' })
})

t.test('a build that ends early, or a file that goes away, ends the sending', async (t) => {
  const folder = await project(t, { large: 'x'.repeat(5_000_000) })
  const early = await packBuildContext(await read(folder), signal)
  for await (const chunk of early) {
    t.ok(chunk)
    break
  }
  t.equal(early.destroyed, true)
  const listed = await read(folder)
  await rm(join(folder, 'large'))
  await t.rejects(buffer(await packBuildContext(listed, signal)), { code: 'ENOENT' })
  const stop = new AbortController()
  const stopped = await packBuildContext(await read(folder), stop.signal)
  stop.abort()
  await t.rejects(buffer(stopped), { code: 'CANCELLED' })
})
