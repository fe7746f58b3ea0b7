import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { isStepError, StepError } from '../../core/errors.ts'
import { COMPLETE_HISTORY, fetchSubmodules, type Git } from '../../core/git/git.ts'
import { fetchLargeFiles } from '../../core/git/lfs.ts'
import { run } from '../../core/process/process.ts'
import type { EventFacts } from '../sources/event.ts'
import { gitAccess } from './git-access.ts'
import { fetchFromSameHost, refuseOtherLfs } from './submodules.ts'
import type { WorkerEnvironment } from './worker-environment.ts'

/** Address of a repository; `{{project}}` stands for the event's project. */
export const gitAddress = z
  .string()
  .regex(
    /^(?:https?|ssh|file):\/\/[^\s]+$/,
    'is not the address of a repository; write https://gitlab.example.com/{{project}}.git',
  )

export interface Checkout {
  folder: string
  remove(): Promise<void>
}

const TIMEOUT = 10 * 60_000
const ASK_TIMEOUT = 30_000

/**
 * Checks out one commit with its history, tags, submodules and large files into a new folder. git
 * gets arguments, never a line for a shell.
 */
export async function checkOut(
  address: string,
  facts: EventFacts,
  worker: WorkerEnvironment,
  signal: AbortSignal,
): Promise<Checkout> {
  const { kind, ref, commit, project } = facts
  if (commit === '') throw hasNoCommit(kind)
  const url = address.replaceAll('{{project}}', project)
  const refs = kind === 'tag' ? [`+refs/tags/${ref}:refs/tags/${ref}`] : []
  return checkOutCommit({ url, commit, refs, project, submodules: 'anywhere' }, worker, signal)
}

export interface WantedCommit {
  url: string
  commit: string
  /** Refs to fetch beside it. */
  refs?: readonly string[]
  /** What the repository is called in messages. */
  project: string
  /**
   * Where its submodules may be; with `none` the credential of the address is sent to this repository
   * alone.
   */
  submodules: 'none' | 'same-host' | 'anywhere'
}

const REACH = { none: 'repository', 'same-host': 'host', anywhere: 'anywhere' } as const

export async function checkOutCommit(
  { url: address, commit, refs = [], project, submodules }: WantedCommit,
  worker: WorkerEnvironment,
  signal: AbortSignal,
): Promise<Checkout> {
  const { url, env } = gitAccess(address, REACH[submodules], worker)
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-checkout-'))
  const remove = () => rm(folder, { recursive: true, force: true, maxRetries: 3 })
  const git: Git = (...args) =>
    run('git', args, { cwd: folder, env, cleanEnv: true, signal, timeout: TIMEOUT })
  try {
    await git('init', '--quiet', '--template=', '.')
    // Relative addresses of submodules start at this remote.
    await git('remote', 'add', 'origin', url)
    // git fetches the tags only for a named ref; versions and `git describe` need them.
    const named = `+${commit}:refs/crosscloud/commit`
    await git('fetch', '--quiet', COMPLETE_HISTORY, 'origin', named, ...refs)
    await git('checkout', '--quiet', '--detach', commit)
    if (submodules === 'anywhere') await fetchSubmodules(git)
    if (submodules === 'same-host') await fetchFromSameHost(url, project, git)
    if (submodules !== 'anywhere') await refuseOtherLfs(folder, project, git)
    await fetchLargeFiles(folder, git)
    return { folder, remove }
  } catch (error) {
    await remove()
    if (isStepError(error, 'CANCELLED') || !isStepError(error, 'COMMAND_FAILED')) throw error
    throw new StepError('UNAVAILABLE', `fetching ${commit} of ${project}: ${error.message}`, {
      hint:
        redirected(error) ??
        'Check the address and its credentials, and whether the commit is still there.',
      cause: error,
    })
  }
}

const COMMIT = /^([0-9a-f]{40}|[0-9a-f]{64})\t/

/** The commit that a branch points to in its repository now. */
export async function headOf(
  { url: address, branch, project }: { url: string; branch: string; project: string },
  worker: WorkerEnvironment,
  signal: AbortSignal,
): Promise<string> {
  const { url, env } = gitAccess(address, 'repository', worker)
  const args = ['ls-remote', '--', url, `refs/heads/${branch}`]
  try {
    const { stdout } = await run('git', args, { env, cleanEnv: true, signal, timeout: ASK_TIMEOUT })
    const [, commit] = COMMIT.exec(stdout) ?? []
    if (commit !== undefined) return commit
  } catch (error) {
    if (!isStepError(error, 'COMMAND_FAILED')) throw error
    throw new StepError('UNAVAILABLE', `asking for ${branch} of ${project}: ${error.message}`, {
      hint: redirected(error) ?? 'Check the address of the repository and its credentials.',
      cause: error,
    })
  }
  throw new StepError('NOT_FOUND', `the repository of ${project} has no branch ${branch}`, {
    hint: `Correct applications.${project}.branch in crosscloud.server.yml.`,
  })
}

/** Redirects are not followed: the credential would go along. */
const redirected = ({ message }: StepError) =>
  /error: 30[1278]\b/.test(message)
    ? 'The server redirects to another address: write that one, which ends with .git on GitLab.'
    : undefined

function hasNoCommit(kind: string): StepError {
  return new StepError('INPUT_INVALID', `an event of kind ${kind} has no commit to build`, {
    hint: 'Let this route listen to push or tag.',
  })
}
