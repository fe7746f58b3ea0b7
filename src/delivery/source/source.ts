import { mkdir, rm } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { isStepError, StepError } from '../../core/errors.ts'
import { isBelow } from '../../core/git/checkout.ts'
import { markDirty } from '../../core/git/commit.ts'
import {
  COMPLETE_HISTORY,
  fetchSubmodules,
  type Git,
  gitVariables,
  missingSubmodules,
  readWithGit,
  uncommittedFiles,
} from '../../core/git/git.ts'
import { fetchLargeFiles } from '../../core/git/lfs.ts'
import { listSome } from '../../core/lists.ts'
import { run } from '../../core/process/process.ts'
import type { Context } from '../context.ts'

/** `ext::` and the like would run commands; only these ways of fetching are let through. */
const GIT_URL = /^(?:https?:\/\/|ssh:\/\/|git:\/\/|file:\/\/|[\w.-]+@[\w.-]+:|\/|\.{1,2}\/)[^\s]*$/

/** A token may stand alone in the place of the user; of a password with an @, git prints parts. */
function secretsIn(repository: string): string[] {
  const [, person] = /^https?:\/\/([^/]*)@/i.exec(repository) ?? []
  if (person === undefined) return []
  const secret = person.slice(person.indexOf(':') + 1)
  const parts = secret.split('@')
  return parts.map((_, at) => parts.slice(at).join('@'))
}

/** A repository in a folder of its own: with its history, tags and submodules, and what Git LFS keeps of it. */
export async function checkOut(
  repository: string,
  branch: string | undefined,
  { cwd, secrets, signal, log }: Context,
): Promise<string> {
  for (const secret of secretsIn(repository)) secrets.add(secret)
  if (!GIT_URL.test(repository)) {
    throw new StepError('INPUT_INVALID', `"${repository}" is not a Git URL`, {
      hint: 'Use https://, ssh://, git@host:path or a local path.',
    })
  }
  if (branch !== undefined && !/^[\w][\w./+-]*$/.test(branch)) {
    throw new StepError('INPUT_INVALID', `"${branch}" is not a branch or tag`)
  }
  const folder = join(cwd, '.crosscloud', 'checkout')
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const source = /^\.{1,2}\//.test(repository) ? resolve(cwd, repository) : repository
  const select = branch === undefined ? [] : ['--branch', branch]
  const env = gitVariables(source)
  const clone = ['clone', '--single-branch', COMPLETE_HISTORY, ...select, '--', source, folder]
  try {
    await run('git', clone, { env, signal, log })
    const git: Git = (...args) => run('git', args, { cwd: folder, env, signal })
    await fetchSubmodules(git)
    await fetchLargeFiles(folder, git)
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  return folder
}

/** The commit a folder stands at, or undefined outside Git. */
export async function headCommit(folder: string, { signal }: Context): Promise<string | undefined> {
  try {
    const { stdout } = await readWithGit(['rev-parse', 'HEAD'], { cwd: folder, signal })
    return stdout.trim()
  } catch (error) {
    if (isStepError(error, 'CANCELLED')) throw error
    return undefined
  }
}

interface Source {
  folder: string
  /** Whether files that are in no commit stop the build, or only mark what comes of it. */
  clean: 'marked' | 'required'
  /** What the build writes, from the folder; new files there are not sources. */
  outputs: readonly string[]
}

/**
 * The commit that a build in this folder comes from, marked when files are in no commit. To be called
 * before the build: what the build writes comes of the commit.
 */
export async function commitOf(source: Source, context: Context): Promise<string | undefined> {
  const { folder, clean } = source
  const { log, signal, actor } = context
  const git: Git = (...args) => readWithGit(args, { cwd: folder, signal })
  const known = await headCommit(folder, context)
  let changed: string[]
  try {
    changed = await uncommittedSources(source, git)
    const missing = await missingSubmodules(folder, git)
    if (missing.length > 0) log.warn(`submodules are not checked out: ${listSome(missing)}`)
  } catch (error) {
    if (!isStepError(error, 'COMMAND_FAILED') && !isStepError(error, 'NOT_FOUND')) throw error
    // A checkout that git knows and cannot compare may hold anything.
    return withoutGit(error, source, context, known && markDirty(known))
  }
  const head = known ?? actor.commit
  if (changed.length === 0 || (head === undefined && clean === 'marked')) return head
  const what = `${changed.length === 1 ? 'a file is' : 'files are'} in no commit: ${listSome(changed)}`
  if (clean === 'required' || head === undefined) {
    throw new StepError('INPUT_INVALID', what, {
      hint: 'Commit it, or name in .gitignore what only the build makes. `clean: required` asks for that.',
    })
  }
  const marked = markDirty(head)
  log.warn(`${what}; the release says so: ${marked}`)
  return marked
}

/** Folders that builds write to. */
const OF_THE_BUILD = /(?:^|\/)(?:target|\.crosscloud)\//

/** What the jobs before left in the folder of a workspace that they share. */
const OF_OUR_JOBS = /^crosscloud(?:\.env|-verify\.xml|-config-[\w.-]+\.xml)$/

async function uncommittedSources({ folder, outputs }: Source, git: Git): Promise<string[]> {
  const found = await uncommittedFiles(git)
  if (found.length === 0) return []
  const { stdout } = await git('rev-parse', '--show-cdup')
  const top = resolve(folder, stdout.trim())
  const isOutput = (path: string) =>
    OF_THE_BUILD.test(path) ||
    OF_OUR_JOBS.test(relative(folder, resolve(top, path))) ||
    outputs.some((output) => isBelow(resolve(folder, output), resolve(top, path)))
  return found.filter(({ path, isNew }) => !(isNew && isOutput(path))).map(({ path }) => path)
}

/** Where git fails, the commit is known from CI's variables only. */
function withoutGit(
  { message }: StepError,
  { clean }: Source,
  { log, actor }: Context,
  marked: string | undefined,
): string | undefined {
  const what = 'git does not tell whether all files are in a commit'
  if (clean === 'required') {
    throw new StepError('INPUT_INVALID', `${what}: ${message}`, {
      hint: 'Build in a checkout that git can read. `clean: required` asks for that.',
    })
  }
  if (marked !== undefined) {
    log.warn(`${what}; the release says so: ${marked}`)
    return marked
  }
  if (actor.commit !== undefined) log.warn(`${what}; CI says ${actor.commit}`)
  return actor.commit
}
