import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { SessionInfo } from '../../api/session.ts'
import { StepError } from '../../core/errors.ts'
import type { Subject } from '../../policy/subject.ts'
import { type Access, type Authenticated, callerOf, type Sessions } from './access.ts'
import { operations } from './contract/operations.ts'
import { withTypes } from './contract/typed.ts'

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
  const { startSession } = operations
  withTypes(api).post('/session', { schema: startSession }, async (request, reply) => {
    const { token } = request.body
    const { session, expiresAt, subject } = await sessions.start({
      ...requestParts(request),
      token,
    })
    return reply.code(201).send({ session, expiresAt, subject: shown(subject) })
  })
}

/** `GET session` and `DELETE session`: who somebody is here, and logout. */
export function addSessionRoutes(
  api: FastifyInstance,
  { sessions }: { sessions: Sessions } & Pick<Access, 'audit'>,
): void {
  const { readSession, endSession } = operations
  withTypes(api).get('/session', { schema: readSession }, async (request) => {
    const { via, subject, expiresAt = null } = callerOf(request)
    return { via, expiresAt, subject: shown(subject) }
  })
  api.delete('/session', { schema: endSession }, async (request, reply) => {
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
