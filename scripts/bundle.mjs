// What the actions run: one bundle for all of them, and a line for each that names its step. A
// runner takes an action from git and installs nothing, so all that a step needs is in there, save
// SQLite: it is a native module, and a step that asks for it says what to do. And the package, which
// is the command line bundled in the same way.
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { build, transform } from 'esbuild'
import { describedCommands } from './command-line.mjs'

/** The folder of what the actions load, in dist. */
export const ACTION_FILES = 'crosscloud'

/** zod brings its messages in fifty languages; ours are English. */
export const englishOnly = (root) => ({
  name: 'english-only',
  setup({ onLoad }) {
    onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js'",
      resolveDir: join(root, 'node_modules', 'zod', 'v4', 'locales'),
    }))
  },
})

/** As a library's own code is replaced: another release of it may not have that code. */
async function replaced(path, before, after) {
  const text = await readFile(path, 'utf8')
  const contents = text.replace(before, after)
  if (contents === text) throw new Error(`${path} has no ${before}`)
  return { contents, loader: 'js' }
}

/**
 * dockerode loads a client for gRPC, one for SSH and a reader of BuildKit's messages, a quarter of a
 * second of CPU, and describes each request in full to a log that nobody reads. We have our own.
 */
export const dockerOverHttp = {
  name: 'docker-over-http',
  setup({ onLoad }) {
    onLoad({ filter: /dockerode\/lib\/(?:session|buildkit)\.js$|docker-modem\/lib\/ssh\.js$/ }, () => ({
      contents: `module.exports = () => { throw new Error('not part of this program') }`,
    }))
    const described = /debug\('Sending: %s', util\.inspect\([^;]*;/
    onLoad({ filter: /docker-modem\/lib\/modem\.js$/ }, ({ path }) => replaced(path, described, ''))
  },
}

/** etcd3 reads its protocol from files; they are put beside the bundle. */
const protocolBesideBundle = {
  name: 'protocol-beside-bundle',
  setup({ onLoad }) {
    onLoad({ filter: /etcd3\/lib\/connection-pool\.js$/ }, ({ path }) =>
      replaced(path, '/../proto/', '/proto/'),
    )
  },
}

/**
 * What is not in the bundle is absent for good: Node would look for it in every folder above the
 * program, and run what somebody put there. Libraries ask for such modules in case they are there.
 */
const absentOutside = (native) => ({
  name: 'absent-outside',
  setup({ onResolve, onLoad, resolve }) {
    onResolve({ filter: /^[^./]|\.node$/ }, async ({ path, pluginData, ...rest }) => {
      if (pluginData === 'asked' || isBuiltin(path)) return undefined
      if (native.includes(path)) return { path, external: true }
      const absent = { path, namespace: 'absent' }
      if (['cpu-features', 'libsql'].includes(path) || path.endsWith('.node')) return absent
      const found = await resolve(path, { ...rest, pluginData: 'asked' })
      return found.errors.length > 0 ? absent : found
    })
    onLoad({ filter: /.*/, namespace: 'absent' }, ({ path }) => ({
      contents: `throw Object.assign(new Error(${JSON.stringify(`Cannot find package '${path}'`)}), {
        code: 'ERR_MODULE_NOT_FOUND',
      })`,
    }))
  },
})

/** A library that is CommonJS, as import() gives it. */
const TO_MODULE = `function __toModule(library) {
  const module = { default: library }
  for (const name of Object.getOwnPropertyNames(library)) {
    if (name === 'default') continue
    Object.defineProperty(module, name, { enumerable: true, get: () => library[name] })
  }
  return module
}`
const PROGRAM_URL = `const programUrl = require('node:url').pathToFileURL(__filename).href`

/**
 * Bundles programs with all that they need, in files that load each other when something in them is
 * used: to read and compile all of it takes longer than most commands do. Etcd's protocol is put
 * beside them.
 * @param chunks the folder of all other files, from outdir
 */
async function bundle(root, { outdir, chunks, native = [], plugins = [], ...options }) {
  const { metafile, outputFiles } = await build({
    bundle: true,
    splitting: true,
    platform: 'node',
    // esbuild splits no other format.
    format: 'esm',
    target: 'node20',
    minify: true,
    keepNames: true,
    logLevel: 'error',
    metafile: true,
    write: false,
    absWorkingDir: root,
    outdir,
    outExtension: { '.js': '.cjs' },
    chunkNames: join(chunks, '[name]-[hash]'),
    define: { 'import.meta.url': 'programUrl' },
    ...options,
    plugins: [
      ...plugins,
      dockerOverHttp,
      absentOutside(native),
      englishOnly(root),
      protocolBesideBundle,
    ],
  })
  for (const [output, { imports }] of Object.entries(metafile.outputs)) {
    const outside = imports.filter(
      ({ path, external }) => external && !isBuiltin(path) && !native.includes(path),
    )
    if (outside.length === 0) continue
    throw new Error(`${output} would load ${outside.map(({ path }) => path).join(', ')}`)
  }
  const folder = join(outdir, chunks)
  await mkdir(folder, { recursive: true })
  for (const { path, text } of outputFiles) {
    await writeFile(path, await toCommonJs(text, (file) => isCommonJs(join(dirname(path), file))))
  }
  const protocol = join(root, 'node_modules', 'etcd3', 'proto')
  await cp(protocol, join(folder, 'proto'), { recursive: true })

  function isCommonJs(path) {
    const { entryPoint } = metafile.outputs[relative(root, path)]
    return metafile.inputs[entryPoint]?.format === 'cjs'
  }
}

/** A file of the bundle in the format that Node loads at once. */
async function toCommonJs(text, isCommonJs) {
  const options = { format: 'cjs', platform: 'node', target: 'node20', minify: true }
  const { code } = await transform(text, options)
  const loading = code.replace(/\bimport\(("\.[^"]+")\)/g, (_all, path) => {
    const loaded = `require(${path})`
    const module = isCommonJs(JSON.parse(path)) ? `__toModule(${loaded}.default)` : loaded
    return `Promise.resolve().then(()=>${module})`
  })
  const [, hashbang, body] = /^(#!.*\n)?([^]*)$/.exec(loading)
  return [
    hashbang ?? '',
    body.includes('programUrl') ? `${PROGRAM_URL}\n` : '',
    body,
    body.includes('__toModule(') ? `${TO_MODULE}\n` : '',
  ].join('')
}

/** In one folder with all the others, a file is loaded as Node does. */
const loadAsModules = {
  name: 'load-as-modules',
  setup({ onLoad }) {
    onLoad({ filter: /cli\/launch\/load\.ts$/ }, () => ({
      contents: `export const load = (name) =>
        name === 'help' ? import('./help.ts') : import('../main.ts')`,
      resolveDir: join(import.meta.dirname, '..', 'src', 'cli', 'launch'),
    }))
  },
}

/** Writes the whole command line into a folder, with all that it needs save SQLite. */
export async function bundleProgram(root, outdir, commands) {
  await bundle(root, {
    entryPoints: { main: join(root, 'src', 'cli', 'launch', 'start.ts') },
    outdir,
    chunks: '.',
    native: ['libsql'],
    plugins: [describedCommands(commands), loadAsModules],
  })
}

/** Writes what runs these steps into `dist`. */
export async function bundleActions(root, stepNames) {
  const outdir = join(root, 'dist')
  await rm(join(outdir, ACTION_FILES), { recursive: true, force: true })
  await bundle(root, {
    entryPoints: { crosscloud: join(root, 'src', 'actions', 'main.ts') },
    outdir,
    chunks: ACTION_FILES,
  })
  for (const name of stepNames) {
    const text = `require('./crosscloud.cjs').runAction('${name}')\n`
    await writeFile(join(outdir, `${name}.cjs`), text)
  }
}
