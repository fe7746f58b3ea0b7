import { type ChildProcess, spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { showSourcePlaces } from './source-places.ts'
import { FILE_ENDED } from './test-files.ts'

// Runs test files, each batch of them in a Node process of its own. tap's own runner makes Node load
// tap's coverage into every process that a test starts, which doubles the start of each command line.

export interface RunOptions {
  /** How many processes run at the same time. */
  jobs: number
  /** Seconds until a process is ended. */
  timeout: number
  /** Where a file is compiled, if it is; any other is read through hooks, which takes seconds. */
  compiled?: (file: string) => string | undefined
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
  /** Seconds that each file took which passed. */
  times: Record<string, number>
}

interface FileResult {
  file: string
  passed: boolean
  seconds: number
  /** What the file printed, TAP and all. */
  output: string
}

/**
 * Runs the batches in this order and prints a line for each file, what was skipped, and all output of
 * those that failed.
 */
export async function runFiles(
  batches: readonly (readonly string[])[],
  options: RunOptions,
  print: (line: string) => void = console.log,
): Promise<RunResult> {
  if (batches.flat().length === 0) throw new Error('no test file was found')
  if (!(options.jobs >= 1)) throw new Error('jobs must be a number of at least 1')
  const waiting = batches.filter((batch) => batch.length > 0)
  const failed: string[] = []
  const totals: Totals = { total: 0, pass: 0, fail: 0, skip: 0 }
  const times: Record<string, number> = {}
  let number = 0
  const work = async () => {
    for (let batch = waiting.shift(); batch !== undefined; batch = waiting.shift()) {
      const { output, files } = await runBatch(batch, options)
      addTotals(totals, output)
      for (const result of files) {
        number += 1
        if (result.passed) times[result.file] = result.seconds
        else failed.push(result.file)
        printResult(result, number, print)
      }
    }
  }
  await Promise.all(Array.from({ length: options.jobs }, work))
  return { failed, totals, times }
}

function printResult(result: FileResult, number: number, print: (line: string) => void): void {
  const { file, passed, seconds, output } = result
  if (!passed) print(`# ${file}\n${showSourcePlaces(output.trimEnd())}`)
  print(`${passed ? 'ok' : 'not ok'} ${number} - ${file} # time=${seconds.toFixed(1)}s`)
  if (passed) for (const line of skippedLines(output)) print(`    ${line}`)
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

async function runBatch(
  batch: readonly string[],
  { timeout, compiled }: RunOptions,
): Promise<{ output: string; files: FileResult[] }> {
  const started = Date.now()
  const { args, env } = commandOf(batch, compiled)
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env, TAP: '1', TAP_TIMEOUT: `${timeout}`, FORCE_COLOR: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const stopTimer = endInTime(child, timeout)
  const code = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [printed, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
  const clean = (await code) === 0
  stopTimer()
  const output = `${printed}${errors}`
  const [file] = batch
  if (file !== undefined && batch.length === 1) {
    const passed = clean && hasPassed(printed)
    return { output, files: [{ file, passed, seconds: (Date.now() - started) / 1000, output }] }
  }
  return { output, files: divide(batch, { printed, errors, clean }) }
}

const TEST_FILES = fileURLToPath(new URL('test-files.ts', import.meta.url))

/** Several files are run by another that is given their names. */
function commandOf(batch: readonly string[], compiled: RunOptions['compiled'] = () => undefined) {
  const entry = batch.length === 1 ? (batch[0] ?? '') : TEST_FILES
  const paths = [entry, ...batch].map(compiled)
  const isCompiled = paths.every((path) => path !== undefined)
  // tap first: what is loaded after the hooks of typescript.mjs passes through their thread.
  const hooks = ['--enable-source-maps', '--import=tap', '--import=./scripts/typescript.mjs']
  const pathOf = (file: string) => (isCompiled && compiled(file)) || file
  const files = batch.map((file) => [file, pathOf(file)])
  return {
    args: [...(isCompiled ? [] : hooks), pathOf(entry)],
    env: batch.length === 1 ? {} : { TEST_FILES: JSON.stringify(files) },
  }
}

/** What a batch printed, by file. When only the process failed, no file is known to have passed. */
function divide(
  batch: readonly string[],
  { printed, errors, clean }: { printed: string; errors: string; clean: boolean },
): FileResult[] {
  const sound = hasPlan(printed)
  let from = 0
  const files = batch.map((file): FileResult => {
    const start = printed.indexOf(`\n${FILE_ENDED}${file} `, from)
    const end = start === -1 ? printed.length : start
    const own = printed.slice(from, end)
    const seconds = Number(/ ([\d.]+) s$/m.exec(printed.slice(start + 1))?.[1] ?? 0)
    from = start === -1 ? from : printed.indexOf('\n', start + 1)
    const passed = start !== -1 && sound && RAN.test(own) && !FAILED.test(own)
    return { file, passed, seconds, output: passed ? own : `${own}${errors}` }
  })
  if (clean || files.some(({ passed }) => !passed)) return files
  return files.map((result) => ({ ...result, passed: false, output: `${result.output}${errors}` }))
}

const FAILED = /^not ok /m
/** A file without a test has not passed. */
const RAN = /^ok /m

/** A process that printed no plan never came to its end, whatever its status is. */
const hasPlan = (output: string) => /^1\.\.\d/m.test(output)
const hasPassed = (output: string) => hasPlan(output) && !FAILED.test(output)

/** tap ends itself by its own timer, unless it is busy; SIGALRM makes it print what it waits for. */
function endInTime(child: ChildProcess, timeout: number): () => void {
  const timers = [
    setTimeout(() => child.kill('SIGALRM'), (timeout + 20) * 1000),
    setTimeout(() => child.kill('SIGKILL'), (timeout + 40) * 1000),
  ]
  return () => timers.forEach(clearTimeout)
}
