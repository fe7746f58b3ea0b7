import { setTimeout as sleep } from 'node:timers/promises'
import { StepError, toStepError } from '../../../core/errors.ts'
import type { HostCheck, StopTrial, StopTrialRequest, TriedRequest } from '../../operations.ts'
import { listeningPort, SLOT_LABEL } from '../../slot.ts'
import { besideOf } from '../beside.ts'
import { type HealthSettings, healthPort } from '../health/check.ts'
import { ask, isTaken } from '../health/probe.ts'
import type { ContainerInfo, ContainerSettings, ContainerSpec, Host } from '../host.ts'
import { waitUntilHealthy } from '../rollout/health.ts'
import { type Ownership, refuseForeign } from '../rollout/owner.ts'
import { KILLED, stopUnhurried } from '../rollout/stop.ts'

/** Milliseconds that a request has been at work when its container is asked to stop. */
const HEAD_START = 1000
/** After what time of a stop it is looked whether new connections are taken. */
const STOPPING = 500
const LOOK = { connect: 1000, request: 1000 }
const BETWEEN_LOOKS = 50
/** What a page may take beyond the whole time of a stop. */
const LONGEST_REQUEST = 60_000
/** The first response may take so long without anybody calling it a wait for the application. */
const FIRST_RESPONSE = 1000
/** 128 + SIGTERM */
const TERMINATED = 143

type Options = Pick<StopTrialRequest, 'slow' | 'log' | 'signal'> & Omit<Ownership, 'spec' | 'adopt'>

/**
 * Starts a release in a container of its own, which nobody's requests come to, stops it while a request
 * is at work, and says what became of both. The container is removed, whatever happens.
 */
export async function tryStop(
  host: Host,
  spec: ContainerSpec,
  { slow, log, signal, ...ownership }: Options,
): Promise<StopTrial> {
  const { wanted, port } = trialOf(spec, host.isLocal ?? false)
  const { name } = wanted
  await host.checkSettings(wanted.settings)
  const left = await host.inspect(name)
  refuseForeign(host, [left], { ...ownership, spec })
  if (left) await host.remove(left.id)
  await host.pull(wanted.image, (done, total) => log.progress(`  ${host.name}`, done, total))
  const created = await host.create(wanted)
  try {
    log.info(`host ${host.name}: starting ${name}, which gets no requests but ours`)
    return await observe(host, created, { settings: wanted.settings, port, slow, log, signal })
  } finally {
    await host.remove(created.id).catch((error: unknown) => {
      const { message } = toStepError(error)
      log.warn(`${message}; remove it on that host: \`docker rm -f ${name}\``)
    })
  }
}

/** With no port of its slots; the engine chooses others where its containers are not reached directly. */
export function trialOf(
  spec: ContainerSpec,
  isLocal: boolean,
): { wanted: ContainerSpec; port: number | undefined } {
  const { network, slots, ports, health } = spec.settings
  if (network.startsWith('container:') || network === 'none') {
    throw new StepError(
      'INPUT_INVALID',
      `with container.network: ${network} a stop cannot be tried`,
      {
        hint: 'A second container has no network of its own there: try it in an environment like this.',
      },
    )
  }
  const beside = besideOf(spec)
  const { [SLOT_LABEL]: _slot, ...labels } = beside.labels
  const [first] = slots?.[0].ports ?? ports
  const called = healthPort(health) ?? (first && Number.parseInt(first.container, 10))
  // In a network of its own it listens where the first slot does on the host's.
  const port = called && network === 'host' ? listeningPort(beside.labels, called) : called
  const published = { container: `${port}/tcp`, hostIp: '', hostPort: '' }
  const settings: ContainerSettings = {
    ...beside.settings,
    slots: undefined,
    network: network === 'host' ? 'bridge' : network,
    ports: isLocal || port === undefined ? [] : [published],
    health: atPort(health, port),
  }
  return { wanted: { ...beside, labels, name: `${spec.name}.try`, settings }, port }
}

function atPort(
  health: HealthSettings | undefined,
  port: number | undefined,
): HealthSettings | undefined {
  if (!health || port === undefined) return health
  if ('http' in health) return { ...health, http: { ...health.http, port } }
  return 'tcp' in health ? { ...health, tcp: { port } } : health
}

interface Observed extends Pick<StopTrialRequest, 'slow' | 'log' | 'signal'> {
  settings: ContainerSettings
  port: number | undefined
}

async function observe(
  host: Host,
  { id, name }: ContainerInfo,
  { settings: { health, stopTimeout: timeout }, port, slow, log, signal }: Observed,
): Promise<StopTrial> {
  const over = new AbortController()
  const ended = AbortSignal.any([signal, over.signal])
  try {
    const begun = Date.now()
    await host.start(id)
    const address = port === undefined ? undefined : (await host.inspect(id))?.address(port)
    const path = health && 'http' in health ? health.http.path : '/'
    const opening = address === undefined ? undefined : firstResponse(address, path, ended)
    await waitUntilHealthy(host, { id, name }, health, signal)
    const boot = Date.now() - begun
    log.info(`host ${host.name}: ${name} is healthy`)
    const waited = await Promise.race([opening, sleep(LOOK.request, undefined)])
    const { warnings } = await host.check({ containers: [name] })
    const ending = await stopAtWork(
      host,
      { id, name },
      { address, timeout, slow, log, signal, ended },
    )
    const trial = { ...{ host: host.name, name, boot, firstResponse: waited }, ...ending }
    const own = warnings.filter(({ text }) => text.startsWith(`${name}: `))
    return { ...trial, warnings: [...trialWarnings(trial), ...own] }
  } finally {
    over.abort()
  }
}

