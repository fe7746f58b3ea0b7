import { isStepError } from '../../core/errors.ts'
import type { CommandDetails } from '../../core/process/process.ts'
import type { Machine } from './machine.ts'

/** Whether an error is a command's that ended by itself, with this exit code. */
export function exitedWith(error: unknown, code: number): boolean {
  return (
    isStepError(error, 'COMMAND_FAILED') &&
    (error.details as CommandDetails | undefined)?.exitCode === code
  )
}

/** test(1): 0 is yes, 1 no. */
export async function exists(machine: Machine, path: string): Promise<boolean> {
  try {
    await machine.run(['test', '-e', path])
    return true
  } catch (error) {
    if (exitedWith(error, 1)) return false
    throw error
  }
}

/** A small text file; undefined when there is none. */
export async function readText(machine: Machine, path: string): Promise<string | undefined> {
  return (await exists(machine, path)) ? machine.run(['cat', path]) : undefined
}

/** Also of a link that leads nowhere. */
export async function isLink(machine: Machine, path: string): Promise<boolean> {
  try {
    await machine.run(['test', '-h', path])
    return true
  } catch (error) {
    if (exitedWith(error, 1)) return false
    throw error
  }
}

/** With -C a shell creates a file or fails: it never writes to where a link leads. */
const WRITE = 'rm -f "$1" && set -C && : > "$1" && dd of="$1" conv=notrunc,fsync'

/**
 * A new file in place of what was there, be it a link. Synced, so that a power cut after a rename
 * leaves no empty file.
 */
export async function writeText(machine: Machine, path: string, text: string): Promise<void> {
  await machine.run(['sh', '-c', WRITE, 'sh', path], { input: text })
}

export async function rename(machine: Machine, from: string, to: string): Promise<void> {
  await machine.run(['mv', '-f', from, to])
}

/** Nothing happens when there is none. */
export async function remove(machine: Machine, path: string): Promise<void> {
  await machine.run(['rm', '-f', path])
}
