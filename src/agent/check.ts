import type { Lease } from '../api/agents.ts'
import { StepError } from '../core/errors.ts'
import type { Policy } from '../policy/compile.ts'
import { type Decision, decide, type Question, refusalText } from '../policy/decide.ts'
import type { Subject } from '../policy/subject.ts'
import { parseRequest } from '../server/api/contract/requests.ts'
import type { OpenedApplication } from '../server/applications/applications.ts'
import { planRequest } from '../server/runs/requests.ts'
import type { RunRequest, RunSubject } from '../server/runs/run.ts'
import { needsHosts, questionsOf, readRequest } from '../server/runs/steps.ts'
import type { Issuers } from '../server/sessions/issuers.ts'
import { presentedSubject } from '../server/sessions/subject.ts'

/** What is asked, by the rules of this agent alone: nothing that the server says of it is believed. */
export function readLease({ app, step, environment, inputs }: Lease): RunRequest {
  if (!needsHosts(step)) {
    throw new StepError('INPUT_INVALID', `${step} is not for agents`)
  }
  const request = readRequest(parseRequest(planRequest, { app, step, inputs }))
  if (request.environment === environment) return request
  throw new StepError('INPUT_INVALID', `the inputs of the run are not for ${environment}`)
}

/** Who asks, by their own signed token, which must still be valid. */
export async function verifyAsker(
  { token, by }: Lease,
  issuers: Pick<Issuers, 'verify'>,
): Promise<Subject & RunSubject> {
  if (token === null) {
    throw new StepError('UNAUTHORIZED', `${by} has no ID token that this agent could check`, {
      hint: 'Run it from a CI job with an ID token. One that waited until its token had expired is run again.',
    })
  }
  const { subject, person } = await issuers.verify(token)
  return presentedSubject(subject, person)
}

/** The policy of this agent: as the server asks its own. Gives the grants that allow it. */
export function requireGrants(
  request: RunRequest,
  subject: Subject,
  policy: Policy,
  { settings }: Pick<OpenedApplication, 'settings'>,
): string[] {
  return questionsOf(request, settings).map((question) => {
    const decision = decide(policy, subject, question)
    if (decision.allowed) return decision.rule ?? ''
    throw refused(subject, question, decision)
  })
}

function refused(subject: Subject, question: Question, decision: Decision): StepError {
  const message = `the agent refuses: ${refusalText(subject, question, decision)}`
  return new StepError('FORBIDDEN', message, {
    hint: 'Whoever keeps the agent may grant it, under policy in crosscloud.agent.yml there.',
  })
}
