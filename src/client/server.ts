import { planAnswer, runAccepted, run as runSchema } from '../api/runs.ts'
import { sessionStarted } from '../api/session.ts'
import type { ServerAddress } from '../api/settings.ts'
import { versionAllotted } from '../api/versions.ts'
import { StepError } from '../core/errors.ts'
import type { HttpClient } from '../core/http/client.ts'
import type { Log } from '../core/log.ts'
import type { RemoteStep, StepServer } from '../delivery/context.ts'
import { planSchema } from '../delivery/plan/schema.ts'
import { findToken } from '../identity/who.ts'
import { type Credentials, openCredentials } from './credentials.ts'
import { idempotencyKeys } from './idempotency.ts'
import { applicationOf, inputsToSend } from './inputs.ts'
import { createRequests, notUnderstood, type Requests } from './requests.ts'
import { type StartedRun, watchRun } from './run.ts'

export interface StepServerOptions {
  server: ServerAddress
  http: HttpClient
  log: Log
  signal: AbortSignal
  variables: Readonly<Record<string, string | undefined>>
  /** The application of crosscloud.yml, where there is one. */
  app: string | undefined
  /** The audience of crosscloud.yml's identity: of the token that proves what is decided. */
  audience: string | undefined
  stateFolder: string
  hide(secret: string): void
}

interface Connected extends StepServerOptions {
  requests: Requests
  credentials: Credentials
}

/** Steps run on a server: what they say and give comes here, as if they ran here. */
export function openStepServer(options: StepServerOptions): StepServer {
  const { server, http, log, signal } = options
  const requests = createRequests({ server, http, log })
  const credentials = connect(options, requests)
  const connected = { ...options, requests, credentials }
  const runOnServer: StepServer['run'] = async (step, given) => {
    const body = bodyOf(step, given, options)
    log.info(`${step.name} runs on ${server.url}`)
    const idToken = step.ci?.proven ? await findProof(options) : undefined
    const started = await startRun(step, { ...body, ...(idToken && { idToken }) }, connected)
    const outputs = await watchRun(started, connected)
    const parsed = step.outputs.safeParse(outputs)
    if (!parsed.success) throw notUnderstood(server.url)
    return { ...outputs, ...parsed.data }
  }
  return {
    run: runOnServer,
    async plan(step, given) {
      const { plan: _plan, ...inputs } = given
      const body = bodyOf(step, inputs, options)
      const request = { method: 'POST', path: 'plans', body, answer: planAnswer } as const
      const { facts } = await requests.send({ ...request, credentials, signal })
      const parsed = planSchema.safeParse(facts)
      if (!parsed.success) throw notUnderstood(server.url)
      return parsed.data
    },
    async nextVersion(app, environment) {
      const path = `applications/${encodeURIComponent(app)}/versions`
      const request = { method: 'POST', path, body: { environment } } as const
      const sent = { ...request, answer: versionAllotted, credentials, signal }
      return (await requests.send(sent)).version
    },
    async recordRelease(given) {
      const { recordRelease } = await import('../steps/record-release.ts')
      await runOnServer(recordRelease, given)
    },
  }
}

function connect(options: StepServerOptions, requests: Requests): Credentials {
  const { server, variables, http, signal, log, stateFolder, hide } = options
  refuseStrangers(variables)
  return openCredentials({
    ...{ server: server.url, apiToken: variables.CROSSCLOUD_TOKEN, stateFolder, hide, log },
    findToken: async () =>
      variables.CROSSCLOUD_SERVER_TOKEN ||
      (await findToken(server.url, { variables, http, signal })),
    startSession: (key, token) =>
      requests.sendOnce({
        ...{ method: 'POST', path: 'session', body: { token }, answer: sessionStarted, signal },
        credentials: {
          // A proof for each try: one counts once.
          headers: async (request) => ({
            dpop: await key.prove({ ...request, session: undefined }),
          }),
          renew: async () => false,
        },
      }),
  })
}

/** The token for the audience of crosscloud.yml: the server's own proves nothing to the gate. */
async function findProof(options: StepServerOptions): Promise<string | undefined> {
  const { audience, variables, http, signal, hide } = options
  const found =
    audience === undefined
      ? variables.CROSSCLOUD_ID_TOKEN
      : await findToken(audience, { variables, http, signal })
  if (found) hide(found)
  return found || undefined
}

/** An ID token is for one server; an API token would be sent wherever a branch's crosscloud.yml says. */
function refuseStrangers(variables: StepServerOptions['variables']): void {
  if (!variables.CROSSCLOUD_TOKEN || variables.CROSSCLOUD_SERVER) return
  throw new StepError(
    'INPUT_INVALID',
    'CROSSCLOUD_TOKEN is only sent to the server that CROSSCLOUD_SERVER names',
    { hint: 'Set CROSSCLOUD_SERVER beside it; server in crosscloud.yml is for ID tokens alone.' },
  )
}

interface RunBody {
  app: string
  step: string
  inputs: Record<string, unknown>
  idToken?: string
}

function bodyOf(
  step: RemoteStep,
  given: Readonly<Record<string, unknown>>,
  { app }: StepServerOptions,
): RunBody {
  const inputs = inputsToSend(step, given)
  return { app: applicationOf(app, inputs), step: step.name, inputs }
}

/** Most runs of one job that failed before this one. */
const MOST_ATTEMPTS = 20

/**
 * The run of this job: a new one, one that goes on, or one that has succeeded. After a run that failed
 * the next one is begun, as where the steps run here.
 */
async function startRun(
  step: RemoteStep,
  body: RunBody,
  connected: Connected,
): Promise<StartedRun> {
  const { variables, requests, credentials, signal, log } = connected
  const reads = step.ci?.environment === 'verify'
  const key = idempotencyKeys((name) => variables[name], body, reads)
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
    let tries = 0
    const request = { method: 'POST', path: 'runs', body, answer: runAccepted, signal } as const
    const headers = { 'idempotency-key': key(attempt) }
    const send = () => {
      tries++
      return requests.sendOnce({ ...request, headers, credentials })
    }
    const { run, repeated } = await requests.whileAway(send, signal).catch((error: unknown) => {
      throw tries > 1 || signal.aborted ? perhapsBegun(error) : error
    })
    // A request that was sent twice may have made it itself.
    if (!repeated || tries > 1) return { run }
    const path = `runs/${encodeURIComponent(run)}`
    const asked = { method: 'GET', path, answer: runSchema, credentials, signal } as const
    const { finished } = await requests.send(asked)
    if (finished === null || finished.outcome === 'succeeded') {
      log.info(`run ${run} of this job ${finished ? 'has done that already' : 'goes on'}`)
      return { run }
    }
  }
  throw new StepError('CONFLICT', `${body.step} has failed ${MOST_ATTEMPTS} times in this job`, {
    hint: 'Run the job again, as a new one.',
  })
}

/** The request may have arrived although its answer did not. */
function perhapsBegun(error: unknown): unknown {
  if (!(error instanceof StepError)) return error
  if (error.code !== 'CANCELLED' && error.code !== 'UNAVAILABLE') return error
  return error.with({
    hint: 'Whether the server has taken the run in is not known. Run the same job again: it finds it.',
  })
}
