import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, type OutputFile, type Plugin, transform } from 'esbuild'
import { ROOT } from '../test/support/unit-tests.ts'

// Compiles every source and test, file by file, so that a test needs no hooks: with them Node 20 sends
// each module, those of libraries too, through a thread. The folder mirrors this one.

const COMPILED = join(ROOT, '.cache', 'compiled')
const FOLDERS = ['src', 'test', 'scripts', 'bench']
const COMMON = {
  format: 'esm',
  target: 'node20',
  sourcemap: 'inline',
  sourcesContent: false,
} as const

/** Where a file is once it is compiled. */
const compiledPath = (file: string) =>
  join(COMPILED, relative(ROOT, resolve(ROOT, file)).replace(/\.ts$/, '.mjs'))

/** @returns the path of the compiled file for a file of this repository; undefined for any other */
export async function compileTests(): Promise<(file: string) => string | undefined> {
  const sources = new Set(await findSources())
  const { outputFiles } = await build({
    ...COMMON,
    entryPoints: [...sources],
    outbase: ROOT,
    outdir: COMPILED,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    packages: 'external',
    treeShaking: false,
    write: false,
    logLevel: 'silent',
    plugins: [eachFileAlone(sources)],
  })
  await Promise.all(outputFiles.map(keep))
  return (file) => (sources.has(resolve(ROOT, file)) ? compiledPath(file) : undefined)
}

async function findSources(): Promise<string[]> {
  const found = FOLDERS.map(async (folder) => {
    const names = await readdir(join(ROOT, folder), { recursive: true })
    return names
      .filter((name) => /(?<!\.d)\.ts$/.test(name))
      .map((name) => join(ROOT, folder, name))
  })
  return (await Promise.all(found)).flat()
}

/** Imports stay imports; a file that asks where it is gets the place of its source. */
const eachFileAlone = (sources: ReadonlySet<string>): Plugin => ({
  name: 'each-file-alone',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\./ }, ({ path, resolveDir }) => {
      const file = resolve(resolveDir, path)
      if (sources.has(file)) return { path: path.replace(/\.ts$/, '.mjs'), external: true }
      // Not found: esbuild says where it was asked for.
      return path.endsWith('.ts') ? undefined : { path: pathToFileURL(file).href, external: true }
    })
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8')
      if (!text.includes('import.meta.')) return { contents: text, loader: 'ts' }
      const define = {
        'import.meta.url': JSON.stringify(pathToFileURL(path).href),
        'import.meta.filename': JSON.stringify(path),
        'import.meta.dirname': JSON.stringify(dirname(path)),
      }
      const options = { ...COMMON, loader: 'ts', sourcefile: basename(path), define } as const
      const { code } = await transform(text, options)
      return { contents: code, loader: 'js' }
    })
  },
})

/** Only what changed is written, and at once: other processes may be reading. */
async function keep({ path, contents }: OutputFile): Promise<void> {
  const kept = await readFile(path).catch(() => undefined)
  if (kept?.equals(contents)) return
  const own = `${path}.${process.pid}`
  await mkdir(dirname(path), { recursive: true })
  await writeFile(own, contents)
  await rename(own, path)
}
