import { spawn } from 'node:child_process'

/** How GitLab Runner makes one shell script of a job's lines. */
export interface Shell {
  name: string
  program: string
  /** The whole text that the shell reads on stdin. */
  wrap(lines: readonly string[]): string
}

const body = (lines: readonly string[]) =>
  lines.map((line) => `echo ${posixQuoted(`$ ${line.split('\n')[0]}`)}\n${line}\n`).join('')

const START =
  'if set -o | grep pipefail > /dev/null; then set -o pipefail; fi; set -o errexit\nset +o noclobber\n'

/** `$'…'`, which dash does not know. */
const ansiQuoted = (text: string) =>
  `$'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n')}'`
const posixQuoted = (text: string) => `'${text.replaceAll("'", `'"'"'`)}'`

/**
 * From shells/bash.go of GitLab Runner 17: `: | eval …` keeps a command from eating the script on
 * stdin, and makes bash end with 1 whatever a command returned under errexit. Runners from 18.11 on,
 * and FF_USE_NEW_BASH_EVAL_STRATEGY, put a subshell around it.
 */
export const shells: readonly Shell[] = [
  {
    name: 'bash',
    program: 'bash',
    wrap: (lines) => `${START}: | eval ${ansiQuoted(body(lines))}\nexit 0\n`,
  },
  {
    name: 'bash, the newer way',
    program: 'bash',
    wrap: (lines) => `${START}: | (eval ${ansiQuoted(body(lines))})\nexit 0\n`,
  },
  {
    name: 'sh',
    program: 'dash',
    wrap: (lines) => `${START}: | eval ${posixQuoted(body(lines))}\nexit 0\n`,
  },
]

export interface ScriptOptions {
  cwd: string
  /** All variables; none of this process's own. */
  env: Record<string, string>
  uid?: number
}

/** Runs lines as a runner does; both streams in one, and the code that the runner would see. */
export async function runScript(
  shell: Shell,
  lines: readonly string[],
  { cwd, env, uid }: ScriptOptions,
): Promise<{ code: number; output: string }> {
  const user = uid === undefined ? {} : { uid, gid: uid }
  const child = spawn(shell.program, [], { cwd, env, ...user })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  child.stdin.end(shell.wrap(lines))
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status) => resolve(status ?? 255))
  })
  return { code, output }
}
