import { StepError } from '../core/errors.ts'
import { quoted } from './issuer.ts'
import type { IdentitySettings } from './settings.ts'
import { startsByPerson } from './verify.ts'
import type { Who } from './who.ts'

/** Somebody whom a server of crosscloud has authenticated, and what their CI job's token said. */
export interface PresentedWho extends Pick<Who, 'login' | 'id' | 'groups' | 'identity'> {
  kind: 'person' | 'job' | 'token'
  /** Of a job, where its token names one. */
  project?: string | undefined
  /** Undefined for a person, an API token, and a job whose token does not say which job it is of. */
  job?:
    | {
        id: string
        sha?: string | undefined
        refProtected: boolean
        environment?: string | undefined
        startedBy?: string | undefined
        /** 1 unless it was run again. */
        attempt: number
      }
    | undefined
  /** Their job's own ID token, by which it is checked once more and what they decide is proven: a secret. */
  token?: string | undefined
  /** For the ledger: who, from where, and the page of what they started. */
  from?:
    | {
        by: string
        branch?: string | undefined
        commit?: string | undefined
        jobUrl: string
      }
    | undefined
}

interface Wanted {
  environment: string | undefined
  required: boolean
  strict: boolean
}

/**
 * The same demands on a job as where its own token is at hand. Of a job that names no project the
 * server's own settings say who it is, as of an API token.
 */
export function acceptPresented(
  { kind, project, job, from: _from, token: _token, ...who }: PresentedWho,
  settings: IdentitySettings | undefined,
  { environment, required, strict }: Wanted,
): Who {
  const found = job === undefined ? who : { ...who, job: { id: job.id, sha: job.sha } }
  if (kind === 'person') return who
  if (strict && kind === 'token') throw refused('an API token is no person')
  if (strict && job === undefined) throw refused('it names no job')
  if (!required || settings === undefined || settings === 'unverified') return found
  if (project !== undefined) requireSameProject({ project, ...who }, settings)
  if (job === undefined) {
    if (project !== undefined) throw refused('it names no job')
    return found
  }
  const { environment: named, refProtected, startedBy = '', attempt } = job
  if (settings['protected-ref'] && !refProtected) throw refused('its branch is not protected')
  if (named !== undefined && environment !== undefined && named !== environment) {
    throw refused(`its job is of the environment ${named}, not of ${environment}`)
  }
  if (strict && named === undefined) throw refused('its job names no environment')
  if (strict && attempt !== 1) throw refused('it was run again')
  if (strict && !startsByPerson(startedBy, settings.pipelines))
    throw refused('no person started its pipeline')
  return found
}

/** A token that is handed on is of the one who asked, and of the same job. */
export function requireSamePerson({ login, identity, job }: PresentedWho, found: Who): void {
  const isSame = login === found.login && identity === found.identity && job?.id === found.job?.id
  if (!isSame) throw refused('it is of somebody else than asked, or of another job')
}

/** The server lets jobs of several issuers and projects in; each application names its own. */
function requireSameProject(
  { identity, project }: { identity: string; project: string },
  settings: Exclude<IdentitySettings, 'unverified'>,
): void {
  if (identity !== settings.issuer) {
    throw refused(`it is from ${quoted(identity)}, not from ${settings.issuer}`)
  }
  if (settings.project.includes(project)) return
  throw refused(`it is of ${quoted(project)}, not of ${settings.project.join(' or ')}`)
}

function refused(why: string): StepError {
  return new StepError('UNAUTHORIZED', `the ID token is not accepted: ${why}`, {
    hint: 'Run the job on a protected branch, with `environment:` of what it changes.',
  })
}
