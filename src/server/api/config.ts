import { isAbsolute } from 'node:path'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type {
  ConfigChanged,
  ConfigDifference,
  ConfigEdit,
  ConfigItem,
  ConfigMoved,
  ConfigPage,
  ConfigPatch,
} from '../../api/config.ts'
import { StepError } from '../../core/errors.ts'
import type { OpenedApplication } from '../applications/applications.ts'
import type { CommandEnd } from '../effects/command.ts'
import type { Commands } from '../reads/commands.ts'
import type { Events } from '../stream/events.ts'
import { stateOf } from '../stream/watch.ts'
import { type Act, callerOf, mayView, notThere, record, requireAllowed } from './access.ts'
import { operations } from './contract/operations.ts'
import { environmentPath, parseRequest } from './contract/requests.ts'
import { withTypes } from './contract/typed.ts'
import type { ApiDependencies } from './dependencies.ts'
import { signalOf } from './plans.ts'

export interface ConfigDependencies extends ApiDependencies {
  commands: Commands
  events: Pick<Events, 'emitChanged' | 'tagKey'>
}

const PLACE = '/applications/:app/environments/:env/config'
/** How old the known head of a branch may be for what is looked at. */
const AGE = 15_000

/** The config of an environment: what its keys are, and changes of what somebody has seen. */
export function addConfigRoutes(api: FastifyInstance, dependencies: ConfigDependencies): void {
  const { events, commands } = dependencies
  const typed = withTypes(api)
  typed.get(
    PLACE,
    { schema: operations.readConfig },
    async (request, reply): Promise<ConfigPage> => {
      const { limit, cursor, prefix } = request.query
      const { app, env } = await requireConfig(request, 'config-read', dependencies)
      const application = await open(app, env, AGE, dependencies)
      const { output, failure } = await commands({
        ...{ application, environment: env, signal: signalOf(reply) },
        args: ['config', 'list', '--tags', `--env=${env}`],
        input: await events.tagKey(),
      })
      if (failure) throw failure
      const { etag, items } = output as unknown as { etag: string; items: ConfigItem[] }
      const after = cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString()
      const rest = items
        .filter(({ key }) => ownerOf(key, app, dependencies) && isBelow(key, prefix))
        .filter(({ key }) => after === undefined || Buffer.compare(bytes(key), bytes(after)) > 0)
      const page = rest.slice(0, limit)
      const last = rest.length > limit ? page.at(-1)?.key : undefined
      reply.header('etag', `"${etag}"`)
      return { items: page, next: last === undefined ? null : bytes(last).toString('base64url') }
    },
  )
  typed.patch(PLACE, { schema: operations.editConfig }, async (request, reply) =>
    patchConfig(request.body, request, reply, dependencies),
  )
}

const bytes = (text: string) => Buffer.from(text)

const isBelow = (key: string, prefix: string | undefined) =>
  prefix === undefined || key === prefix || key.startsWith(`${prefix}/`)

/** One config centre may have keys of several applications: those of another one are not there. */
function ownerOf(key: string, app: string, { applications }: ApiDependencies): boolean {
  const [, first = ''] = key.split('/')
  return first === app || !applications.names.includes(first)
}

async function requireConfig(
  request: FastifyRequest,
  verb: 'config-read' | 'config-write',
  dependencies: ApiDependencies,
) {
  const { app, env } = parseRequest(environmentPath, request.params)
  await requireAllowed(request, { verb, app, environment: env }, dependencies)
  if (!dependencies.applications.names.includes(app)) throw notThere(app, env)
  return { app, env }
}

async function open(
  app: string,
  env: string,
  age: number,
  { applications }: ApiDependencies,
): Promise<OpenedApplication> {
  const application = await applications.open(app, AbortSignal.timeout(60_000), age)
  if (Object.hasOwn(application.settings.environments, env)) return application
  throw notThere(app, env)
}

