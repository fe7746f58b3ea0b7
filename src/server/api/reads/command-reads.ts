import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { z } from 'zod'
import {
  historyQuery,
  hostQuery,
  listQuery,
  logQuery,
  previewQuery,
  reportQuery,
} from '../../../api/queries.ts'
import type { Verb } from '../../../policy/verbs.ts'
import { type Commands, readDocument } from '../../reads/commands.ts'
import { mayView, notThere, requireAllowed } from '../access.ts'
import { lookOperations } from '../contract/looks.ts'
import { applicationPath, environmentPath, parseRequest } from '../contract/requests.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { signalOf } from '../plans.ts'

export interface CommandReadDependencies extends ApiDependencies {
  commands: Commands
}

/** A command of the command line that is read over HTTP: `--json` of it is the answer. */
interface CommandRead<Query extends z.ZodObject> {
  operation: keyof typeof lookOperations
  path: string
  verb: Verb
  query: Query
  args(query: z.output<Query>, place: { app: string; env: string }): string[]
  /** Its list, which is handed out in pages. */
  list?: string
  /** What it found counts as its failure, and is the answer all the same. */
  finds?: true
}

const define = <Query extends z.ZodObject>(read: CommandRead<Query>) =>
  read as unknown as CommandRead<z.ZodObject>

/** Flags of what is given; a value cannot be taken for one. */
const flags = (given: Readonly<Record<string, string | number | undefined>>): string[] =>
  Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}=${value}`],
  )

const ofHosts = (command: readonly string[]) => ({
  query: hostQuery,
  args: ({ host }: z.output<typeof hostQuery>, { env }: { env: string }) => [
    ...command,
    ...flags({ env, host }),
  ],
})

const reads = [
  define({
    operation: 'listInstances',
    path: 'instances',
    verb: 'view',
    list: 'instances',
    ...ofHosts(['instances', 'list']),
  }),
  define({
    operation: 'readStats',
    path: 'stats',
    verb: 'view',
    list: 'instances',
    ...ofHosts(['instances', 'stats']),
  }),
  define({
    operation: 'listHosts',
    path: 'hosts',
    verb: 'view',
    list: 'hosts',
    ...ofHosts(['hosts', 'list']),
  }),
  define({
    operation: 'listImages',
    path: 'images',
    verb: 'view',
    list: 'images',
    ...ofHosts(['hosts', 'images']),
  }),
  define({
    ...{ operation: 'readLogs', path: 'logs', verb: 'logs', query: logQuery, list: 'lines' },
    args: (query, { env }) => ['instances', 'logs', ...flags({ env, ...query })],
  }),
  define({
    ...{
      operation: 'lintConfig',
      path: 'lint',
      verb: 'config-read',
      query: listQuery,
      list: 'findings',
      finds: true,
    },
    args: (_query, { env }) => ['config', 'lint', env],
  }),
  define({
    ...{
      operation: 'previewTemplates',
      path: 'templates',
      verb: 'config-read',
      query: previewQuery,
    },
    args: ({ release }, { env }) => [
      ...['render-config', '--check', '--diff=running'],
      ...flags({ env, release }),
    ],
  }),
  define({
    ...{
      operation: 'listConfigChanges',
      path: 'config/history',
      verb: 'config-read',
      query: listQuery,
      list: 'changes',
    },
    args: ({ limit, cursor }, { env }) => [
      ...['config', 'history'],
      ...flags({ env, limit: Math.min(1000, limit + cursor + 1) }),
    ],
  }),
  define({
    ...{ operation: 'listHistory', path: 'history', verb: 'view', query: historyQuery },
    args: ({ limit, cursor }, { app, env }) => [
      'history',
      ...flags({ app, env, limit, before: cursor }),
    ],
  }),
]

/**
 * Reads that touch engines, config centres or templates: each runs in a process of its own, with the
 * variables of its environment alone.
 */
export function addCommandReads(api: FastifyInstance, dependencies: CommandReadDependencies): void {
  for (const read of reads) {
    const path = `/applications/:app/environments/:env/${read.path}`
    api.get(path, { schema: lookOperations[read.operation] }, async (request, reply) =>
      answer(read, request, reply, dependencies),
    )
  }
  api.get(
    '/applications/:app/report',
    { schema: lookOperations.readReport },
    async (request, reply) => report(request, reply, dependencies),
  )
}

async function answer(
  read: CommandRead<z.ZodObject>,
  request: FastifyRequest,
  reply: FastifyReply,
  dependencies: CommandReadDependencies,
) {
  const { app, env } = parseRequest(environmentPath, request.params)
  await requireAllowed(request, { verb: read.verb, app, environment: env }, dependencies)
  const application = await openEnvironment({ app, env }, dependencies)
  const query = parseRequest(read.query, request.query)
  const args = read.args(query, { app, env })
  const command = { application, environment: env, args, signal: signalOf(reply) }
  const document = await readDocument(dependencies.commands, command)
  if (read.finds) delete document.incomplete
  if (read.list === undefined) return read.path === 'history' ? asPage(document) : document
  return pageOf(document, read.list, query)
}

/** An environment of the branch that counts; one that is not there is not there for anybody. */
export async function openEnvironment(
  { app, env }: { app: string; env: string },
  { applications }: ApiDependencies,
) {
  if (!applications.names.includes(app)) throw notThere(app, env)
  const application = await applications.open(app, AbortSignal.timeout(60_000), AGE)
  if (!Object.hasOwn(application.settings.environments, env)) throw notThere(app, env)
  return application
}

/** How old the known head of a branch may be for what is looked at. */
const AGE = 15_000

const asPage = ({ deployments, next = null, ...rest }: Record<string, unknown>) => ({
  items: deployments,
  ...rest,
  next,
})

/** What hosts did not answer is beside the items: `incomplete`. */
function pageOf(document: Record<string, unknown>, list: string, query: Record<string, unknown>) {
  const { [list]: found, incomplete } = document
  const all = Array.isArray(found) ? found : []
  const more = incomplete === undefined ? {} : { incomplete }
  // The lines of a log are limited by their number.
  if (typeof query.limit !== 'number') return { items: all, next: null, ...more }
  const from = Number(query.cursor)
  const end = from + query.limit
  return { items: all.slice(from, end), next: all.length > end ? String(end) : null, ...more }
}

interface Measured {
  environment: string
}

/** How well is delivered, in the environments that the caller may view. */
async function report(
  request: FastifyRequest,
  reply: FastifyReply,
  dependencies: CommandReadDependencies,
) {
  const { app } = parseRequest(applicationPath, request.params)
  const { since, env } = parseRequest(reportQuery, request.query)
  const application = await openApplication(app, request, dependencies)
  if (env !== undefined && !mayView(request, app, env, dependencies)) throw notThere(app, env)
  const args = ['report', ...flags({ app, since, env })]
  const command = { application, args, signal: signalOf(reply) }
  const document = await readDocument(dependencies.commands, command)
  const measures = (document.measures ?? []) as Measured[]
  const seen = measures.filter(({ environment }) =>
    mayView(request, app, environment, dependencies),
  )
  const { since: from, until, definitions } = document
  return { since: from, until, definitions, items: seen, next: null }
}

/** An application of which the caller may view an environment. */
export async function openApplication(
  app: string,
  request: FastifyRequest,
  { applications, ...access }: ApiDependencies,
) {
  if (!applications.names.includes(app)) throw notThere(app, '*')
  const application = await applications.open(app, AbortSignal.timeout(60_000), AGE)
  const names = Object.keys(application.settings.environments)
  if (names.some((env) => mayView(request, app, env, access))) return application
  throw notThere(app, '*')
}
