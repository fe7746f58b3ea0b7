import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type DecisionAnswer, decisionQuery } from '../../api/policy.ts'
import { StepError } from '../../core/errors.ts'
import type { Deployment, Release } from '../../ledger/ledger.ts'
import { type Verb, verbs } from '../../policy/verbs.ts'
import { formatRepository } from '../../registry/reference.ts'
import { resolveEnvironment, type Settings } from '../../settings.ts'
import { callerOf, mayView, notThere, requireAllowed } from './access.ts'
import { openList, type ReadDependencies, visible } from './lists.ts'
import {
  applicationPath,
  deploymentQuery,
  environmentPath,
  pageQuery,
  parseRequest,
} from './requests.ts'

/** What may be looked at: each answer has only what the policy lets the caller see. */
export function addReadRoutes(api: FastifyInstance, dependencies: ReadDependencies): void {
  addApplications(api, dependencies)
  addHistory(api, dependencies)
  addPolicy(api, dependencies)
}

function addApplications(api: FastifyInstance, dependencies: ReadDependencies): void {
  const { applications, reader } = dependencies
  const list = openList(dependencies)
  api.get('/applications', async (request) => {
    const items = await list(request, async (app, { environments }) => [{ app, environments }])
    return { items, next: null }
  })
  api.get('/status', async (request) => {
    const items = await list(request, async (app, { read, environments }) => {
      const cells = await (await read.ledger()).status({ app })
      return environments.map(
        (environment) =>
          cells.find((cell) => cell.environment === environment) ?? { app, environment },
      )
    })
    return { items, next: null }
  })
  api.get('/applications/:app', async (request) => {
    const { app, commit, settings, environments } = await openVisible(request, dependencies)
    const described = environments.map((name) => describeEnvironment(settings, name))
    return { app, commit, environments: described }
  })
  api.get('/applications/:app/environments/:env', async (request) => {
    const { app, env } = parseRequest(environmentPath, request.params)
    if (!mayView(request, app, env, dependencies) || !applications.names.includes(app)) {
      throw notThere(app, env)
    }
    const { settings, ledger } = await reader.open(app)
    if (!Object.hasOwn(settings.environments, env)) throw notThere(app, env)
    const [cell] = await (await ledger()).status({ app, environment: env })
    return { app, ...describeEnvironment(settings, env), status: cell ?? null }
  })
}

/** Names and addresses; what has secrets is only said to be there. */
function describeEnvironment(settings: Settings, name: string) {
  const environment = resolveEnvironment(settings, name)
  const unless = <T>(read: () => T): T | null => {
    try {
      return read()
    } catch {
      // A variable that is not set on the server.
      return null
    }
  }
  return {
    name,
    from: environment.from ?? null,
    image: unless(() => formatRepository(environment.image)),
    url: unless(() => environment.url ?? null),
    hosts: unless(() => environment.hosts.map((host) => host.name)) ?? [],
    gated: unless(() => environment.gate !== undefined) ?? true,
  }
}

async function openVisible(request: FastifyRequest, dependencies: ReadDependencies) {
  const { applications, reader, sees } = dependencies
  const { app } = parseRequest(applicationPath, request.params)
  const absent = new StepError('NOT_FOUND', `there is no application ${app} for you here`)
  // Who may view none of it does not learn what is wrong with it, either.
  if (!applications.names.includes(app) || !sees(callerOf(request).subject, app)) throw absent
  const read = await reader.open(app)
  const environments = visible(request, read.settings, dependencies)
  if (environments.length === 0) throw absent
  return { ...read, app, environments }
}

function addHistory(api: FastifyInstance, dependencies: ReadDependencies): void {
  api.get('/applications/:app/releases', async (request) => {
    const { limit, cursor } = parseRequest(pageQuery, request.query)
    const { app, ledger } = await openVisible(request, dependencies)
    // The ledger gives the newest; a cursor is how many were there before.
    const skip = offsetOf(cursor)
    const found = await (await ledger()).releases(app, skip + limit + 1)
    const items = found.slice(skip, skip + limit).map(releaseAnswer)
    return { items, next: found.length > skip + limit ? String(skip + limit) : null }
  })
  api.get('/applications/:app/deployments', async (request) => {
    const { limit, cursor, env } = parseRequest(deploymentQuery, request.query)
    const { app, ledger, environments } = await openVisible(request, dependencies)
    if (env !== undefined && !environments.includes(env)) throw notThere(app, env)
    const read = await ledger()
    const items: Deployment[] = []
    let before = cursor
    for (let look = 0; look < MOST_LOOKS; look++) {
      const query = { app, environment: env, before, limit: PAGE }
      const found = await read.deployments(query)
      for (const deployment of found) {
        before = deployment.id
        if (!environments.includes(deployment.environment)) continue
        items.push(deployment)
        if (items.length === limit) return { items, next: before }
      }
      if (found.length < PAGE) return { items, next: null }
    }
    return { items, next: before ?? null }
  })
}

const PAGE = 100
const MOST_LOOKS = 20
const MOST_RELEASES = 10_000

function offsetOf(cursor: string | undefined): number {
  if (cursor === undefined) return 0
  if (/^\d{1,5}$/.test(cursor) && Number(cursor) <= MOST_RELEASES) return Number(cursor)
  throw new StepError('INPUT_INVALID', 'cursor is not one that a page had under next')
}

/** Without mail addresses. */
const releaseAnswer = ({ bakedByMail: _mail, bakedById: _id, ...release }: Release) => release

function addPolicy(api: FastifyInstance, dependencies: ReadDependencies): void {
  const { decide, audit } = dependencies
  api.get('/policy/decisions', async (request): Promise<DecisionAnswer> => {
    const { verb, app, env, source } = parseRequest(decisionQuery, request.query)
    if (!(verbs as readonly string[]).includes(verb)) {
      throw new StepError('INPUT_INVALID', `verb ${JSON.stringify(verb.slice(0, 40))} is unknown`, {
        hint: `Verbs: ${verbs.join(', ')}.`,
      })
    }
    const { subject } = callerOf(request)
    const from = source === undefined ? {} : { source }
    const question = { verb: verb as Verb, app, environment: env, ...from }
    const { allowed, visible: isVisible, rule, reasons, help } = decide(subject, question)
    // Of what may not be seen nobody learns who may.
    const shown = allowed || isVisible
    return {
      allowed,
      rule: rule ?? null,
      reasons: shown ? reasons : [],
      help: shown ? help : [],
    }
  })
  api.get('/audit', async (request) => {
    const { limit, cursor } = parseRequest(pageQuery, request.query)
    await requireAllowed(
      request,
      { verb: 'audit-read', app: '*', environment: '*' },
      { decide, audit },
    )
    if (audit.list === undefined) throw new StepError('NOT_FOUND', 'there is no audit here')
    const items = (await audit.list({ before: cursor, limit })) as { number?: unknown }[]
    const last = items.length === limit ? items.at(-1)?.number : undefined
    return { items, next: last === undefined ? null : String(last) }
  })
}
