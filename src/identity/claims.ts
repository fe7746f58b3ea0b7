import type { JWTPayload } from 'jose'

/** Who somebody is, by the signed ID token of a CI job. */
export interface Identity {
  /** Account name on GitLab or GitHub. */
  login: string
  /** The account's id there, which no change of name touches: `user_id`, `actor_id`. */
  personId: string | undefined
  issuer: string
  subject: string
  verified: true
  service: 'gitlab' | 'github'
  /** `group/project` or `owner/repository`. */
  project: string
  /** Only in GitLab's tokens. */
  email: string | undefined
  /** Full paths of the groups the person is a direct member of; only in GitLab's tokens. */
  groups: string[]
  /** What started the pipeline or run: `push`, `schedule`, `workflow_dispatch`. */
  startedBy: string | undefined
  /** The environment that the job names, if it does. */
  environment: string | undefined
  /** undefined: not in the token. */
  environmentProtected: boolean | undefined
  ref: string | undefined
  refProtected: boolean
  sha: string | undefined
  jobId: string | undefined
  jobUrl: string | undefined
  /**
   * GitHub counts the attempts of a run, and names the person of the first one in all of them:
   * from 2 on it is unknown who started the job. GitLab names the person of each job: 1.
   */
  attempt: number
  /** ISO 8601, UTC. */
  expiresAt: string
}

/** What is added to an issuer's name where it was asked itself, and signed nothing. */
export const APPROVED_THERE = ', approved there'

/** The identity in the claims of a verified token; undefined when it names no project. */
export function readClaims(
  claims: JWTPayload,
): (Omit<Identity, 'login'> & { login: string | undefined }) | undefined {
  const text = (name: string) => {
    const value = claims[name]
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  // GitLab writes its booleans as strings.
  const flag = (name: string) => {
    const value = claims[name]
    return value === undefined ? undefined : value === true || value === 'true'
  }
  const own = text('project_path') !== undefined ? gitlab(text, claims) : github(text)
  if (own === undefined) return undefined
  return {
    ...own,
    issuer: claims.iss ?? '',
    subject: claims.sub ?? '',
    verified: true,
    environment: text('environment'),
    environmentProtected: flag('environment_protected'),
    ref: text('ref'),
    refProtected: flag('ref_protected') ?? false,
    sha: text('sha'),
    expiresAt: new Date((claims.exp ?? 0) * 1000).toISOString(),
  }
}

type Text = (name: string) => string | undefined

/** https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload */
function gitlab(text: Text, claims: JWTPayload) {
  const { groups_direct: groups, iss } = claims
  const project = text('project_path') ?? ''
  const jobId = text('job_id')
  return {
    service: 'gitlab' as const,
    login: text('user_login'),
    personId: text('user_id'),
    startedBy: text('pipeline_source'),
    email: text('user_email'),
    groups: Array.isArray(groups) ? groups.filter((path) => typeof path === 'string') : [],
    project,
    jobId,
    jobUrl: jobId === undefined ? undefined : `${iss}/${project}/-/jobs/${jobId}`,
    attempt: 1,
  }
}

/** https://docs.github.com/en/actions/reference/security/oidc */
function github(text: Text) {
  const project = text('repository')
  if (project === undefined) return undefined
  const run = text('run_id')
  const server = githubServer(text('iss'))
  const attempt = Number(text('run_attempt') ?? 1)
  return {
    service: 'github' as const,
    login: text('actor'),
    personId: text('actor_id'),
    startedBy: text('event_name'),
    email: undefined,
    groups: [],
    project,
    jobId: run,
    jobUrl: run === undefined || !server ? undefined : `${server}/${project}/actions/runs/${run}`,
    attempt: Number.isInteger(attempt) && attempt > 0 ? attempt : Number.POSITIVE_INFINITY,
  }
}

/** github.com, a tenant of ghe.com, or an Enterprise Server, by the name of its issuer. */
export function githubServer(issuer: string | undefined): string | undefined {
  if (issuer === undefined || !URL.canParse(issuer)) return undefined
  const { hostname, origin, pathname } = new URL(issuer)
  if (hostname === 'token.actions.githubusercontent.com') return 'https://github.com'
  const tenant = /^token\.actions\.([^.]+\.ghe\.com)$/.exec(hostname)?.[1]
  if (tenant) return `https://${tenant}`
  return pathname.startsWith('/_services/token') ? origin : undefined
}
