// What the actions run: one bundle for all of them, and a line for each that names its step. A
// runner takes an action from git and installs nothing, so all that a step needs is in there, save
// SQLite: it is a native module, and a step that asks for it says what to do.
import { cp, readFile, writeFile } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'

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

/** etcd3 reads its protocol from files; they are put beside the bundle. */
const protocolBesideBundle = {
  name: 'protocol-beside-bundle',
  setup({ onLoad }) {
    onLoad({ filter: /etcd3\/lib\/connection-pool\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8')
      const contents = text.replace('/../proto/', '/proto/')
      if (contents === text) throw new Error(`${path} reads its protocol in another way`)
      return { contents, loader: 'js' }
    })
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

/** Bundles one program with all that it needs, and etcd's protocol beside it. */
async function bundle(root, { native = [], ...options }) {
  const { metafile } = await build({
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    minify: true,
    keepNames: true,
    logLevel: 'error',
    metafile: true,
    ...options,
    plugins: [absentOutside(native), englishOnly(root), protocolBesideBundle],
  })
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports)
  const outside = imports.filter(({ path }) => !isBuiltin(path) && !native.includes(path))
  if (outside.length > 0) {
    throw new Error(`the bundle would load ${outside.map(({ path }) => path).join(', ')}`)
  }
  const protocol = join(dirname(options.outfile), 'proto')
  await cp(join(root, 'node_modules', 'etcd3', 'proto'), protocol, { recursive: true })
}

/** The whole command line as one file. */
export async function bundleProgram(root, outfile) {
  await bundle(root, {
    entryPoints: [join(root, 'src', 'cli', 'main.ts')],
    outfile,
    native: ['libsql'],
    define: { 'import.meta.url': 'programUrl' },
    banner: {
      js: `#!/usr/bin/env node
const programUrl = require('node:url').pathToFileURL(__filename).href`,
    },
  })
}

/** Writes what runs these steps into `dist`. */
export async function bundleActions(root, stepNames) {
  const dist = join(root, 'dist')
  await bundle(root, {
    entryPoints: [join(root, 'src', 'actions', 'main.ts')],
    outfile: join(dist, 'crosscloud.cjs'),
  })
  for (const name of stepNames) {
    await writeFile(join(dist, `${name}.cjs`), `require('./crosscloud.cjs').runAction('${name}')\n`)
  }
}