/** What `config edit --json` prints. */
interface EditEnd {
  etag: string
  etagAfter?: string
  change?: string | null
  changes: (ConfigDifference & { tag: string })[]
  moved: ConfigMoved[]
}

async function patchConfig(
  { changes, reason }: ConfigPatch,
  request: FastifyRequest,
  reply: FastifyReply,
  dependencies: ConfigDependencies,
): Promise<ConfigChanged> {
  const { app, env } = await requireAny(request, dependencies)
  const ifMatch = matchOf(request, changes)
  const foreign = changes.find(({ key }) => !ownerOf(key, app, dependencies))
  if (foreign) throw new StepError('NOT_FOUND', `${foreign.key} is no key of ${app}`)
  const application = await open(app, env, 0, dependencies)
  refuseRepositoryFile(application, env)
  const edit = editor({ application, env, reason, request, reply }, dependencies)
  const seen = await edit(changes, { ifMatch, plan: true })
  const acts = actsOf({ app, env, reason }, seen.changes)
  const allowed: Parameters<typeof record>[] = []
  for (const act of acts) {
    const decision = await requireAllowed(request, act, dependencies)
    allowed.push([request, act, decision, dependencies])
  }
  if (seen.moved.length > 0) throw movedError(request, { app, env }, seen, dependencies)
  for (const entry of allowed) await record(...entry)
  // What was looked at just now, and nothing else, is written over.
  const bound = changes.map(({ was: _was, ...change }, at) => ({
    ...change,
    tag: seen.changes[at]?.tag,
  }))
  const done = await edit(bound, { ifMatch, plan: false })
  if (done.moved.length > 0) throw movedError(request, { app, env }, done, dependencies)
  const keys = done.changes.map(({ key }) => key)
  const change = done.change ?? null
  const by = callerOf(request).subject.name
  const event = { type: 'config.changed', app, environment: env, keys, by, change } as const
  // It is done; whoever misses the event sees it at the next look.
  await dependencies.events.emitChanged(event, stateOf(change)).catch(() => {})
  if (done.etagAfter !== undefined) reply.header('etag', `"${done.etagAfter}"`)
  return { change, changes: shownTo(request, { app, env }, done, dependencies) }
}

/** Either of both verbs, before anything is read; which ones it takes is known with the keys. */
async function requireAny(request: FastifyRequest, dependencies: ApiDependencies) {
  const { app, env } = parseRequest(environmentPath, request.params)
  const { subject } = callerOf(request)
  const secret = { verb: 'secret-write', app, environment: env } as const
  if (dependencies.decide(subject, secret).allowed && mayView(request, app, env, dependencies)) {
    if (!dependencies.applications.names.includes(app)) throw notThere(app, env)
    return { app, env }
  }
  return requireConfig(request, 'config-write', dependencies)
}

/** Nothing is overwritten unseen: the whole set was seen, or each of the keys. */
function matchOf({ headers }: FastifyRequest, changes: readonly ConfigEdit[]): string | undefined {
  const given = headers['if-match']
  if (given !== undefined && given !== '*') {
    const [, etag] = /^"([\w-]{16,64})"$/.exec(given) ?? []
    if (etag !== undefined) return etag
    throw new StepError('INPUT_INVALID', 'If-Match is not an ETag of this config')
  }
  const unseen = changes.filter(({ was, tag }) => was === undefined && tag === undefined)
  if (unseen.length === 0) return undefined
  const keys = unseen.map(({ key }) => key).join(', ')
  throw new StepError('INPUT_INVALID', `it is not said what was seen of ${keys}`, {
    hint: 'Send If-Match with the ETag of the config, or each key with its was or tag.',
    args: { keys },
    details: { status: 428, code: 'PRECONDITION_REQUIRED' },
  })
}

function refuseRepositoryFile({ settings }: OpenedApplication, env: string): void {
  const url = settings.environments[env]?.config?.url
  if (url?.kind !== 'file' || isAbsolute(url.path)) return
  throw new StepError('CONFLICT', `the config of ${env} is a file of the repository`, {
    hint: 'Change it with a commit; or give the environment a config centre.',
    args: { environment: env },
  })
}

