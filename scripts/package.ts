import { createHash } from 'node:crypto'
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { describeCommands } from '../src/cli/launch/description.ts'
import { run } from '../src/core/process/process.ts'
import { padding, tarEnd, tarHeader } from '../src/image/tar.ts'
import { bundleProgram } from './bundle.mjs'

// npm run package: the command line in one tarball, with exactly the dependencies of
// package-lock.json inside. A job needs Node and this file; no registry is asked for anything.
// `npm install --global FILE` takes it, too. Programs that import crosscloud use `npm pack`.

/** Linux on these finds its native SQLite in the tarball; npm itself brings one platform's. */
const PLATFORMS = ['x64', 'arm64'] as const
/** The native module, and what finds the right one; the rest is in the bundle. */
const NATIVE = ['libsql', '@neon-rs/load', 'detect-libc']
/** Types and source maps; no program reads them. */
const UNUSED = /\.(?:[cm]?ts|map)$/

const { values } = parseArgs({ options: { out: { type: 'string', default: '.' } } })
const root = join(import.meta.dirname, '..')
const work = await mkdtemp(join(tmpdir(), 'crosscloud-package-'))
try {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  const folder = join(work, 'package')
  await mkdir(folder)
  await addProgram(folder, manifest)
  await addNativeModules(join(folder, 'node_modules'))
  const archive = await pack(folder)
  const target = resolve(values.out, `${manifest.name}-${manifest.version}-standalone.tgz`)
  await writeFile(`${target}.new`, archive)
  await rename(`${target}.new`, target)
  const sha512 = createHash('sha512').update(archive).digest('hex')
  console.log(`package: ${target}\nsha512: ${sha512}`)
} finally {
  await rm(work, { recursive: true, force: true })
}

async function addProgram(folder: string, manifest: Record<string, unknown>): Promise<void> {
  await bundleProgram(root, join(folder, 'dist', 'cli'), await describeCommands())
  for (const path of ['examples', 'LICENSE', 'README.md', 'README.zh-CN.md']) {
    const filter = (file: string) => !/\/(?:target|\.crosscloud)$/.test(file)
    await cp(join(root, path), join(folder, path), { recursive: true, filter })
  }
  const { name, version, description, license, engines } = manifest
  const bin = { crosscloud: 'dist/cli/main.cjs' }
  // npm installs what is bundled as it is, and asks no registry for it.
  const bundled = { dependencies: { libsql: '*' }, bundleDependencies: ['libsql'] }
  const text = JSON.stringify(
    { name, version, description, license, engines, bin, ...bundled },
    null,
    2,
  )
  await writeFile(join(folder, 'package.json'), `${text}\n`)
}

/** As package-lock.json names them, once for each platform. */
async function addNativeModules(target: string): Promise<void> {
  for (const cpu of PLATFORMS) {
    const folder = join(work, cpu)
    await mkdir(folder)
    for (const file of ['package.json', 'package-lock.json']) {
      await cp(join(root, file), join(folder, file))
    }
    const args = ['ci', '--omit=dev', '--ignore-scripts', '--os=linux', `--cpu=${cpu}`]
    await run('npm', args, { cwd: folder })
    const modules = join(folder, 'node_modules')
    const platforms = (await readdir(join(modules, '@libsql'))).map((name) => `@libsql/${name}`)
    for (const name of [...NATIVE, ...platforms]) {
      await mkdir(dirname(join(target, name)), { recursive: true })
      await cp(join(modules, name), join(target, name), { recursive: true })
    }
  }
}

/** The same files give the same bytes: sorted, owned by root, with one time. */
async function pack(folder: string): Promise<Buffer> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const paths = entries
    .filter((entry) => entry.isFile() && !UNUSED.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
  const blocks: Buffer[] = []
  for (const path of paths.sort()) {
    const content = await readFile(path)
    const mode = path.endsWith('main.cjs') ? 0o755 : 0o644
    const name = path.slice(dirname(folder).length + 1)
    // start.sh reads plain headers only.
    if (Buffer.byteLength(name) > 100) throw new Error(`${name} is too long for a plain tar header`)
    blocks.push(tarHeader({ path: name, type: 'file', mode, size: content.length }))
    blocks.push(content, padding(content.length))
  }
  return gzipSync(Buffer.concat([...blocks, tarEnd()]), { level: 9 })
}
