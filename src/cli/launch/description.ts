import { addCommands } from '../commands.ts'
import { defineProgram } from '../definition.ts'
import { type CommandDescription, describeCommand } from './command-tree.ts'

/**
 * Every command, described by the code that runs it. The build makes it once, and puts its result in
 * the place of this module: help loads no command.
 */
export async function describeCommands(): Promise<CommandDescription[]> {
  const streams = { stdout() {}, stderr() {} }
  const program = defineProgram(streams)
  // They are described, not run: none of them looks at the process.
  await addCommands(undefined, program, async () => {}, {
    argv: [],
    cwd: '',
    variables: {},
    signal: new AbortController().signal,
    terminal: false,
    person: { readInput: async () => '' },
    streams,
  })
  return program.commands.map(describeCommand)
}