interface AtWork extends Pick<StopTrialRequest, 'slow' | 'log' | 'signal'> {
  address: string | undefined
  /** seconds */
  timeout: number
  /** Ends what is still asked, too, when the trial is over. */
  ended: AbortSignal
}

async function stopAtWork(
  host: Host,
  { id, name }: Pick<ContainerInfo, 'id' | 'name'>,
  { address, timeout, slow, log, signal, ended }: AtWork,
): Promise<Pick<StopTrial, 'request' | 'takesNew' | 'stop'>> {
  const request = slow === undefined || !address ? undefined : startRequest(address, slow, ended)
  await Promise.race([request?.response, sleep(request ? HEAD_START : 0)])
  const isTooQuick = request?.isOver() ?? false
  log.info(`host ${host.name}: stopping ${name}${request ? `, GET ${slow} is at work` : ''}`)
  const asked = Date.now()
  const looking = address && !isTooQuick && request ? takesNew(address, ended) : undefined
  await stopUnhurried(host, id, timeout, signal)
  const duration = Date.now() - asked
  const exitCode = (await host.inspect(id))?.exitCode
  const response = await request?.response
  return {
    request: response && { ...response, isTooQuick },
    takesNew: await looking,
    stop: { exitCode, duration, timeout },
  }
}

/** Milliseconds that a request waits which comes as soon as the port takes connections. */
async function firstResponse(
  address: string,
  path: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  while (!signal.aborted) {
    if (await isTaken(address, { ...LOOK, signal })) {
      const begun = Date.now()
      const { status } = await ask(address, path, {
        connect: 1000,
        request: LONGEST_REQUEST,
        signal,
      })
      // An engine's own proxy closes what it has accepted for an application that does not listen.
      if (status !== undefined) return Date.now() - begun
    }
    await sleep(BETWEEN_LOOKS)
  }
  return undefined
}

async function takesNew(address: string, signal: AbortSignal): Promise<boolean> {
  await sleep(STOPPING)
  return isTaken(address, { ...LOOK, signal })
}

function startRequest(address: string, path: string, signal: AbortSignal) {
  let isOver = false
  const begun = Date.now()
  const limits = { connect: 1000, request: 2 * LONGEST_REQUEST, signal }
  const response = ask(address, path, limits).then((answer) => {
    isOver = true
    return { path, ...answer, duration: Date.now() - begun }
  })
  return { response, isOver: () => isOver }
}

const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(1)} s`

type Seen = Omit<StopTrial, 'warnings'>

/** What would cost requests in a deployment. */
export function trialWarnings({
  name,
  firstResponse: waited,
  request,
  takesNew: isOpen,
  stop,
}: Seen): HostCheck['warnings'] {
  const warnings: HostCheck['warnings'] = []
  const add = (text: string, hint: string) => warnings.push({ text: `${name}: ${text}`, hint })
  if (waited !== undefined && waited > FIRST_RESPONSE) {
    add(
      `its port took a connection ${seconds(waited)} before it responded: requests hang while it starts`,
      'For Tomcat: <Connector … bindOnInit="false">. A proxy goes on to the other slot only where the port is closed.',
    )
  }
  if (request?.isTooQuick) add(...tooQuick(request))
  else if (request && (request.error !== undefined || (request.status ?? 0) >= 500)) {
    const how = request.error ?? `HTTP ${request.status}`
    add(
      `GET ${request.path} was cut after ${seconds(request.duration)}: ${how}`,
      'For Tomcat: <Service name="Catalina" gracefulStopAwaitMillis="30000">, and the JVM as the first process.',
    )
  }
  if (isOpen) {
    add(
      'it took a new connection while it stopped, which it resets in the end',
      'For Tomcat: <Connector … bindOnInit="false"> closes its port first.',
    )
  }
  if (stop.exitCode === KILLED) {
    add(
      `it was killed: it did not stop within ${stop.timeout} s`,
      'See that SIGTERM reaches the application, and let container.stop-timeout be 10 s longer than its own graceful stop.',
    )
  } else if (stop.exitCode !== TERMINATED && stop.exitCode !== 0) {
    add(
      `it ended with exit code ${stop.exitCode ?? 'unknown'} when it was asked to stop`,
      'A JVM that ends by SIGTERM has 143: see what else ended it.',
    )
  }
  return warnings
}

function tooQuick({ path, status, error, duration }: TriedRequest): [text: string, hint: string] {
  const what = error ?? `HTTP ${status}`
  return [
    `GET ${path} was over after ${seconds(duration)} (${what}), before it was asked to stop: nothing was proven`,
    'Name the path of a page that takes some 5 s.',
  ]
}
