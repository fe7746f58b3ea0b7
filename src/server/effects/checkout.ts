import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { isStepError, StepError } from '../../core/errors.ts'
import { COMPLETE_HISTORY, fetchSubmodules, gitVariables } from '../../core/git/git.ts'
import { fetchLargeFiles } from '../../core/git/lfs.ts'
import { run } from '../../core/process/process.ts'
import type { EventFacts } from '../sources/event.ts'
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
  return checkOutCommit({ url, commit, refs, project }, worker, signal)
}

export interface WantedCommit {
  url: string
  commit: string
  /** Refs to fetch beside it. */
  refs?: readonly string[]
  /** What the repository is called in messages. */
  project: string
}

export async function checkOutCommit(
  { url: address, commit, refs = [], project }: WantedCommit,
  { variables: environment, secrets }: WorkerEnvironment,
  signal: AbortSignal,
): Promise<Checkout> {
  const { url, variables } = withoutCredentials(address, secrets)
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-checkout-'))
  const remove = () => rm(folder, { recursive: true, force: true, maxRetries: 3 })
  const env = { ...environment, ...gitVariables(url), ...variables }
  const git = (...args: string[]) =>
    run('git', args, { cwd: folder, env, cleanEnv: true, signal, timeout: TIMEOUT })
  try {
    await git('init', '--quiet', '--template=', '.')
    // Relative addresses of submodules start at this remote.
    await git('remote', 'add', 'origin', url)
    // git fetches the tags only for a named ref; versions and `git describe` need them.
    const named = `+${commit}:refs/crosscloud/commit`
    await git('fetch', '--quiet', COMPLETE_HISTORY, 'origin', named, ...refs)
    await git('-c', 'core.hooksPath=/dev/null', 'checkout', '--quiet', '--detach', commit)
    await fetchSubmodules(git)
    await fetchLargeFiles(folder, git)
    return { folder, remove }
  } catch (error) {
    await remove()
    if (isStepError(error, 'CANCELLED') || !isStepError(error, 'COMMAND_FAILED')) throw error
    throw new StepError('UNAVAILABLE', `fetching ${commit} of ${project}: ${error.message}`, {
      hint: 'Check the address and its credentials, and whether the commit is still there.',
      cause: error,
    })
  }
}

const COMMIT = /^([0-9a-f]{40}|[0-9a-f]{64})\t/

/** The commit that a branch points to in its repository now. */
export async function headOf(
  { url: address, branch, project }: { url: string; branch: string; project: string },
  { variables: environment, secrets }: WorkerEnvironment,
  signal: AbortSignal,
): Promise<string> {
  const { url, variables } = withoutCredentials(address, secrets)
  const env = { ...environment, ...gitVariables(url), ...variables }
  const args = ['ls-remote', '--', url, `refs/heads/${branch}`]
  try {
    const { stdout } = await run('git', args, { env, cleanEnv: true, signal, timeout: ASK_TIMEOUT })
    const [, commit] = COMMIT.exec(stdout) ?? []
    if (commit !== undefined) return commit
  } catch (error) {
    if (!isStepError(error, 'COMMAND_FAILED')) throw error
    throw new StepError('UNAVAILABLE', `asking for ${branch} of ${project}: ${error.message}`, {
      hint: 'Check the address of the repository and its credentials.',
      cause: error,
    })
  }
  throw new StepError('NOT_FOUND', `the repository of ${project} has no branch ${branch}`, {
    hint: `Correct applications.${project}.branch in crosscloud.server.yml.`,
  })
}

/** A password in the address would show in the list of processes and stay in the folder. */
function withoutCredentials(address: string, secrets: WorkerEnvironment['secrets']) {
  const url = new URL(address)
  if (!/^https?:$/.test(url.protocol) || `${url.username}${url.password}` === '')
    return { url: address, variables: {} }
  const [user, password] = [url.username, url.password].map(decodeURIComponent)
  const basic = Buffer.from(`${user}:${password}`).toString('base64')
  // A token may stand alone, in place of the user.
  secrets.add(password || user)
  secrets.add(basic)
  url.username = ''
  url.password = ''
  return {
    url: url.href,
    variables: {
      GIT_CONFIG_COUNT: '1',
      // For this server only: a submodule may be on any other.
      GIT_CONFIG_KEY_0: `http.${url.origin}/.extraHeader`,
      GIT_CONFIG_VALUE_0: `Authorization: Basic ${basic}`,
    },
  }
}

function hasNoCommit(kind: string): StepError {
  return new StepError('INPUT_INVALID', `an event of kind ${kind} has no commit to build`, {
    hint: 'Let this route listen to push or tag.',
  })
}
