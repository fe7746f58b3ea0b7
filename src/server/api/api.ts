import type { FastifyInstance } from 'fastify'
import { StepError, toStepError } from '../../core/errors.ts'
import type { ApiDependencies } from './dependencies.ts'
import { addLineRoutes } from './lines.ts'
import { addPlanRoutes } from './plans.ts'
import { problemOf, sendProblem } from './problems.ts'
import { openReader } from './reader.ts'
import { addReadRoutes } from './reads.ts'
import { addRunRoutes } from './runs.ts'

const API = '/api/v1'
/** Of a body, in bytes: a token has at most 128 KiB. */
const BODY = 192 * 1024

/**
 * Steps over HTTP, and what may be read. A plugin of its own: here bodies are JSON, and errors are
 * problems (RFC 9457). Every request is authenticated before its body is read.
 */
export async function addApi(app: FastifyInstance, dependencies: ApiDependencies): Promise<void> {
  const { sessions, log, secrets } = dependencies
  await app.register(
    async (api) => {
      readJsonBodies(api)
      api.addHook('onRequest', async (request, reply) => {
        reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
        const { method, url, headers, ip } = request
        request.caller = await sessions.authenticate({ method, url, headers, ip })
      })
      api.setErrorHandler((error: unknown, _request, reply) => {
        const { status } = problemOf(error, secrets.mask)
        if (status >= 500) log.error(`a request of the API failed: ${messageOf(error)}`)
        if (status === 401) reply.header('www-authenticate', 'Bearer')
        return sendProblem(reply, error, secrets.mask)
      })
      api.setNotFoundHandler(async () => {
        throw new StepError('NOT_FOUND', 'nothing is here', {
          hint: 'docs/server.md has all paths.',
        })
      })
      addPlanRoutes(api, dependencies)
      addRunRoutes(api, dependencies)
      addLineRoutes(api, dependencies)
      const reader = openReader(dependencies)
      api.addHook('onClose', reader.close)
      addReadRoutes(api, { ...dependencies, reader })
    },
    { prefix: API },
  )
}

const messageOf = (error: unknown) => toStepError(error).message

/** A schema would leave it out in silence. */
function refusePrototypes(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new Error(key)
  return value
}

function readJsonBodies(api: FastifyInstance): void {
  api.removeAllContentTypeParsers()
  const options = { parseAs: 'string', bodyLimit: BODY } as const
  api.addContentTypeParser('application/json', options, (_request, body, done) => {
    const parsed = parseJson(String(body))
    if (parsed) done(null, parsed.value)
    else done(new StepError('INPUT_INVALID', 'the body is no JSON'), undefined)
  })
}

function parseJson(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text, refusePrototypes) }
  } catch {
    return undefined
  }
}
