import type { FastifyInstance } from 'fastify'
import { followQuery } from '../../../api/queries.ts'
import { followLog } from '../../reads/follow.ts'
import { callerOf, requireAllowed } from '../access.ts'
import { lookOperations } from '../contract/looks.ts'
import { environmentPath, parseRequest } from '../contract/requests.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { limitFollowers } from '../followers.ts'
import { openEnvironment } from '../reads/command-reads.ts'
import type { OpenEventStream } from './event-streams.ts'

/** Each is a process of its own. */
const MOST = { ofOne: 3, ofAll: 10 }

/** `GET …/logs/follow`: what the instances print, as server-sent events, until the reader is gone. */
export function addLogFollow(
  api: FastifyInstance,
  dependencies: ApiDependencies,
  openStream: OpenEventStream,
): void {
  const { decide, worker } = dependencies
  const limit = limitFollowers(MOST)
  const path = '/applications/:app/environments/:env/logs/follow'
  api.get(
    path,
    { schema: lookOperations.followLogs, exposeHeadRoute: false },
    async (request, reply) => {
      const { app, env } = parseRequest(environmentPath, request.params)
      await requireAllowed(request, { verb: 'logs', app, environment: env }, dependencies)
      const query = parseRequest(followQuery, request.query)
      const application = await openEnvironment({ app, env }, dependencies)
      const { subject } = callerOf(request)
      const leave = limit.enter(`${subject.identity} ${subject.by}`)
      const given = Object.entries({ env, ...query }).filter(([, value]) => value !== undefined)
      const args = ['instances', 'logs', ...given.map(([name, value]) => `--${name}=${value}`)]
      try {
        await openStream(request, reply, {
          what: `the log of ${app} in ${env}`,
          mayGoOn: () => decide(subject, { verb: 'logs', app, environment: env }).allowed,
          async run({ signal, write }) {
            const exitCode = await followLog({
              ...{ application, environment: env, args, worker, signal },
              write: (lines) =>
                write(
                  lines.map((line) => `event: line\ndata: ${JSON.stringify(line)}\n\n`).join(''),
                ),
            })
            if (!signal.aborted) {
              await write(`event: ended\ndata: ${JSON.stringify({ exitCode })}\n\n`)
            }
          },
        })
      } finally {
        leave()
      }
    },
  )
}
