import { runProgram } from '../../src/cli/program.ts'

export interface ProgramResult {
  code: number
  stdout: string
  stderr: string
  /** Both, as they came. */
  all: string
}

export interface ProgramOptions {
  cwd: string
  variables?: Record<string, string | undefined>
  /** What the person at the terminal types; without it nobody is there. */
  confirm?: (question: string) => boolean
  input?: string
  signal?: AbortSignal
  /** Sees what is printed as it comes. */
  onText?: (text: string) => void
}

/** Runs the command line in this process, in a folder, with only these variables. */
export async function runHere(
  args: readonly string[],
  options: ProgramOptions,
): Promise<ProgramResult> {
  const printed = { stdout: '', stderr: '', all: '' }
  const into = (name: 'stdout' | 'stderr') => (text: string) => {
    printed[name] += text
    printed.all += text
    options.onText?.(text)
  }
  const { confirm } = options
  const code = await runProgram({
    argv: args,
    cwd: options.cwd,
    variables: {
      HOME: options.cwd,
      CROSSCLOUD_SERVER: 'true',
      GITLAB_USER_LOGIN: 'li',
      ...options.variables,
    },
    signal: options.signal ?? new AbortController().signal,
    terminal: false,
    person: {
      confirm: confirm && (async (question) => confirm(question)),
      readInput: async () => options.input ?? '',
    },
    streams: { stdout: into('stdout'), stderr: into('stderr') },
  })
  return { code, ...printed }
}