interface Editing {
  application: OpenedApplication
  env: string
  reason: string
  request: FastifyRequest
  reply: FastifyReply
}

/** Runs `config edit`, which the command line has as well. */
function editor(
  { application, env, reason, request, reply }: Editing,
  { commands, events }: ConfigDependencies,
) {
  const signal = signalOf(reply)
  const run = async (
    changes: readonly (Omit<ConfigEdit, 'was'> & Partial<ConfigEdit>)[],
    { ifMatch, plan }: { ifMatch: string | undefined; plan: boolean },
  ): Promise<CommandEnd> => {
    const flags = plan ? ['--plan'] : ['--yes', `--reason=${reason}`]
    return commands({
      ...{ application, environment: env, signal },
      subject: callerOf(request).subject,
      args: ['config', 'edit', `--env=${env}`, ...flags],
      input: JSON.stringify({ changes, ifMatch, tagKey: await events.tagKey() }),
    })
  }
  return async (changes: Parameters<typeof run>[0], how: Parameters<typeof run>[1]) => {
    const { output, failure } = await run(changes, how)
    const end = endOf(output)
    if (end && (!failure || end.moved.length > 0)) return end
    if (failure?.code === 'CONFLICT' && !how.plan) {
      // Between its look and its writing somebody else has written; else it is the lock.
      const again = endOf((await run(changes, { ...how, plan: true })).output)
      if (again && again.moved.length > 0) return again
    }
    throw failure ?? new StepError('INTERNAL', 'config edit printed nothing')
  }
}

const endOf = (output: CommandEnd['output']) =>
  Array.isArray(output?.moved) ? (output as unknown as EditEnd) : undefined

function actsOf(
  { app, env, reason }: { app: string; env: string; reason: string },
  changes: EditEnd['changes'],
): Act[] {
  const act = (verb: 'config-write' | 'secret-write', secret: boolean): Act[] => {
    const keys = changes.filter((change) => change.secret === secret).map(({ key }) => key)
    const object = { keys: keys.join(' '), reason }
    return keys.length === 0 ? [] : [{ verb, app, environment: env, object }]
  }
  return [...act('config-write', false), ...act('secret-write', true)]
}

type Place = { app: string; env: string }

const mayRead = (request: FastifyRequest, { app, env }: Place, { decide }: ApiDependencies) =>
  decide(callerOf(request).subject, { verb: 'config-read', app, environment: env }).allowed

/** Marks of a secret would say whether its new value is that of before. */
function shownTo(
  request: FastifyRequest,
  place: Place,
  { changes }: EditEnd,
  dependencies: ApiDependencies,
): ConfigDifference[] {
  const isReader = mayRead(request, place, dependencies)
  return changes.map(({ key, secret, before, after }) => {
    const show = (text: string, isSeen: boolean) =>
      isSeen || text === 'absent' ? text : secret ? '(secret)' : '(not shown)'
    return { key, secret, before: show(before, isReader && !secret), after: show(after, !secret) }
  })
}

function movedError(
  request: FastifyRequest,
  place: Place,
  { moved, etag }: EditEnd,
  dependencies: ApiDependencies,
): StepError {
  const isReader = mayRead(request, place, dependencies)
  const shown = moved.map((each) => {
    if (isReader && !each.secret) return each
    const now = each.now === 'absent' ? each.now : each.secret ? '(secret)' : '(not shown)'
    return { ...each, now }
  })
  const keys = moved.map(({ key }) => key).join(', ')
  return new StepError(
    'CONFLICT',
    `${keys} in ${place.env} is not what was seen; nothing was written`,
    {
      hint: 'Look at the config again, then repeat the change.',
      args: { keys, app: place.app, environment: place.env },
      details: {
        ...{ status: 412, code: 'PRECONDITION_FAILED' },
        members: { moved: shown, etag },
      },
    },
  )
}
