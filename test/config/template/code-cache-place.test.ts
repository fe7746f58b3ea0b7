import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runHere } from '../../support/program.ts'
import { temporaryFolder } from '../../support/temporary.ts'

type Variables = Record<string, string>

/** A checkout with a template, its values and, beside it, a runner's home. */
async function checkout(t: Test) {
  const base = await temporaryFolder(t)
  const root = join(base, 'checkout')
  const write = (path: string, text: string) => {
    mkdirSync(join(root, path, '..'), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  write('app/deploy/templates/a.hbs', 'greeting={{getv "/a"}}\n')
  write('app/deploy/conf.d/a.toml', '[template]\nsrc = "a.hbs"\ndest = "/etc/a"\nkeys = ["/a"]\n')
  write('app/config/test.yaml', 'a: hello\n')
  write(
    'app/crosscloud.yml',
    'app: webapi\nenvironments: { test: { image: registry.test/a, config: "file:config/test.yaml" } }\n',
  )
  mkdirSync(join(base, 'home'))
  const cwd = join(root, 'app')
  const render = async (variables: Variables) => {
    const args = ['render-config', '--env', 'test', '--templates', 'deploy', '--out', 'out']
    const { code, all } = await runHere(args, { cwd, variables })
    if (code !== 0) throw new Error(all)
    return readFileSync(join(cwd, 'out', 'etc', 'a'), 'utf8')
  }
  return { base, root, cwd, render }
}

/** Gives every entry of a cache other code, with a checksum that fits. */
function poison(folder: string): number {
  const names = readdirSync(folder)
  for (const name of names) {
    const old = readFileSync(join(folder, name))
    const codeAt = 40 + old.readUInt32LE(32)
    const code = old.toString('utf8', codeAt, codeAt + old.readUInt32LE(36))
    const evil = Buffer.from(code.replaceAll('greeting=', 'EVIL='))
    const entry = Buffer.concat([old.subarray(0, codeAt), evil])
    entry.writeUInt32LE(evil.length, 36)
    createHash('sha256').update(entry.subarray(32)).digest().copy(entry)
    writeFileSync(join(folder, name), entry, { mode: 0o600 })
  }
  return names.length
}

/** What stands in the cache of a variable's folder after somebody had it committed. */
async function plant(t: Test, from: (root: string) => string) {
  const made = await checkout(t)
  const outside = join(made.base, 'cache')
  await made.render({ XDG_CACHE_HOME: outside })
  const code = join(outside, 'crosscloud', 'code')
  t.ok(poison(code) > 0, 'there is something to poison')
  t.match(await made.render({ XDG_CACHE_HOME: outside }), 'EVIL=', 'it would be executed')
  const target = join(from(made.root), 'crosscloud', 'code')
  mkdirSync(target, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(code)) {
    writeFileSync(join(target, name), readFileSync(join(code, name)), { mode: 0o600 })
  }
  return made
}

t.test('code in the cache of a working tree is never executed', async (t) => {
  for (const [what, from, variables] of [
    ['the job in its folder', 'app/.cache', (root) => ({ XDG_CACHE_HOME: `${root}/app/.cache` })],
    ['the home in its folder', 'app/.cache', (root) => ({ HOME: `${root}/app` })],
    ['GitLab', '.cache', (root) => ({ XDG_CACHE_HOME: `${root}/.cache`, CI_PROJECT_DIR: root })],
    ['GitHub', '.cache', (root) => ({ HOME: root, GITHUB_WORKSPACE: root })],
    ['Jenkins', '.cache', (root) => ({ HOME: root, WORKSPACE: root })],
    ['a relative path', 'app/.cache', () => ({ XDG_CACHE_HOME: '.cache' })],
  ] satisfies [string, string, (root: string) => Variables][]) {
    t.test(what, async (t) => {
      const { root, render } = await plant(t, (root) => join(root, from))
      t.equal(await render(variables(root)), 'greeting=hello\n')
    })
  }
  t.test('nor in the outermost repository around it', async (t) => {
    const { root, cwd, render } = await plant(t, (root) => join(root, '.cache'))
    mkdirSync(join(root, '.git'))
    writeFileSync(join(cwd, '.git'), 'gitdir: ../.git/modules/app\n')
    t.equal(await render({ XDG_CACHE_HOME: join(root, '.cache') }), 'greeting=hello\n')
  })
  t.test('nor behind a link that leads there', async (t) => {
    const { base, cwd, render } = await plant(t, (root) => join(root, 'app', '.cache'))
    symlinkSync(join(cwd, '.cache'), join(base, 'home', '.cache'))
    t.equal(await render({ HOME: join(base, 'home') }), 'greeting=hello\n')
  })
})

t.test('a home beside the working tree keeps the cache', async (t) => {
  const { base, root, render } = await checkout(t)
  mkdirSync(join(root, '.git'))
  await render({ HOME: join(base, 'home'), CI_PROJECT_DIR: root, GITHUB_WORKSPACE: '' })
  t.ok(readdirSync(join(base, 'home', '.cache', 'crosscloud', 'code')).length > 0)
})
