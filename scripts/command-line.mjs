// The command line: a file that starts it, one that knows every command's help, and the program.
// Reading hundreds of small modules takes longer than most commands do. What a command does not use
// is in the program, and is not run.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'

/** What load.ts gives to each of the files. */
const HEAD =
  '(function (exports, require, module, __filename, __dirname, programUrl, importModule) {'

/** Help comes from how the commands described themselves when this was built. */
export const describedCommands = (commands) => ({
  name: 'described-commands',
  setup({ onLoad }) {
    onLoad({ filter: /cli\/launch\/description\.ts$/ }, () => ({
      contents: `const commands = ${JSON.stringify(commands)}
        export const describeCommands = async () => commands`,
    }))
  },
})

/**
 * Writes the command line into a folder: main.js, help.cjs and program.cjs.
 * @param commands what describeCommands of src/cli/launch/description.ts gives
 */
export async function bundleCommandLine(root, { outdir, commands, plugins, ...given }) {
  const source = join(root, 'src', 'cli')
  const options = { bundle: true, platform: 'node', format: 'cjs', target: 'node20', ...given }
  await build({
    ...options,
    entryPoints: [join(source, 'launch', 'start.ts')],
    outfile: join(outdir, 'main.js'),
  })
  const entries = { help: join(source, 'launch', 'help.ts'), program: join(source, 'main.ts') }
  for (const [name, entry] of Object.entries(entries)) {
    const outfile = join(outdir, `${name}.cjs`)
    await build({
      ...options,
      entryPoints: [entry],
      outfile,
      plugins: [...plugins, describedCommands(commands)],
      // Paths from import.meta.url stay as deep as in src.
      define: { 'import.meta.url': 'programUrl' },
      banner: { js: HEAD },
      footer: { js: '})' },
    })
    // Code that V8 kept has lost what import() needs to know.
    const text = await readFile(outfile, 'utf8')
    await writeFile(outfile, text.replace(/\bimport\((?=")/g, 'importModule('))
  }
  // The package is of type module; these files are not.
  await writeFile(join(outdir, 'package.json'), '{ "type": "commonjs" }\n')
}
