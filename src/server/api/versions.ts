import type { FastifyInstance } from 'fastify'
import { StepError } from '../../core/errors.ts'
import type { Settings } from '../../settings.ts'
import { contextOf } from '../applications/applications.ts'
import { notThere, record, requireAllowed } from './access.ts'
import { operations } from './contract/operations.ts'
import { withTypes } from './contract/typed.ts'
import type { ApiDependencies } from './dependencies.ts'

/** Milliseconds: of the whole request, and how old the known head of the branch may be. */
const TIMEOUT = 60_000
const AGE = 30_000

/** `POST applications/{app}/versions`: a job that builds has no ledger to ask. */
export function addVersionRoutes(
  api: FastifyInstance,
  { applications, worker, decide, audit }: ApiDependencies,
): void {
  const access = { decide, audit }
  const path = '/applications/:app/versions'
  withTypes(api).post(path, { schema: operations.allotVersion }, async (request, reply) => {
    const { app } = request.params
    const { environment } = request.body
    const act = { verb: 'build', app, environment } as const
    const decision = await requireAllowed(request, act, access)
    if (!applications.names.includes(app)) throw notThere(app, environment)
    const opened = await applications.open(app, AbortSignal.timeout(TIMEOUT), AGE)
    requireFirst(opened.settings, app, environment)
    const context = contextOf(opened, worker, AbortSignal.timeout(TIMEOUT), { readOnly: false })
    const version = await context
      .ledger()
      .then((ledger) => ledger.nextVersion(app))
      .finally(() => context.close())
    await record(request, { ...act, object: { version } }, decision, access)
    return reply.code(201).send({ version })
  })
}

function requireFirst({ environments }: Settings, app: string, environment: string): void {
  if (!Object.hasOwn(environments, environment)) throw notThere(app, environment)
  const { from } = environments[environment] ?? {}
  if (from === undefined) return
  throw new StepError('INPUT_INVALID', `${environment} comes after ${from}`, {
    hint: 'A release begins in the first environment; name that.',
  })
}
