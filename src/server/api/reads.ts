import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { AuditItem } from '../../api/reads.ts'
import { StepError } from '../../core/errors.ts'
import type { Deployment, Release } from '../../ledger/ledger.ts'
import { formatRepository } from '../../registry/reference.ts'
import { resolveEnvironment, type Settings } from '../../settings.ts'
import { callerOf, mayView, notThere, requireAllowed, visibility } from './access.ts'
import { operations } from './contract/operations.ts'
import { applicationPath, parseRequest } from './contract/requests.ts'
import { withTypes } from './contract/typed.ts'
import { openList, type ReadDependencies, visible } from './lists.ts'

/** What may be looked at: each answer has only what the policy lets the caller see. */
export function addReadRoutes(api: FastifyInstance, dependencies: ReadDependencies): void {
  addApplications(api, dependencies)
  addHistory(api, dependencies)
  addPolicy(api, dependencies)
}

function addApplications(plain: FastifyInstance, dependencies: ReadDependencies): void {
  const api = withTypes(plain)
  const { applications, reader } = dependencies
  const list = openList(dependencies)
  api.get('/applications', { schema: operations.listApplications }, async (request) => {
    const items = await list(request, async (app, { environments }) => [{ app, environments }])
    return { items, next: null }
  })
  api.get('/status', { schema: operations.readStatus }, async (request) => {
    const items = await list(request, async (app, { read, environments }) => {
      const cells = await (await read.ledger()).status({ app })
      return environments.map(
        (environment) =>
          cells.find((cell) => cell.environment === environment) ?? { app, environment },
      )
    })
    return { items, next: null }
  })
  api.get('/applications/:app', { schema: operations.readApplication }, async (request) => {
    const { app, commit, settings, environments } = await openVisible(request, dependencies)
    const described = environments.map((name) => describeEnvironment(settings, name))
    return { app, commit, environments: described }
  })
  api.get(
    '/applications/:app/environments/:env',
    { schema: operations.readEnvironment },
    async (request) => {
      const { app, env } = request.params
      if (!mayView(request, app, env, dependencies) || !applications.names.includes(app)) {
        throw notThere(app, env)
      }
      const { settings, ledger } = await reader.open(app)
      if (!Object.hasOwn(settings.environments, env)) throw notThere(app, env)
      const [cell] = await (await ledger()).status({ app, environment: env })
      return { app, ...describeEnvironment(settings, env), status: cell ?? null }
    },
  )
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

function addHistory(plain: FastifyInstance, dependencies: ReadDependencies): void {
  const api = withTypes(plain)
  api.get('/applications/:app/releases', { schema: operations.listReleases }, async (request) => {
    const { limit, cursor } = request.query
    const { app, ledger } = await openVisible(request, dependencies)
    const skip = Number(cursor ?? 0)
    const found = await (await ledger()).releases(app, skip + limit + 1)
    const items = found.slice(skip, skip + limit).map(releaseAnswer)
    return { items, next: found.length > skip + limit ? String(skip + limit) : null }
  })
  api.get(
    '/applications/:app/deployments',
    { schema: operations.listDeployments },
    async (request) => {
      const { limit, cursor, env } = request.query
      const { app, ledger, environments } = await openVisible(request, dependencies)
      if (env !== undefined && !environments.includes(env)) throw notThere(app, env)
      const read = await ledger()
      const sees = visibility(request, dependencies)
      const items: Deployment[] = []
      let before = cursor
      for (let look = 0; look < MOST_LOOKS; look++) {
        const query = { app, environment: env, before, limit: PAGE }
        const found = await read.deployments(query)
        for (const deployment of found) {
          before = deployment.id
          if (!environments.includes(deployment.environment)) continue
          const showsOutput = sees('logs', app, deployment.environment)
          items.push(showsOutput ? deployment : withoutOutput(deployment))
          if (items.length === limit) return { items, next: before }
        }
        if (found.length < PAGE) return { items, next: null }
      }
      return { items, next: before ?? null }
    },
  )
}

/** An error may have the last lines of an instance. */
const withoutOutput = (deployment: Deployment): Deployment => ({ ...deployment, error: undefined })

const PAGE = 100
const MOST_LOOKS = 20

/** Without mail addresses. */
const releaseAnswer = ({ bakedByMail: _mail, bakedById: _id, ...release }: Release) => release

function addPolicy(plain: FastifyInstance, dependencies: ReadDependencies): void {
  const api = withTypes(plain)
  const { decide, audit } = dependencies
  api.get('/policy/decisions', { schema: operations.askPolicy }, async (request) => {
    const { verb, app, env, source } = request.query
    const { subject } = callerOf(request)
    const from = source === undefined ? {} : { source }
    const question = { verb, app, environment: env, ...from }
    const { allowed, visible: isVisible, rule, reasons, help } = decide(subject, question)
    // Of what may not be seen nobody learns who may.
    const shown = allowed || isVisible
    return {
      allowed,
      rule: rule ?? null,
      reasons: shown ? [...reasons] : [],
      help: shown ? [...help] : [],
    }
  })
  api.get('/audit', { schema: operations.listAudit }, async (request) => {
    const { limit, cursor } = request.query
    await requireAllowed(
      request,
      { verb: 'audit-read', app: '*', environment: '*' },
      { decide, audit },
    )
    if (audit.list === undefined) throw new StepError('NOT_FOUND', 'there is no audit here')
    const items = (await audit.list({ before: cursor, limit })) as AuditItem[]
    const last = items.length === limit ? items.at(-1)?.number : undefined
    return { items, next: last === undefined ? null : String(last) }
  })
}
