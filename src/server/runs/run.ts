import type { Finished } from '../../api/runs.ts'
import { StepError } from '../../core/errors.ts'
import type { PresentedWho } from '../../identity/presented.ts'
import type { Credential } from '../sessions/standing.ts'

/** Who asked for a run: the part of a policy's subject that a run keeps. */
export interface RunSubject {
  kind: 'person' | 'job' | 'token'
  /** For people: "zhang (team/qa)", "job 4711 of team/webapi". */
  name: string
  /** Login, for the ledger. */
  by: string
  byId?: string | undefined
  /** The issuer of the signed token, or `token`. */
  identity: string
  names: readonly string[]
  claims?: Readonly<Record<string, string | number | boolean>> | undefined
  /** Whom the job's token names, and what it says of the job. */
  presented?: PresentedWho | undefined
}

/** What is asked for. */
export interface RunRequest {
  app: string
  step: string
  environment: string
  /** Checked, and as they were given. */
  inputs: Readonly<Record<string, unknown>>
  /** The ID token of a job whose step is proven by it: a secret, kept until the run is over. */
  idToken?: string | undefined
}

/** A step that is run for somebody. Times are milliseconds since 1970. */
export interface RunRecord extends RunRequest {
  id: string
  subject: RunSubject
  /** What they came with, by its hash: it must still hold when the run begins. */
  credential: Credential
  /** The plan that was seen before. */
  plan?: string | undefined
  /** Its hash: nothing else than what was seen is done. */
  planHash?: string | undefined
  /** `plan`: only what it would do is asked, of an agent. */
  kind?: 'run' | 'plan' | undefined
  queuedAt: number
  startedAt: number | undefined
  finishedAt: number | undefined
  finished: Finished | undefined
  cancel: Cancellation | undefined
  /** What it waits for, where that is missing. */
  waits?: string | undefined
}

export interface Cancellation {
  by: string
  reason: string
}

/** The subject as the command line takes it: its groups are names, too. */
export function whoOf(subject: RunSubject): PresentedWho {
  const { kind, by, byId, identity, names, claims, presented } = subject
  if (presented !== undefined) {
    requireOwn(presented, subject)
    return presented
  }
  const groups = names.flatMap((name) => (name.startsWith('group:') ? [name.slice(6)] : []))
  const project = typeof claims?.project === 'string' ? { project: claims.project } : {}
  return { kind, login: by, id: byId, groups, identity, ...project }
}

/** Whom gate and ledger are told of is whom the session's own token names, and nobody else. */
function requireOwn(
  { kind, identity, project, login }: PresentedWho,
  { claims = {}, ...subject }: RunSubject,
): void {
  const isSame =
    kind === subject.kind &&
    identity === subject.identity &&
    login === subject.by &&
    project === claims.project
  if (isSame) return
  throw new StepError('UNAUTHORIZED', `${subject.name} is not whom its token names`, {
    hint: 'Run the job again.',
  })
}
