import type { RunOptions } from './process.ts'

/** What a program needs to run, and to find its files and its ssh agent. */
const NEEDED = /^(?:PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|SSH_AUTH_SOCK|XDG_\w+)$/

/**
 * The environment for programs that settings name. In a command of crosscloud's server they do not
 * get its variables, which hold passwords; elsewhere they get the user's.
 */
export function programEnvironment(
  variables: Readonly<Record<string, string | undefined>>,
): Pick<RunOptions, 'env' | 'cleanEnv'> {
  if (variables.CROSSCLOUD_WORKER !== 'true') return {}
  const needed = Object.entries(variables).filter(([name]) => NEEDED.test(name))
  return { cleanEnv: true, env: Object.fromEntries(needed) }
}
