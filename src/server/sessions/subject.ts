import type { JWTPayload } from 'jose'
import { readClaims } from '../../identity/claims.ts'
import type { PresentedWho } from '../../identity/presented.ts'
import { startedByPerson } from '../../identity/verify.ts'
import { type ClaimName, type ClaimValue, claimTypes } from '../../policy/claims.ts'
import type { Subject } from '../../policy/subject.ts'

/** Who a session belongs to, and the person behind the job, for approvals in a person's own name. */
export interface KnownSubject {
  subject: Subject
  /** `group/project` or `owner/repository`; the token's subject where it names none. */
  project: string
  person?: Person | undefined
}

/** Whom the job's token names, and what it says of the job. A job is no person: it may nothing by this. */
export interface Person {
  login: string
  id: string | undefined
  mail: string | undefined
  groups: readonly string[]
  /** The issuer. */
  identity: string
  project: string
  /** Whether this person started the pipeline, and the job is its first attempt. */
  actsInPerson: boolean
  job:
    | {
        id: string
        sha: string | undefined
        refProtected: boolean
        environment: string | undefined
        startedBy: string | undefined
        attempt: number
      }
    | undefined
}

/** With whom the job's token names: the ledger and the gate want to know. */
export function presentedSubject(
  subject: Subject,
  person: Person | undefined,
): Subject & { presented?: PresentedWho } {
  if (person === undefined) return subject
  const { login, id, groups, identity, project, job } = person
  const known = { login, id, groups, identity, job }
  // Somebody who has logged in is of no project.
  const presented =
    subject.kind === 'person'
      ? ({ kind: 'person', ...known } as const)
      : ({ kind: 'job', ...known, project } as const)
  return { ...subject, presented }
}

type Claims = Record<string, ClaimValue>

const LONGEST_CLAIM = 1000

/**
 * The job of a verified token. `names` stays empty: what a job may follows from its claims alone, so
 * that a pipeline which somebody starts in an operator's name has none of the operator's rights.
 */
export function jobOf(payload: JWTPayload, pipelines: readonly string[]): KnownSubject {
  const found = readClaims(payload)
  const { iss: identity = '', sub = '' } = payload
  if (found === undefined) {
    const claims = claimsOf(payload, {})
    return {
      project: sub,
      subject: { kind: 'job', name: `a job of ${sub}`, by: sub, identity, names: [], claims },
    }
  }
  const { login, project, jobId } = found
  const job = jobId === undefined ? `a job of ${project}` : `job ${jobId} of ${project}`
  return {
    project,
    ...(login && { person: personOf(login, found, pipelines) }),
    subject: {
      kind: 'job',
      name: login ? `${job} (${login})` : job,
      by: login ?? project,
      byId: found.personId,
      identity,
      names: [],
      claims: claimsOf(payload, {
        project,
        'project-id': payload.project_id ?? payload.repository_id,
        user: login,
        'user-id': found.personId,
        'pipeline-source': found.startedBy,
      }),
    },
  }
}

type Found = NonNullable<ReturnType<typeof readClaims>>

function personOf(login: string, found: Found, pipelines: readonly string[]): Person {
  const { personId: id, email: mail, groups, issuer: identity, project, jobId, attempt } = found
  const { sha, refProtected, environment, startedBy } = found
  const actsInPerson = startedByPerson(found, { pipelines: [...pipelines] }) && attempt === 1
  const job = { sha, refProtected, environment, startedBy, attempt }
  return {
    login,
    id,
    mail,
    groups,
    identity,
    project,
    actsInPerson,
    job: jobId === undefined ? undefined : { id: jobId, ...job },
  }
}

/** The claims that grants know, each of its type; one that is of another type is not there. */
function claimsOf(payload: JWTPayload, known: { [Name in ClaimName]?: unknown }): Claims {
  const values: { [Name in ClaimName]?: unknown } = {
    subject: payload.sub,
    ref: payload.ref,
    'ref-type': payload.ref_type,
    'ref-protected': payload.ref_protected,
    environment: payload.environment,
    'environment-protected': payload.environment_protected,
    workflow: payload.job_workflow_ref,
    ...known,
  }
  const claims: Claims = {}
  for (const [name, value] of Object.entries(values)) {
    const typed = readClaim(value, claimTypes[name as ClaimName])
    if (typed !== undefined) claims[name] = typed
  }
  return claims
}

/** GitLab and GitHub write numbers and booleans as texts. */
function readClaim(value: unknown, type: (typeof claimTypes)[ClaimName]): ClaimValue | undefined {
  if (type === 'string') {
    return typeof value === 'string' && value.length <= LONGEST_CLAIM ? value : undefined
  }
  const text = String(value)
  if (type === 'boolean') return /^(?:true|false)$/.test(text) ? text === 'true' : undefined
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined
}
