import { StepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Decision, Question } from '../../policy/decide.ts'
import type { Scope, Subject } from '../../policy/subject.ts'
import type { Settings } from '../../settings.ts'
import type { AuditEntry } from '../audit.ts'
import type { ApiToken } from '../sessions/sessions.ts'
import type { RunRecord } from './run.ts'
import { auditedInputs, questionsOf } from './steps.ts'

export interface PermissionOptions {
  decide(subject: Subject, question: Question): Decision
  /** Whether a session lives, by its id. */
  hasSession(id: string): Promise<boolean>
  /** An API token as it is now, by its hash. */
  findToken(hash: string): Promise<ApiToken | undefined>
  record(entry: AuditEntry): Promise<unknown>
  log: Pick<Log, 'error'>
}

/**
 * Asks again when a run begins, with the application's settings as they are now: it may have waited for
 * hours. Throws what isRefusal knows, when it is not allowed any more.
 */
export type Permission = (run: RunRecord, settings: Pick<Settings, 'environments'>) => Promise<void>

interface Refused {
  refused: true
}

export const isRefusal = ({ details }: StepError): boolean =>
  (details as Partial<Refused> | undefined)?.refused === true

const HINT = 'Nothing was done. Ask whoever administers the server, or run the job again.'

export function createPermission(options: PermissionOptions): Permission {
  const { decide, record, log } = options
  return async (run, settings) => {
    const { subject, credential } = run
    const questions = questionsOf(run, settings)
    const refuse = async (
      code: 'FORBIDDEN' | 'UNAUTHORIZED',
      verb: string,
      reasons: readonly string[],
    ) => {
      const { app, environment } = run
      const reason = reasons.join('; ').slice(0, 1000)
      const entry: AuditEntry = {
        ...{ subject: subject.name, via: credential.kind, verb, run: run.id },
        ...{ object: { ...auditedInputs(run), app, environment }, decision: 'refused', reason },
      }
      // It is refused all the same.
      await record(entry).catch((error: unknown) => {
        log.error(`recording the refusal of run ${run.id}: ${toStepError(error).message}`)
      })
      const what = `when its turn came, ${subject.name} might not ${verb} ${app} in ${environment}`
      const details = { refused: true } as const
      throw new StepError<Refused>(code, `${what} any more: ${reason}`, { hint: HINT, details })
    }
    const held = await holds(run, options)
    if ('ended' in held) return refuse('UNAUTHORIZED', questions[0]?.verb ?? run.step, [held.ended])
    for (const question of questions) {
      const decision = decide({ ...subject, scope: held.scope }, question)
      if (!decision.allowed) await refuse('FORBIDDEN', question.verb, decision.reasons)
    }
  }
}

/** Whether what they came with still holds; of a token also what it may now. */
async function holds(
  { credential: { kind, id } }: RunRecord,
  { hasSession, findToken }: PermissionOptions,
): Promise<{ scope: Scope | undefined } | { ended: string }> {
  if (kind === 'session') {
    if (await hasSession(id)) return { scope: undefined }
    return { ended: 'the session that asked for it has ended, or was revoked' }
  }
  const token = await findToken(id)
  if (token === undefined) return { ended: 'the API token is unknown' }
  if (token.revokedAt !== undefined) return { ended: 'the API token was revoked' }
  const isOver = token.expiresAt !== undefined && !(Date.parse(token.expiresAt) > Date.now())
  return isOver ? { ended: 'the API token has expired' } : { scope: token.scope }
}
