// What the actions run: one bundle for all of them, and a line for each that names its step. A
// runner takes an action from git and installs nothing, so all that a step needs is in there, save
// SQLite: it is a native module, and a step that asks for it says what to do.
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'

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

/** Writes into `dist`, where the steps are compiled already. */
export async function bundleActions(root, plugins) {
  const dist = join(root, 'dist')
  const { stepNames } = await import(join(dist, 'steps', 'index.js'))
  await Promise.all([
    build({
      entryPoints: [join(root, 'src', 'actions', 'main.ts')],
      outfile: join(dist, 'crosscloud.cjs'),
      bundle: true,
      platform: 'node',
      format: 'cjs',
      target: 'node20',
      minify: true,
      keepNames: true,
      external: ['*.node', 'cpu-features', 'libsql'],
      plugins: [...plugins, protocolBesideBundle],
      logLevel: 'error',
    }),
    cp(join(root, 'node_modules', 'etcd3', 'proto'), join(dist, 'proto'), { recursive: true }),
    ...stepNames.map((name) =>
      writeFile(join(dist, `${name}.cjs`), `require('./crosscloud.cjs').runAction('${name}')\n`),
    ),
  ])
}
