import type { Command } from 'commander'
import type { Perform } from '../command.ts'
import type { Surroundings } from '../program.ts'
import { addEventCommands } from './events.ts'
import { addServe } from './serve.ts'

/** Commands of the webhook server. */
export function addServerCommands(
  program: Command,
  perform: Perform,
  surroundings: Surroundings,
): void {
  addServe(program, perform, surroundings)
  addEventCommands(program, perform, surroundings)
}
