import { type Lease, leaseAnswer } from '../api/agents.ts'
import type { Credentials } from '../client/credentials.ts'
import { createRequests } from '../client/requests.ts'
import { StepError, toStepError } from '../core/errors.ts'
import { readPemFile } from '../core/files/tls-files.ts'
import { createHttpClient, type HttpClient } from '../core/http/client.ts'
import { proxiesOf } from '../core/http/proxy.ts'
import type { Log } from '../core/log.ts'
import { wait } from '../core/retry.ts'
import type { Secrets } from '../core/secrets.ts'
import { compilePolicy } from '../policy/compile.ts'
import { openApplications } from '../server/applications/applications.ts'
import { workerEnvironmentOf } from '../server/effects/worker-environment.ts'
import { openIssuers } from '../server/sessions/issuers.ts'
import type { AgentKey } from './key.ts'
import type { AgentSettings } from './settings.ts'
import { type AgentWork, workOn } from './work.ts'

export interface AgentOptions {
  settings: AgentSettings
  key: AgentKey
  version: string
  /** The file of the command line program, to run commands with. */
  program: string
  variables: Readonly<Record<string, string | undefined>>
  log: Log
  secrets: Secrets
  /** Fires when no more work is to be taken. */
  signal: AbortSignal
}

/** Asks for work until it is stopped, and ends when what it has begun is over. */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { settings, signal, log } = options
  const hurry = new AbortController()
  const clients: HttpClient[] = []
  const work = await openWork(options, clients)
  const running = new Set<Promise<void>>()
  try {
    await takeWork(options, work, running, hurry.signal)
    if (running.size > 0) log.info(`stopping: ${running.size} under way may end`)
    const timer = setTimeout(() => hurry.abort(stopped()), settings['shutdown-timeout'])
    await Promise.all(running)
    clearTimeout(timer)
  } finally {
    // Where asking failed, what is under way goes to another agent.
    if (!signal.aborted) hurry.abort(stopped())
    await Promise.all(running)
    work.issuers.close()
    for (const client of clients) client.close()
  }
}

const stopped = () => new StepError('CANCELLED', 'the agent was stopped')

async function openWork(options: AgentOptions, clients: HttpClient[]): Promise<AgentWork> {
  const { settings, key, variables, program, log, secrets } = options
  const { server, folder, issuers, policy, token } = settings
  const open = async (ca: string | undefined, owner: string) => {
    const authority = ca === undefined ? undefined : await readPemFile(ca, { folder, owner })
    const proxies = proxiesOf(variables)
    const client = createHttpClient({ proxies, ...(authority && { ca: () => authority }) })
    clients.push(client)
    return client
  }
  const http = await open(settings.ca, 'ca in crosscloud.agent.yml')
  const worker = workerEnvironmentOf({ settings, variables, program, log, secrets })
  return {
    requests: createRequests({ server, http: await open(server.ca, 'server.ca'), log }),
    credentials: tokenCredentials(token, key),
    issuers: await openIssuers({
      ...{ settings: { url: server.url, issuers }, folder, http, variables },
      signal: new AbortController().signal,
    }),
    applications: openApplications({ settings, worker, variables }),
    policy: compilePolicy(policy),
    urlOf: (run) => `${server.url}/api/v1/runs/${run}`,
    worker,
    log,
  }
}

/** Every request is proven with the key: whoever reads the token cannot use it. */
function tokenCredentials(token: string, key: AgentKey): Credentials {
  return {
    async headers({ method, url, now }) {
      const dpop = await key.prove({ method, url, session: token, now })
      return { authorization: `DPoP ${token}`, dpop }
    },
    renew: async () => false,
  }
}

const LONGEST_PAUSE = 30_000

async function takeWork(
  { settings: { concurrency, server }, version, signal, log }: AgentOptions,
  work: AgentWork,
  running: Set<Promise<void>>,
  hurry: AbortSignal,
): Promise<void> {
  const aborted = untilAborted(signal)
  let [failures, wasHeard] = [0, false]
  while (!signal.aborted) {
    if (running.size >= concurrency) {
      await Promise.race([...running, aborted])
      continue
    }
    try {
      const lease = await askForLease(version, work, signal)
      if (failures > 0 || !wasHeard) log.info(`${server.url} gives this agent its work`)
      ;[failures, wasHeard] = [0, true]
      if (lease === null) continue
      const job = workOn(lease, hurry, work).finally(() => running.delete(job))
      running.add(job)
    } catch (thrown) {
      if (signal.aborted) return
      const error = toStepError(thrown)
      // What is wrong from the start is for whoever starts it.
      if (!wasHeard && error.code !== 'UNAVAILABLE') throw error
      if (failures === 0) log.warn(`asking for work: ${error.message}`)
      const pause = Math.min(500 * 2 ** failures++, LONGEST_PAUSE) * (0.5 + Math.random() / 2)
      await wait(error.retryAfter ?? pause, signal).catch(() => {})
    }
  }
}

async function askForLease(
  version: string,
  { requests, credentials }: AgentWork,
  signal: AbortSignal,
): Promise<Lease | null> {
  const request = { method: 'POST', path: 'agents/lease', body: { version } } as const
  const { lease } = await requests.sendOnce({
    ...request,
    answer: leaseAnswer,
    credentials,
    signal,
  })
  return lease
}

const untilAborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
