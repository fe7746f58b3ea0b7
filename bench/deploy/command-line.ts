import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { StepError } from '../../src/core/errors.ts'
import { run } from '../../src/core/process/process.ts'
import type { Call } from './calls.ts'

const MAIN = join(process.cwd(), 'dist', 'cli', 'main.js')
const RECORD = pathToFileURL(join(import.meta.dirname, 'record.mjs')).href

/** What a run of the command line did. */
export interface Ran {
  /** When it was started, as Date.now(). */
  at: number
  /** milliseconds */
  took: number
  calls: Call[]
  /** Milliseconds of a processor, and the most bytes of memory. */
  usage: { cpu: number; memory: number }
  /** What it printed. */
  output: string
}

export type CommandLine = (...args: string[]) => Promise<Ran>

/** Runs whole processes of the program in a folder; each writes down its requests. */
export function commandLine(cwd: string): CommandLine {
  const file = join(cwd, 'calls.json')
  const env = {
    CROSSCLOUD_CACHE: join(cwd, 'cache'),
    CROSSCLOUD_STATE: join(cwd, 'state'),
    NODE_OPTIONS: `--import=${RECORD}`,
    BENCH_CALLS: file,
  }
  return async (...args) => {
    const at = Date.now()
    const { stdout, stderr } = await run(process.execPath, [MAIN, ...args], { cwd, env })
    const took = Date.now() - at
    const { calls, usage } = JSON.parse(await readFile(file, 'utf8')) as Partial<Ran>
    if (!calls || !usage) throw new StepError('INTERNAL', `${args[0]} wrote no requests down`)
    return {
      at,
      took,
      calls,
      usage,
      output: args.includes('--json') ? stdout : `${stdout}\n${stderr}`,
    }
  }
}
