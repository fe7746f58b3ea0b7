import type { RunOptions } from './process.ts'

/** What a program needs to run, and to find its files, its authorities and its ssh agent. */
const NEEDED =
  /^(?:PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|SSH_AUTH_SOCK|SSL_CERT_\w+|XDG_\w+)$/

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

/**
 * The variables of this process. In a step that a server runs for somebody they are taken out of its
 * environment: git, ssh and all else that it starts would inherit passwords which they do not need.
 */
export function takeVariables(
  environment: Record<string, string | undefined>,
): Readonly<Record<string, string | undefined>> {
  if (environment.CROSSCLOUD_RUN === undefined) return environment
  const taken = { ...environment }
  for (const name of Object.keys(taken)) if (!NEEDED.test(name)) delete environment[name]
  return taken
}
