import { type ChildProcess, spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

// Runs test files, each in a Node process of its own. tap's own runner makes Node load tap's coverage
// into every process that a test starts, which doubles the start of each command line.

export interface RunOptions {
  /** How many files run at the same time. */
  jobs: number
  /** Seconds until a file is ended. */
  timeout: number
}

export interface Totals {
  total: number
  pass: number
  fail: number
  skip: number
}

export interface RunResult {
  /** The files that failed. */
  failed: string[]
  /** Of the assertions in all files. */
  totals: Totals
}

interface FileResult {
  passed: boolean
  seconds: number
  /** What the file printed, TAP and all. */
  output: string
}

/**
 * Runs the files in this order and prints a line for each, what was skipped, and all output of those
 * that failed.
 */
export async function runFiles(
  files: readonly string[],
  options: RunOptions,
  print: (line: string) => void = console.log,
): Promise<RunResult> {
  if (files.length === 0) throw new Error('no test file was found')
  if (!(options.jobs >= 1)) throw new Error('jobs must be a number of at least 1')
  const waiting = [...files]
  const failed: string[] = []
  const totals: Totals = { total: 0, pass: 0, fail: 0, skip: 0 }
  let number = 0
  const work = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const { passed, seconds, output } = await runFile(file, options.timeout)
      addTotals(totals, output)
      if (!passed) {
        failed.push(file)
        print(`# ${file}\n${output.trimEnd()}`)
      }
      number += 1
      print(`${passed ? 'ok' : 'not ok'} ${number} - ${file} # time=${seconds.toFixed(1)}s`)
      if (passed) for (const line of skippedLines(output)) print(`    ${line}`)
    }
  }
  await Promise.all(Array.from({ length: options.jobs }, work))
  return { failed, totals }
}

const skippedLines = (output: string) =>
  [...output.matchAll(/^ *(ok .* # SKIP.*)$/gm)].map(([, line = '']) => line)

/** tap closes with `# { total: 10, pass: 9, fail: 1 }`. */
function addTotals(totals: Totals, output: string): void {
  const closing = /^# \{ (total: .*) \}$/m.exec(output)?.[1] ?? ''
  for (const name of Object.keys(totals) as (keyof Totals)[]) {
    totals[name] += Number(new RegExp(`\\b${name}: (\\d+)`).exec(closing)?.[1] ?? 0)
  }
}

async function runFile(file: string, timeout: number): Promise<FileResult> {
  const started = Date.now()
  // tap first: what is loaded after the hooks of typescript.mjs passes through their thread.
  const hooks = ['--import=tap', '--import=./scripts/typescript.mjs']
  const args = [...hooks, '--enable-source-maps', file]
  const child = spawn(process.execPath, args, {
    env: { ...process.env, TAP: '1', TAP_TIMEOUT: `${timeout}`, FORCE_COLOR: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const stopTimer = endInTime(child, timeout)
  const code = new Promise<number | null>((resolve) => child.once('close', resolve))
  const printed = await Promise.all([text(child.stdout), text(child.stderr)])
  const passed = (await code) === 0 && hasPassed(printed[0])
  stopTimer()
  return { passed, seconds: (Date.now() - started) / 1000, output: printed.join('') }
}

/** A file that printed no plan never came to its end, whatever its status is. */
const hasPassed = (output: string) => /^1\.\.\d/m.test(output) && !/^not ok /m.test(output)

/** tap ends itself by its own timer, unless it is busy; SIGALRM makes it print what it waits for. */
function endInTime(child: ChildProcess, timeout: number): () => void {
  const timers = [
    setTimeout(() => child.kill('SIGALRM'), (timeout + 20) * 1000),
    setTimeout(() => child.kill('SIGKILL'), (timeout + 40) * 1000),
  ]
  return () => timers.forEach(clearTimeout)
}
