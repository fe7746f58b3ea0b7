import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export interface Finished {
  code: number | null
  stdout: string
  stderr: string
}

export interface Running {
  child: ChildProcess
  /** Everything printed so far, both streams as they came. */
  output(): string
  /** Waits until the output has this text; fails when the process ends first. */
  until(text: string): Promise<void>
  finished: Promise<Finished>
}

export interface CliOptions {
  cwd: string
  env?: Record<string, string>
  /** The program's file; default: the one that `npm run build` made. */
  program?: string
}

/** Starts the program as its users do, in a process of its own. */
export function startCli(args: readonly string[], options: CliOptions): Running {
  const env = { ...process.env, GITLAB_CI: '', GITHUB_ACTIONS: '', ...options.env }
  const program = options.program ?? MAIN
  const child = spawn(process.execPath, [program, ...args], { cwd: options.cwd, env })
  const printed = { all: '', stdout: '', stderr: '' }
  const waiting = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      printed[name] += text
      printed.all += text
      for (const look of waiting) look()
    })
  }
  const finished = once(child, 'close').then(([code]) => ({
    code: code as number | null,
    stdout: printed.stdout,
    stderr: printed.stderr,
  }))
  return {
    child,
    output: () => printed.all,
    finished,
    until: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!printed.all.includes(text)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
        finished.then(() => reject(new Error(`ended without "${text}":\n${printed.all}`)), reject)
      }),
  }
}

export async function runCli(args: readonly string[], options: CliOptions): Promise<Finished> {
  return startCli(args, options).finished
}
