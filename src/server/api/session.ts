import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type SessionInfo, type SessionStarted, sessionRequest } from '../../api/session.ts'
import { StepError } from '../../core/errors.ts'
import type { Subject } from '../../policy/subject.ts'
import { type Access, type Authenticated, callerOf, type Sessions } from './access.ts'
import { bodyOf } from './requests.ts'

const shown = ({ kind, name, by, identity }: Pick<Subject, keyof SessionInfo['subject']>) => ({
  kind,
  name,
  by,
  identity,
})

/** What of a request says who sent it. */
export const requestParts = ({ method, url, headers, ip, raw }: FastifyRequest) => ({
  method,
  url,
  headers,
  ip,
  rawHeaders: raw.rawHeaders,
})

/** `POST session`: the only request of the API that nobody is authenticated for. */
export function addLogin(api: FastifyInstance, { sessions }: { sessions: Sessions }): void {
  api.post('/session', async (request, reply) => {
    const { token } = bodyOf(sessionRequest, request)
    const { session, expiresAt, subject } = await sessions.start({
      ...requestParts(request),
      token,
    })
    const answer: SessionStarted = { session, expiresAt, subject: shown(subject) }
    return reply.code(201).send(answer)
  })
}

/** `GET session` and `DELETE session`: who somebody is here, and logout. */
export function addSessionRoutes(
  api: FastifyInstance,
  { sessions }: { sessions: Sessions } & Pick<Access, 'audit'>,
): void {
  api.get('/session', async (request): Promise<SessionInfo> => {
    const { via, subject, expiresAt = null } = callerOf(request)
    return { via, expiresAt, subject: shown(subject) }
  })
  api.delete('/session', async (request, reply) => {
    await sessions.end(sessionOf(callerOf(request)))
    return reply.code(204).send()
  })
}

function sessionOf({ session }: Authenticated): string {
  if (session !== undefined) return session
  throw new StepError('INPUT_INVALID', 'an API token has no session to end', {
    hint: '`crosscloud tokens revoke NAME` revokes it.',
  })
}
