import type { FastifyRequest } from 'fastify'
import { StepError } from '../../core/errors.ts'
import type { Decision, Question } from '../../policy/decide.ts'
import type { AuditEntry } from '../audit.ts'
import type { RunSubject } from '../runs/run.ts'
import type { SessionRequest } from '../sessions/sessions.ts'
import type { Credential, Standing } from '../sessions/standing.ts'

export type Decide = (subject: RunSubject, question: Question) => Decision

/** May this subject view some environment of an application: known before it is opened. */
export type Sees = (subject: RunSubject, app: string) => boolean

export interface Authenticated {
  subject: RunSubject
  via: 'session' | 'token'
  session?: string | undefined
  /** The ID token that started it, where an agent may have to see it. */
  jobToken?: string | undefined
  /** Whether every use of the API token is proven with its key. */
  bound?: boolean | undefined
  /** ISO 8601 */
  expiresAt?: string | undefined
  /** By which it is found again, for a run that begins later. */
  credential: Credential
  /** Whether what they came with still holds. */
  standing(): Promise<Standing>
}

/** Each throws UNAUTHORIZED. */
export interface Sessions {
  authenticate(request: SessionRequest): Promise<Authenticated>
  /** A session for the ID token of a job. */
  start(
    request: SessionRequest & { token: string },
  ): Promise<{ session: string; expiresAt: string; subject: RunSubject }>
  end(session: string): Promise<unknown>
}

export interface Audit {
  record(entry: AuditEntry): Promise<unknown>
  /** Newest first, those before a number. */
  list?(query: { before: string | undefined; limit: number }): Promise<unknown[]>
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before any handler of the API runs. */
    caller?: Authenticated
  }
}

export interface Access {
  decide: Decide
  audit: Audit
}

export function callerOf({ caller }: FastifyRequest): Authenticated {
  if (caller) return caller
  throw new StepError('UNAUTHORIZED', 'it is not known who asks')
}

export interface Act extends Question {
  /** More of the object, for the audit: the run, the release. */
  object?: Readonly<Record<string, string>>
  run?: string | undefined
  plan?: string | undefined
}

/** Refuses what the policy does not allow, before anything is read; each refusal is in the audit. */
export async function requireAllowed(
  request: FastifyRequest,
  act: Act,
  access: Access,
): Promise<Decision> {
  const { subject } = callerOf(request)
  const { verb, app, environment, source } = act
  const from = source === undefined ? {} : { source }
  const decision = access.decide(subject, { verb, app, environment, ...from })
  if (decision.allowed) return decision
  await record(request, act, decision, access)
  if (!decision.visible) throw notThere(app, environment)
  const help = decision.help.length > 0 ? ` Who may: ${decision.help.join(', ')}.` : ''
  throw new StepError('FORBIDDEN', `${subject.name} may not ${verb} ${app} in ${environment}`, {
    hint: `Ask for a grant.${help}`,
    args: { subject: subject.name, verb, app, environment },
    details: { reasons: decision.reasons },
  })
}

/** Acts are recorded before they are done: what cannot be recorded is not done. */
export async function record(
  request: FastifyRequest,
  { verb, app, environment, object, run, plan }: Act,
  { allowed, rule, reasons }: Decision,
  { audit }: Pick<Access, 'audit'>,
): Promise<void> {
  const { subject, via } = callerOf(request)
  await audit.record({
    subject: subject.name,
    via,
    verb,
    object: { ...object, app, environment },
    decision: allowed ? 'allowed' : 'refused',
    rule,
    reason: allowed ? undefined : reasons.join('; ').slice(0, 1000),
    run,
    plan,
    request: `${request.method} ${request.url.split('?')[0]?.slice(0, 200)}`,
    address: request.ip,
  })
}

/** The same whether it exists or may only not be seen. */
export const notThere = (app: string, environment: string) =>
  new StepError('NOT_FOUND', `there is no ${app} in ${environment} for you here`, {
    hint: 'Check both names; what you may not see is not there for you.',
    args: { app, environment },
  })

/** Whether the caller may look at an application somewhere. */
export const mayView = (
  request: FastifyRequest,
  app: string,
  environment: string,
  { decide }: Pick<Access, 'decide'>,
) => decide(callerOf(request).subject, { verb: 'view', app, environment }).allowed

/** What the caller may look at, each place decided once: a page has many entries of few places. */
export function visibility(request: FastifyRequest, { decide }: Pick<Access, 'decide'>) {
  const { subject } = callerOf(request)
  const known = new Map<string, boolean>()
  return (verb: 'view' | 'logs', app: string, environment: string): boolean => {
    const key = `${verb} ${app} ${environment}`
    const allowed = known.get(key) ?? decide(subject, { verb, app, environment }).allowed
    known.set(key, allowed)
    return allowed
  }
}
