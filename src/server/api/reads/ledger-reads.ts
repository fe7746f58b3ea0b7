import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { eventQuery, explainQuery, listQuery } from '../../../api/queries.ts'
import { StepError, toStepError } from '../../../core/errors.ts'
import type { Approval, Release } from '../../../ledger/ledger.ts'
import { openRecords } from '../../queue/records.ts'
import { readDocument } from '../../reads/commands.ts'
import { mayView, requireAllowed } from '../access.ts'
import { lookOperations, releasePath } from '../contract/looks.ts'
import { applicationPath, environmentPath, parseRequest } from '../contract/requests.ts'
import { signalOf } from '../plans.ts'
import type { Reader } from '../reader.ts'
import { type CommandReadDependencies, openApplication, openEnvironment } from './command-reads.ts'

interface LedgerReadDependencies extends CommandReadDependencies {
  reader: Reader
}

/** What the ledger and the queue have: locks, marks, the life of a release, what a name stands for. */
export function addLedgerReads(api: FastifyInstance, dependencies: LedgerReadDependencies): void {
  addPlaces(api, dependencies)
  api.get(
    '/applications/:app/releases/:version',
    { schema: lookOperations.readRelease },
    async (request) => readLife(request, dependencies),
  )
  api.get(
    '/applications/:app/explain',
    { schema: lookOperations.explain },
    async (request, reply) => explain(request, reply, dependencies),
  )
  const records = openRecords(dependencies.access)
  api.get('/events', { schema: lookOperations.listEvents }, async (request) => {
    await requireAllowed(request, { verb: 'events', app: '*', environment: '*' }, dependencies)
    const { limit, cursor, state } = parseRequest(eventQuery, request.query)
    const found = await records.list(state, cursor + limit + 1)
    return pageOf(found, { limit, cursor })
  })
}

function addPlaces(api: FastifyInstance, dependencies: LedgerReadDependencies): void {
  const { reader } = dependencies
  const place = '/applications/:app/environments/:env'
  const open = async (request: FastifyRequest) => {
    const { app, env } = parseRequest(environmentPath, request.params)
    await requireAllowed(request, { verb: 'view', app, environment: env }, dependencies)
    await openEnvironment({ app, env }, dependencies)
    const { ledger } = await reader.open(app)
    return { app, environment: env, ledger: await ledger() }
  }
  api.get(`${place}/locks`, { schema: lookOperations.listLocks }, async (request) => {
    const { app, environment, ledger } = await open(request)
    const lock = await ledger.findLock(app, environment)
    if (lock === undefined) return { items: [], next: null }
    const { owner, reason, expiresAt } = lock
    return { items: [{ app, environment, owner, reason, expiresAt }], next: null }
  })
  api.get(`${place}/marks`, { schema: lookOperations.listMarks }, async (request) => {
    const query = parseRequest(listQuery, request.query)
    const { app, environment, ledger } = await open(request)
    const most = query.cursor + query.limit + 1
    return pageOf(await ledger.markHistory({ app, environment, limit: most }), query)
  })
}

function pageOf<T>(all: readonly T[], { limit, cursor }: { limit: number; cursor: number }) {
  const end = cursor + limit
  return { items: all.slice(cursor, end), next: all.length > end ? String(end) : null }
}

/** Without mail addresses, ids and tokens. */
const approvalAnswer = ({ byMail: _mail, byId: _id, tokenHash: _hash, ...rest }: Approval) => rest
const releaseAnswer = ({ bakedByMail: _mail, bakedById: _id, ...rest }: Release) => rest

async function readLife(request: FastifyRequest, dependencies: LedgerReadDependencies) {
  const { app, version: wanted } = parseRequest(releasePath, request.params)
  await openApplication(app, request, dependencies)
  const ledger = await (await dependencies.reader.open(app)).ledger()
  const release = await ledger.findRelease(app, wanted)
  if (release === undefined) {
    throw new StepError('NOT_FOUND', `there is no release ${app}@${wanted}`, {
      hint: 'GET releases lists them.',
      args: { app, version: wanted },
    })
  }
  const [approvals, marks, deployments] = await Promise.all([
    ledger.approvals(app, undefined, wanted),
    ledger.marks(app, wanted),
    ledger.deployments({ app, version: wanted, limit: 200 }),
  ])
  const isSeen = ({ environment }: { environment: string }) =>
    mayView(request, app, environment, dependencies)
  return {
    release: releaseAnswer(release),
    approvals: approvals.filter(isSeen).map(approvalAnswer),
    marks: marks.filter(isSeen),
    deployments: deployments.filter(isSeen),
  }
}

/** `explain --json`; what it found in an environment that the caller may not view is not there. */
async function explain(
  request: FastifyRequest,
  reply: FastifyReply,
  dependencies: LedgerReadDependencies,
) {
  const { app } = parseRequest(applicationPath, request.params)
  const { thing } = parseRequest(explainQuery, request.query)
  const application = await openApplication(app, request, dependencies)
  const absent = new StepError('NOT_FOUND', 'nothing that you may see is called that', {
    hint: 'Name a release, the MD5 of a WAR, a digest, a commit, a container, or an address.',
  })
  const command = { application, args: ['explain', thing], signal: signalOf(reply) }
  const isSeen = ({ environment }: { environment: string }) =>
    mayView(request, app, environment, dependencies)
  const names = Object.keys(application.settings.environments)
  const isAllSeen = names.every((name) => isSeen({ environment: name }))
  const found = (await readDocument(dependencies.commands, command).catch((error: unknown) => {
    const { code } = toStepError(error)
    if (code === 'NOT_FOUND') throw absent
    if (isAllSeen) throw error
    // Its words may name hosts of an environment that is not there for them.
    throw new StepError(
      code === 'UNAVAILABLE' ? code : 'NOT_FOUND',
      'not every host could be asked',
    )
  })) as unknown as Explained
  const { environment, release, deployment, approvals, marks } = found
  const isOther = release.app !== app || (environment !== null && !isSeen({ environment }))
  if (isOther) throw absent
  return {
    ...{ what: found.what, environment, deployment, release: releaseAnswer(release) },
    approvals: approvals.filter(isSeen).map(approvalAnswer),
    marks: marks.filter(isSeen),
  }
}

interface Explained {
  what: string
  environment: string | null
  release: Release
  deployment: object | null
  approvals: Approval[]
  marks: { environment: string }[]
}
