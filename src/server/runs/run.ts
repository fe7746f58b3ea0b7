import type { Finished } from '../../api/runs.ts'
import type { PresentedWho } from '../../identity/presented.ts'

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
}

/** A step that is run for somebody. Times are milliseconds since 1970. */
export interface RunRecord extends RunRequest {
  id: string
  subject: RunSubject
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
export function whoOf({ by, byId, identity, names, presented }: RunSubject): PresentedWho {
  if (presented !== undefined) return presented
  const groups = names.flatMap((name) => (name.startsWith('group:') ? [name.slice(6)] : []))
  return { login: by, id: byId, groups, identity }
}
