import type { FastifyInstance } from 'fastify'
import { StepError, toStepError } from '../../core/errors.ts'
import { addAgentRoutes } from '../agents/routes.ts'
import { createCommands } from '../reads/commands.ts'
import { openEvents } from '../stream/events.ts'
import { openFeed } from '../stream/feed.ts'
import { watchLedgers } from '../stream/watch.ts'
import { callerOf } from './access.ts'
import { addConfigRoutes } from './config.ts'
import { addOpenapi, type Route } from './contract/openapi.ts'
import { checkRequests } from './contract/requests.ts'
import type { ApiDependencies } from './dependencies.ts'
import { addLineRoutes } from './lines.ts'
import { addPlanRoutes } from './plans.ts'
import { API, problemOf, sendProblem } from './problems.ts'
import { openReader, type Reader } from './reader.ts'
import { addCommandReads } from './reads/command-reads.ts'
import { addLedgerReads } from './reads/ledger-reads.ts'
import { addReadRoutes } from './reads.ts'
import { addRunRoutes } from './runs.ts'
import { addLogin, addSessionRoutes, requestParts } from './session.ts'
import { openEventStreams } from './streams/event-streams.ts'
import { addLogFollow } from './streams/log-follow.ts'
import { addStreamRoute } from './streams/stream.ts'
import { addVersionRoutes } from './versions.ts'

/** Of a body, in bytes: a token has at most 128 KiB. */
const BODY = 192 * 1024
/** Milliseconds: a plan asks hosts that may be slow, and sends nothing meanwhile. */
const LONGEST_ANSWER = 5 * 60_000

/**
 * Steps over HTTP, and what may be read. A plugin of its own: here bodies are JSON, and errors are
 * problems (RFC 9457). Every request is authenticated before its body is read.
 */
export async function addApi(app: FastifyInstance, dependencies: ApiDependencies): Promise<void> {
  const { sessions } = dependencies
  const routes: Route[] = []
  const collect = (api: FastifyInstance) =>
    api.addHook('onRoute', ({ method, routePath, schema }) => {
      if (method !== 'HEAD') routes.push({ method, url: routePath, schema })
    })
  await app.register(
    async (api) => {
      prepare(api, dependencies)
      collect(api)
      await limitAddresses(api, dependencies)
      addLogin(api, dependencies)
      addOpenapi(api, routes)
    },
    { prefix: API },
  )
  await app.register(
    async (api) => {
      prepare(api, dependencies)
      collect(api)
      await limitAddresses(api, dependencies)
      api.addHook('onRequest', async (request) => {
        request.caller = await sessions.authenticate(requestParts(request))
        request.raw.socket.setTimeout(LONGEST_ANSWER)
      })
      await limitSubjects(api, dependencies)
      api.setNotFoundHandler(async () => {
        throw new StepError('NOT_FOUND', 'nothing is here', {
          hint: 'docs/server.md has all paths.',
        })
      })
      addSessionRoutes(api, dependencies)
      addPlanRoutes(api, dependencies)
      addRunRoutes(api, dependencies)
      addAgentRoutes(api, dependencies)
      const reader = openReader(dependencies)
      api.addHook('onClose', reader.close)
      addReadRoutes(api, { ...dependencies, reader })
      addVersionRoutes(api, dependencies)
      addStreams(api, { ...dependencies, reader })
    },
    { prefix: API },
  )
}

/** What is looked at while it goes on, and config, whose changes others are told of. */
function addStreams(
  api: FastifyInstance,
  dependencies: ApiDependencies & { reader: Reader },
): void {
  const { access, applications, reader, worker, log } = dependencies
  const events = openEvents(access)
  const feed = openFeed(events, log)
  const open = async (app: string) => {
    const { settings, ledger } = await reader.open(app)
    return { ledger: await ledger(), environments: Object.keys(settings.environments) }
  }
  const { names } = applications
  const watch = watchLedgers({ names, open, events, isAsked: feed.isAsked, log })
  api.addHook('onClose', async () => {
    watch.close()
    feed.close()
  })
  const openStream = openEventStreams(api, dependencies)
  addLineRoutes(api, dependencies, openStream)
  addStreamRoute(api, { ...dependencies, feed }, openStream)
  addLogFollow(api, dependencies, openStream)
  const commands = createCommands(worker)
  addConfigRoutes(api, { ...dependencies, events, commands })
  addCommandReads(api, { ...dependencies, commands })
  addLedgerReads(api, { ...dependencies, commands })
}

/** JSON bodies, and errors as problems. */
function prepare(api: FastifyInstance, { log, secrets }: ApiDependencies): void {
  readJsonBodies(api)
  api.setValidatorCompiler(checkRequests)
  // Types hold handlers to the schemas of their answers, and tests what is sent.
  api.setSerializerCompiler(() => JSON.stringify)
  api.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
  })
  api.setErrorHandler((error: unknown, _request, reply) => {
    const { status } = problemOf(error, secrets.mask)
    if (status === 500) log.error(`a request of the API failed: ${messageOf(error)}`)
    else if (status > 500) log.warn(`a request of the API cannot be answered: ${messageOf(error)}`)
    if (status === 401) reply.header('www-authenticate', 'DPoP, Bearer')
    return sendProblem(reply, error, secrets.mask)
  })
}

/** Before anything is asked of Redis, the ledger or an issuer. */
async function limitAddresses(api: FastifyInstance, { rate }: ApiDependencies): Promise<void> {
  const { default: rateLimit } = await import('@fastify/rate-limit')
  await api.register(rateLimit, { global: false, cache: 10_000 })
  // A hook of the plugin's own would come after that which authenticates.
  api.addHook('onRequest', api.rateLimit({ max: rate, timeWindow: 1000, ipv6Subnet: 64 }))
}

/** For each subject as well: an office has one address. */
async function limitSubjects(api: FastifyInstance, { rate }: ApiDependencies): Promise<void> {
  const { default: rateLimit } = await import('@fastify/rate-limit')
  await api.register(rateLimit, {
    max: rate,
    timeWindow: 1000,
    cache: 10_000,
    hook: 'preValidation',
    keyGenerator: (request) => {
      const { subject } = callerOf(request)
      return `${subject.identity} ${subject.by}`
    },
  })
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
