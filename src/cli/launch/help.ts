import { CommanderError } from 'commander'
import { asksForVersion, defineProgram, programVersion } from '../definition.ts'
import { addDescribed } from './command-tree.ts'
import { describeCommands } from './description.ts'
import { watchOutput } from './end.ts'

/**
 * What a command line prints that asks for help or the version; undefined for every other one, also
 * where `--help` is the value of an option, or where something is wrong: the program deals with it.
 */
export async function helpFor(argv: readonly string[]): Promise<string | undefined> {
  if (asksForVersion(argv)) return `${await programVersion()}\n`
  let printed = ''
  const stdout = (text: string) => {
    printed += text
  }
  const program = defineProgram({ stdout, stderr() {} })
  addDescribed(program, await describeCommands(), () => {})
  try {
    await program.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return printed
  }
  return undefined
}

/** Prints the help or the version that is asked for; false if the program has to run. */
export async function printHelp(argv: readonly string[]): Promise<boolean> {
  const text = await helpFor(argv)
  if (text === undefined) return false
  const end = watchOutput(process)
  process.stdout.write(text)
  await end(0)
  return true
}
