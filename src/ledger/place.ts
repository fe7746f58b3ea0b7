import { mkdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { describe, StepError } from '../core/errors.ts'
import { isBelow } from '../core/git/checkout.ts'

export interface ProcessEnvironment {
  variables: Readonly<Record<string, string | undefined>>
  /** The folder of crosscloud.yml. */
  folder: string
  /** Where this user keeps what must outlive a job; nowhere without a home. */
  stateFolder: string | undefined
  /** Whether this process runs in a container. */
  container: boolean
}

/** What a CI system states about the project of this job. */
interface Project {
  host: string | undefined
  id: string | undefined
  /** Whether the machine is thrown away after the job. */
  disposable: boolean
  /** Whether it is kept, which CI itself states; a runner may well live in a container that stays. */
  shared?: boolean
  checkout: string | undefined
}

/**
 * The file of the ledger where crosscloud.yml names none: beside it on a person's machine. In CI the
 * checkout is emptied between jobs, so there it is the project's own file in the runner's home.
 * INPUT_INVALID where there is no home that the next job finds again.
 */
export function defaultLedger(environment: ProcessEnvironment): string {
  const { variables, folder, stateFolder, container } = environment
  const project = projectOf(variables)
  if (!project) return join(folder, '.crosscloud', 'ledger.db')
  const { host, id, disposable, shared = false, checkout = folder } = project
  const kept = variables.CROSSCLOUD_STATE || !(disposable || (container && !shared))
  if (!host || !id || !kept) {
    throw noHome("this job's machine or container is thrown away after the job", variables)
  }
  if (stateFolder === undefined) {
    throw noHome('the user of this job has no home', variables)
  }
  const path = resolve(checkout, stateFolder)
  if (isBelow(path, resolve(checkout))) {
    throw noHome(`${path} is in the checkout, which is emptied between jobs`, variables)
  }
  return join(path, 'ledgers', fileName(host), `${fileName(id)}.db`)
}

/** The same, once a job is known to be able to write there; its folder is made. */
export async function assureDefaultLedger(environment: ProcessEnvironment): Promise<string> {
  const path = defaultLedger(environment)
  if (!projectOf(environment.variables)) return path
  await mkdir(dirname(path), { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    const why = `the folder for a file of it cannot be made: ${describe(error)}`
    throw noHome(why, environment.variables)
  })
  return path
}

function projectOf(variables: ProcessEnvironment['variables']): Project | undefined {
  if (variables.GITLAB_CI === 'true') {
    return {
      host: variables.CI_SERVER_HOST,
      id: variables.CI_PROJECT_ID,
      disposable: variables.CI_DISPOSABLE_ENVIRONMENT === 'true',
      shared: variables.CI_SHARED_ENVIRONMENT === 'true',
      checkout: variables.CI_PROJECT_DIR,
    }
  }
  if (variables.GITHUB_ACTIONS === 'true') {
    return {
      host: hostOf(variables.GITHUB_SERVER_URL),
      id: variables.GITHUB_REPOSITORY_ID || variables.GITHUB_REPOSITORY,
      disposable: variables.RUNNER_ENVIRONMENT === 'github-hosted',
      checkout: variables.GITHUB_WORKSPACE,
    }
  }
  if (!variables.JENKINS_URL) return undefined
  // A multibranch job is called folder/job/branch; all its branches are a single project.
  const names = (variables.JOB_NAME ?? '').split('/')
  return {
    host: hostOf(variables.JENKINS_URL),
    id: (variables.BRANCH_NAME ? names.slice(0, -1) : names).join('/'),
    disposable: false,
    checkout: variables.WORKSPACE,
  }
}

function hostOf(url: string | undefined): string | undefined {
  return url !== undefined && URL.canParse(url) ? new URL(url).host : undefined
}

/** A file name, never a path. */
function fileName(text: string): string {
  return encodeURIComponent(text).replace(/^\.+/, '')
}

/** The bundles of GitHub's actions have no SQLite: there it takes a database. */
function noHome(why: string, { GITHUB_ACTIONS }: ProcessEnvironment['variables']): StepError {
  const folder =
    'or name a folder in CROSSCLOUD_STATE that every job finds again, such as a mounted one.'
  return new StepError('INPUT_INVALID', `crosscloud.yml names no ledger, and ${why}`, {
    hint: [
      'Write in crosscloud.yml:',
      '  ledger:',
      '    url: mysql://crosscloud:${LEDGER_PASSWORD}@db.example.com/crosscloud',
      ...(GITHUB_ACTIONS === 'true' ? [] : [folder]),
    ].join('\n'),
  })
}
