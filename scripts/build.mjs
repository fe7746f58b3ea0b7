// The command line as one file, with the code that V8 makes of it: reading and compiling hundreds of
// small modules takes longer than most commands do. The library stays as tsc wrote it.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Script } from 'node:vm'
import { build } from 'esbuild'
import { bundleActions, englishOnly } from './bundle.mjs'

const root = join(import.meta.dirname, '..')
const outdir = join(root, 'dist', 'cli')
// What the usual commands load. All else is loaded when used, from its own package.
const bundled = [
  'commander',
  'fflate',
  'handlebars',
  'ioredis',
  'p-limit',
  'smol-toml',
  'yaml',
  'yauzl',
  'zod',
]
const { stepNames } = await import(join(root, 'dist', 'steps', 'index.js'))
const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  minify: !process.env.PROFILE,
  external: Object.keys(dependencies).filter((name) => !bundled.includes(name)),
  logLevel: 'error',
}

await rm(outdir, { recursive: true, force: true })
await build({
  ...common,
  entryPoints: [join(root, 'src', 'cli', 'start.ts')],
  outfile: join(outdir, 'main.js'),
  format: 'esm',
})
const program = join(outdir, 'program.cjs')
await build({
  ...common,
  entryPoints: [join(root, 'src', 'cli', 'main.ts')],
  outfile: program,
  format: 'cjs',
  plugins: [englishOnly(root)],
  // Paths from import.meta.url stay as deep as in src.
  define: { 'import.meta.url': 'programUrl' },
  banner: { js: '(function (require, programUrl, importModule) {' },
  footer: { js: '})' },
})
// Code that V8 kept has lost what import() needs to know.
const text = await readFile(program, 'utf8')
await writeFile(program, text.replace(/\bimport\((?=")/g, 'importModule('))
await Promise.all([bundleActions(root, stepNames), writeCode()])

async function writeCode() {
  await writeFile(join(outdir, 'program.code'), await makeCode())
}

/** V8 keeps what it has compiled when asked: a few commands make it compile what most of them use. */
async function makeCode() {
  const url = pathToFileURL(join(outdir, 'main.js')).href
  const script = new Script(await readFile(program, 'utf8'), { filename: program })
  const importModule = (specifier) => import(specifier)
  const { argv, stdout } = process
  const write = stdout.write
  const before = process.cwd()
  process.chdir(join(root, 'examples', 'webapi'))
  const cache = await mkdtemp(join(tmpdir(), 'crosscloud-build-'))
  process.env.XDG_CACHE_HOME = cache
  stdout.write = (...given) => {
    given.find((one) => typeof one === 'function')?.()
    return true
  }
  try {
    for (const line of ['--help', 'render-config --env test --check', 'config lint test']) {
      process.argv = [argv[0], 'crosscloud', ...line.split(' ')]
      process.exitCode = undefined
      script.runInThisContext()(createRequire(url), url, importModule)
      while (process.exitCode === undefined) await sleep(5)
      if (process.exitCode !== 0) throw new Error(`crosscloud ${line} failed`)
    }
  } finally {
    stdout.write = write
    process.chdir(before)
    process.argv = argv
    process.exitCode = 0
    await rm(cache, { recursive: true, force: true })
  }
  return script.createCachedData()
}
