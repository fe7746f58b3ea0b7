import { StepError } from '../core/errors.ts'
import type { IdentitySettings } from './settings.ts'
import { startsByPerson } from './verify.ts'
import type { Who } from './who.ts'

/** Somebody whom a server of crosscloud has authenticated, and what their CI job's token said. */
export interface PresentedWho extends Pick<Who, 'login' | 'id' | 'groups' | 'identity'> {
  /** Undefined for a person, and for an API token. */
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

/** The same demands on a job as where its own token is at hand. */
export function acceptPresented(
  { job, from: _from, token: _token, ...who }: PresentedWho,
  settings: IdentitySettings | undefined,
  { environment, required, strict }: Wanted,
): Who {
  if (job === undefined) return who
  const found = { ...who, job: { id: job.id, sha: job.sha } }
  if (!required || settings === undefined || settings === 'unverified') return found
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

function refused(why: string): StepError {
  return new StepError('UNAUTHORIZED', `the ID token is not accepted: ${why}`, {
    hint: 'Run the job on a protected branch, with `environment:` of what it changes.',
  })
}
