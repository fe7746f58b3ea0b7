import type { Command } from 'commander'
import type { Perform } from '../command.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { addCheckCommand } from './check.ts'
import { addCompareCommands } from './compare.ts'
import { addExchangeCommands } from './exchange.ts'
import type { ConfigGroup } from './group.ts'
import { addHistoryCommands } from './history.ts'
import { addSealCommands } from './seal.ts'
import { addValueCommands } from './values.ts'

/** `crosscloud config …`: an environment's keys and values. */
export function addConfigCommands(
  program: Command,
  perform: Perform,
  { person: terminal }: Pick<ProcessEnvironment, 'person'>,
): void {
  const config = program.command('config').description("Read and change an environment's values.")
  const group: ConfigGroup = { config, perform, terminal }
  addValueCommands(group)
  addCheckCommand(group)
  addCompareCommands(group)
  addExchangeCommands(group)
  addHistoryCommands(group)
  addSealCommands(group)
}
