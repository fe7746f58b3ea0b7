import { readdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { isStepError, StepError } from '../errors.ts'
import { listSome } from '../lists.ts'
import { type RunOptions, type RunResult, run } from '../process/process.ts'

/** Runs git in one checkout, without a shell. */
export type Git = (...args: string[]) => Promise<RunResult>

/**
 * A folder with HEAD, objects and refs is a repository to git, also one that somebody committed: its
 * settings name programs to run. None of the others here is run for reading, either.
 */
const HARMLESS = [
  ...['safe.bareRepository=explicit', 'core.fsmonitor=false', 'core.hooksPath=/dev/null'],
  'log.showSignature=false',
].flatMap((setting) => ['-c', setting])

/** Reads a working tree; what is missing in it is not fetched. */
export function readWithGit(
  args: readonly string[],
  options: Pick<RunOptions, 'cwd' | 'signal'>,
): Promise<RunResult> {
  const env = { GIT_NO_LAZY_FETCH: '1', GIT_TERMINAL_PROMPT: '0' }
  return run('git', [...HARMLESS, ...args], { ...options, env })
}

/**
 * The environment for git with addresses from outside, those in .gitmodules included: `ext::` would
 * run commands, and a foreign repository must not read repositories on this machine.
 */
export function gitVariables(url: string): Record<string, string> {
  const [, scheme = /^[\w.-]+@[\w.-]+:/.test(url) ? 'ssh' : 'file'] = /^(\w+):\/\//.exec(url) ?? []
  const protocols = new Set(['https', 'http', 'ssh', scheme])
  return {
    GIT_TERMINAL_PROMPT: '0',
    GIT_ALLOW_PROTOCOL: [...protocols].join(':'),
    // Large files are fetched all at once afterwards, see fetchLargeFiles.
    GIT_LFS_SKIP_SMUDGE: '1',
  }
}

/** The whole history, without the content of older files. */
export const COMPLETE_HISTORY = '--filter=blob:none'

/** Fetches the submodules of a checkout, and theirs. */
export async function fetchSubmodules(git: Git): Promise<void> {
  const paths = await submodulePaths(git)
  if (paths.length === 0) return
  try {
    await git('submodule', '--quiet', 'update', '--init', '--recursive')
  } catch (error) {
    if (!isStepError(error, 'COMMAND_FAILED')) throw error
    const what = `fetching the submodules ${listSome(paths)}`
    throw new StepError('COMMAND_FAILED', `${what}: ${error.message}`, {
      hint: 'Check their addresses in .gitmodules, and whether the same credentials may read them.',
      cause: error,
    })
  }
}

/** Paths of submodules, relative to the folder git runs in. */
export async function submodulePaths(git: Git): Promise<string[]> {
  const { stdout } = await git('ls-files', '--stage', '-z')
  // A commit in place of a file's content: git-ls-files, mode 160000.
  return stdout.split('\0').flatMap((line) => /^160000 [^\t]+\t(.+)$/s.exec(line)?.[1] ?? [])
}

/** The submodules whose folders are empty. */
export async function missingSubmodules(folder: string, git: Git): Promise<string[]> {
  const missing: string[] = []
  for (const path of await submodulePaths(git)) {
    const files = await readdir(resolve(folder, path)).catch(() => [])
    if (files.length === 0) missing.push(path)
  }
  return missing
}

/** A file that differs from every commit; the path of a new folder ends with `/`. */
export interface Uncommitted {
  /** From the top of the repository. */
  path: string
  /** Whether git does not track the file. */
  isNew: boolean
}

/** All uncommitted files that git does not ignore. */
export async function uncommittedFiles(git: Git): Promise<Uncommitted[]> {
  const { stdout } = await git(
    ...['--no-optional-locks', 'status', '--porcelain', '-z'],
    // Any committer could write `ignore` into .gitmodules.
    ...['--no-renames', '--untracked-files=normal', '--ignore-submodules=none'],
  )
  const lines = stdout.split('\0').filter((line) => line !== '')
  return lines.map((line) => ({ path: line.slice(3), isNew: line.startsWith('??') }))
}
