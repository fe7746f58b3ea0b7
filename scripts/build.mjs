// The command line as one file and what it loads on demand beside it: reading hundreds of small
// modules takes longer than most commands do. The library stays as tsc wrote it.
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'

const root = join(import.meta.dirname, '..')
// What the image's way to the registry loads. All else is loaded when used, from its own package.
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
const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
/** zod brings its messages in fifty languages; ours are English. */
const englishOnly = {
  name: 'english-only',
  setup({ onLoad }) {
    onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js'",
      resolveDir: join(root, 'node_modules', 'zod', 'v4', 'locales'),
    }))
  },
}

const outdir = join(root, 'dist', 'cli')
await rm(outdir, { recursive: true, force: true })
await build({
  entryPoints: [join(root, 'src', 'cli', 'main.ts')],
  outdir,
  bundle: true,
  splitting: true,
  // Beside main.js, so that paths from import.meta.url stay as deep as in src.
  chunkNames: '[name]-[hash]',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  minify: true,
  plugins: [englishOnly],
  // Its other build is CommonJS, and the names in it would be lost on the way through import().
  alias: { yaml: join(root, 'node_modules', 'yaml', 'browser', 'dist', 'index.js') },
  external: Object.keys(dependencies).filter((name) => !bundled.includes(name)),
  // Commander is CommonJS and asks for Node's modules by require.
  banner: {
    js: "import { createRequire as createRequire_ } from 'node:module';const require=createRequire_(import.meta.url);",
  },
  logLevel: 'error',
})
