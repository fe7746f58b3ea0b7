import { userInfo } from 'node:os'
import type { Actor } from './context.ts'

type Variables = Readonly<Record<string, string | undefined>>
type KnownFacts = { [Fact in keyof Actor]?: Actor[Fact] | undefined }

/**
 * Who acts, by the variables of the CI system that runs this, and of no other: variables of another
 * system may be set, too. Without any, the user of this machine.
 */
export function actorOf(variables: Variables): Actor {
  const { by, committedAt, ...rest } = factsOfSystem((name) => variables[name] || undefined)
  return {
    author: undefined,
    branch: undefined,
    commit: undefined,
    pipelineUrl: undefined,
    jobUrl: undefined,
    ...rest,
    by: by ?? userName(),
    committedAt: moment(committedAt),
  }
}

/** Marks of CI systems, and of crosscloud's own server. Not all of them can be overwritten. */
const JOB_MARKS = [
  ...['CI', 'CI_JOB_ID', 'CI_JOB_TOKEN', 'CI_PIPELINE_ID', 'GITLAB_CI', 'CROSSCLOUD_WORKER'],
  ...['GITHUB_ACTIONS', 'GITHUB_RUN_ID', 'GITEA_ACTIONS', 'FORGEJO_ACTIONS'],
  ...['JENKINS_URL', 'JENKINS_HOME', 'BUILD_ID', 'TF_BUILD', 'TEAMCITY_VERSION', 'BUILDKITE'],
]

/** Whether this is a job; an empty mark does not count, any other value does. */
export function isJob(read: (name: string) => string | undefined): boolean {
  return isWorker(read) || JOB_MARKS.some((name) => Boolean(read(name)))
}

/**
 * Whether crosscloud's own server runs this command. Servers of 0.1.0 set CROSSCLOUD_SERVER, which
 * is the address of a server otherwise.
 */
export function isWorker(read: (name: string) => string | undefined): boolean {
  return read('CROSSCLOUD_WORKER') === 'true' || read('CROSSCLOUD_SERVER') === 'true'
}

function factsOfSystem(read: (name: string) => string | undefined): KnownFacts {
  // crosscloud's own server sets the variables of GitLab for the event it handles.
  if (read('GITLAB_CI') === 'true' || isWorker(read)) return ofGitlab(read)
  if (read('GITHUB_ACTIONS') === 'true') return ofGithub(read)
  // A Jenkins whose own address is not set has no JENKINS_URL.
  if (read('JENKINS_URL') || read('JENKINS_HOME')) return ofJenkins(read)
  // No system's own mark: any of their variables, which a shell or a script may pass on.
  return { ...known(ofJenkins(read)), ...known(ofGithub(read)), ...known(ofGitlab(read)) }
}

const known = (facts: KnownFacts): KnownFacts =>
  Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined))

const ofGitlab = (read: (name: string) => string | undefined): KnownFacts => ({
  by: read('GITLAB_USER_LOGIN'),
  author: read('CI_COMMIT_AUTHOR'),
  branch: read('CI_COMMIT_REF_NAME'),
  commit: read('CI_COMMIT_SHA'),
  pipelineUrl: read('CI_PIPELINE_URL'),
  jobUrl: read('CI_JOB_URL'),
  committedAt: read('CI_COMMIT_TIMESTAMP'),
})

function ofGithub(read: (name: string) => string | undefined): KnownFacts {
  const run = read('GITHUB_RUN_ID')
  const repository = `${read('GITHUB_SERVER_URL')}/${read('GITHUB_REPOSITORY')}`
  return {
    by: read('GITHUB_ACTOR'),
    branch: read('GITHUB_REF_NAME'),
    commit: read('GITHUB_SHA'),
    pipelineUrl: run && `${repository}/actions/runs/${run}`,
  }
}

const ofJenkins = (read: (name: string) => string | undefined): KnownFacts => ({
  by: read('BUILD_USER_ID'),
  branch: read('BRANCH_NAME'),
  commit: read('GIT_COMMIT'),
  pipelineUrl: read('BUILD_URL'),
  jobUrl: read('BUILD_URL'),
})

function moment(text: string | undefined): string | undefined {
  const milliseconds = Date.parse(text ?? '')
  return Number.isNaN(milliseconds) ? undefined : new Date(milliseconds).toISOString()
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    return 'unknown'
  }
}
