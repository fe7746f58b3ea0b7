import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { CommandDescription } from '../../src/cli/launch/command-tree.ts'
import { describeCommands } from '../../src/cli/launch/description.ts'
import { helpFor } from '../../src/cli/launch/help.ts'
import { run } from '../../src/core/process/process.ts'
import { runHere } from '../support/program.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MAIN = join(ROOT, 'dist/cli/main.js')
const commands = await describeCommands()

/** `deploy`, `config`, `config set` */
const namesOf = ({ name, commands }: CommandDescription): string[][] => [
  [name],
  ...commands.flatMap(namesOf).map((names) => [name, ...names]),
]

/** What the program prints for these words; each is asked once. */
const printed = new Map<string, ReturnType<typeof runHere>>()
const askProgram = (argv: readonly string[]) => {
  const words = argv.join(' ')
  const answer = printed.get(words) ?? runHere(argv, { cwd: ROOT })
  printed.set(words, answer)
  return answer
}

t.test('help that is made of data is the help of the program, word for word', async (t) => {
  const lines = [[], ...commands.flatMap(namesOf)].map((names) => [...names, '--help'])
  for (const argv of [...lines, ['help', 'config'], ['--settings', 'x.yml', 'deploy', '-h']]) {
    const { code, stdout, stderr } = await askProgram(argv)
    t.match({ code, stderr }, { code: 0, stderr: '' }, argv.join(' '))
    t.equal(await helpFor(argv), stdout, argv.join(' '))
  }
})

t.test('each command line loads one file of commands, found by its first word', async (t) => {
  const { stdout } = await askProgram(['--help'])
  for (const { name, description } of commands) {
    t.match(stdout, new RegExp(`^  ${name}\\b`, 'm'), `${name} is listed`)
    const alone = await askProgram([name, '--help'])
    t.match(alone, { code: 0, stdout: `Usage: crosscloud ${name}` }, description)
  }
})

t.test(
  'a command line that is wrong, or whose --help is a value, is left to the program',
  async (t) => {
    const lines = ['statsu', 'lock --reason --help', '--log bad --help', 'release --version']
    for (const line of lines) t.equal(await helpFor(line.split(' ')), undefined, line)
  },
)

t.test('help and version run without the program', async (t) => {
  const folder = t.testdir({ dist: {} })
  await cp(join(ROOT, 'package.json'), join(folder, 'package.json'))
  await mkdir(join(folder, 'dist/cli'), { recursive: true })
  for (const name of ['main.js', 'help.cjs', 'help.code', 'package.json']) {
    await cp(join(ROOT, 'dist/cli', name), join(folder, 'dist/cli', name))
  }
  const here = async (main: string, args: string[]) =>
    (await run(process.execPath, [main, ...args], { cwd: folder })).stdout
  for (const args of [['--version'], ['--help'], ['deploy', '--help'], ['config', 'set', '-h']]) {
    const printed = await here(join(folder, 'dist/cli/main.js'), args)
    t.ok(printed)
    t.equal(printed, await here(MAIN, args), args.join(' '))
  }
})
