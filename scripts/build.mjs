// The command line in few files, with the code that V8 makes of them. The library stays as tsc wrote
// it.
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Script } from 'node:vm'
import { build } from 'esbuild'
import { bundleActions, dockerOverHttp, englishOnly } from './bundle.mjs'
import { bundleCommandLine } from './command-line.mjs'

const root = join(import.meta.dirname, '..')
const outdir = join(root, 'dist', 'cli')
// What the usual commands load. All else is loaded when used, from its own package.
const bundled = [
  '@balena/dockerignore',
  'commander',
  'dockerode',
  'fflate',
  'handlebars',
  'ioredis',
  'kysely',
  'p-limit',
  'smol-toml',
  'tar-stream',
  'yaml',
  'yauzl',
  'zod',
]
const { stepNames } = await import(join(root, 'dist', 'steps', 'index.js'))
const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))

await rm(outdir, { recursive: true, force: true })
await bundleCommandLine(root, {
  outdir,
  commands: await describeCommands(),
  minify: !process.env.PROFILE,
  external: Object.keys(dependencies).filter((name) => !bundled.includes(name)),
  logLevel: 'error',
  plugins: [dockerOverHttp, englishOnly(root)],
})
const usual = [
  'render-config --env test --check',
  'config lint test',
  'status',
  'hosts list --env test',
  'instances list --env test',
]
await Promise.all([bundleActions(root, stepNames), writeCode()])

/** What the sources give; tsc writes nothing anew that it wrote before. */
async function describeCommands() {
  const outfile = join(outdir, 'description.mjs')
  await build({
    entryPoints: [join(root, 'src', 'cli', 'launch', 'description.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'error',
  })
  const description = await import(outfile)
  await rm(outfile)
  return description.describeCommands()
}

/** V8 keeps what it has compiled when asked: a few commands make it compile what most of them use. */
async function writeCode() {
  const help = await readScript('help')
  const program = await readScript('program')
  await inExample(async () => {
    await help.run().printHelp(['deploy', '--help'])
    for (const line of usual) {
      process.argv = [process.argv[0], 'crosscloud', ...line.split(' ')]
      process.exitCode = undefined
      program.run()
      while (process.exitCode === undefined) await sleep(5)
      // The ledger needs a native module, which not every machine has.
      if (process.exitCode !== 0 && !/^(?:status|instances)/.test(line)) throw new Error(`crosscloud ${line} failed`)
    }
  })
  for (const { file, script } of [help, program]) {
    await writeFile(file.replace(/\.cjs$/, '.code'), script.createCachedData())
  }
}

/** A file of the command line, run as load.ts does. */
async function readScript(name) {
  const url = pathToFileURL(join(outdir, 'main.js')).href
  const file = join(outdir, `${name}.cjs`)
  const script = new Script(await readFile(file, 'utf8'), { filename: file })
  const importModule = (specifier) => import(specifier)
  const run = () => {
    const module = { exports: {} }
    const given = [module.exports, createRequire(url), module, file, outdir, url, importModule]
    script.runInThisContext()(...given)
    return module.exports
  }
  return { file, script, run }
}

/** Works in a copy of the example, in a process environment of its own, and prints nothing. */
async function inExample(work) {
  const { argv, env, stdout } = process
  const [write, before] = [stdout.write, process.cwd()]
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-build-'))
  await cp(join(root, 'examples', 'webapi'), join(folder, 'webapi'), { recursive: true })
  process.chdir(join(folder, 'webapi'))
  const engine = await emptyEngine(join(folder, 'engine.sock'))
  process.env = { PATH: env.PATH, HOME: folder }
  stdout.write = (...given) => {
    given.find((argument) => typeof argument === 'function')?.()
    return true
  }
  try {
    await work()
  } finally {
    engine.close()
    stdout.write = write
    process.env = env
    process.chdir(before)
    process.argv = argv
    process.exitCode = 0
    await rm(folder, { recursive: true, force: true })
  }
}

/** A Docker Engine without containers, which the example's hosts are told to be. */
async function emptyEngine(socket) {
  const engine = createServer(({ url }, response) => {
    response.end(url.startsWith('/containers/') ? '[]' : 'OK')
  })
  await once(engine.listen(socket), 'listening')
  const settings = await readFile('crosscloud.yml', 'utf8')
  await writeFile('crosscloud.yml', settings.replaceAll('/var/run/docker.sock', socket))
  return engine
}
