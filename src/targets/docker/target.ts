import { resolve } from 'node:path'
import { StepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { wait } from '../../core/retry.ts'
import { instanceLabels } from '../labels.ts'
import {
  type HostActivity,
  isLeftOut,
  isOut,
  type ProxyPreview,
  type ProxyServer,
  type ReverseProxy,
} from '../proxy.ts'
import { requestAll } from '../responses.ts'
import type {
  Instance,
  InstanceOperations,
  InstanceQuery,
  InstanceRole,
  RolloutRequest,
  Target,
} from '../target.ts'
import { tlsFiles } from './connect.ts'
import { connectDocker, type DockerHostOptions } from './driver.ts'
import { ownHealth } from './health/label.ts'
import type { ContainerInfo, ContainerSettings, ContainerSpec, Host, HostAddress } from './host.ts'
import { previewHost } from './operations/preview.ts'
import { tryStop } from './operations/try-stop.ts'
import { refuseFilesOnVolumes } from './placed-files.ts'
import { waitUntilHealthy } from './rollout/health.ts'
import { createRolloutProxy, type RolloutProxy } from './rollout/proxy.ts'
import { activityOf, remainsOf, survey } from './rollout/repair.ts'
import { nameOf, roles } from './rollout/roles.ts'
import { rollOut } from './rollout/rollout.ts'

/** The settings of an environment's containers; each part is read when it is used. */
export interface DockerTargetSettings {
  readonly kind: 'docker'
  /** The environment's. */
  readonly name?: string | undefined
  readonly hosts: readonly HostAddress[]
  readonly containerName: string
  readonly container: ContainerSettings
}

export interface DockerTargetOptions
  extends Pick<DockerHostOptions, 'credentials' | 'signal' | 'mask'> {
  /** Folder that relative paths start from. */
  folder: string
  /** Opens the environment's proxy, where it has one that deployments work. */
  proxy?: (() => Promise<ServedProxy | undefined>) | undefined
}

/** A proxy and all servers of the environment, also those that a rollout passes by. */
export interface ServedProxy {
  proxy: ReverseProxy
  servers: readonly ProxyServer[]
}

/** milliseconds */
const RESPONSE_TIMEOUT = 15_000

/** An environment's Docker hosts as one target: a container on each host. */
export function openDockerTarget(
  settings: DockerTargetSettings,
  options: DockerTargetOptions,
): Target {
  const opened = new Map<string, Promise<Host>>()
  const addresses = settings.hosts
  const hosts = addresses.map(({ name }) => name)
  const open = (name: string): Promise<Host> => {
    const address = addresses.find((each) => each.name === name)
    if (address === undefined) throw new StepError('INTERNAL', `there is no host ${name}`)
    const host = opened.get(name) ?? connect(address, settings.name, options)
    opened.set(name, host)
    return host
  }
  const onAll = <T>(work: (host: Host) => Promise<T>) =>
    requestAll(hosts, (name) => inTime(name, open(name).then(work)))
  const openAll = () => Promise.all(hosts.map(open))

  return {
    hosts,
    ping: () => onAll((host) => host.ping()),
    instances: (query) =>
      onAll(async (host) => {
        const containers = await find(host, settings, query)
        return containers.map((container) => instanceOf(host, container, settings))
      }),
    remains: () =>
      onAll(async (host) => {
        const { containerName } = settings
        return remainsOf(containerName, await survey(host, containerName))
      }),
    preview: (request) =>
      onAll((host) => {
        const ownership = { ...OWNERSHIP, spec: request, adopt: request.adopt }
        return previewHost(host, settings, request, ownership, (container) =>
          instanceOf(host, container, settings),
        )
      }),
    previewProxy: async () => {
      const found = await options.proxy?.()
      const activityOn = async (name: string) =>
        activityOf(await survey(await open(name), settings.containerName))
      return found && previewProxy(found.proxy, hosts, (name) => inTime(name, activityOn(name)))
    },
    checkFiles: (files) => refuseFilesOnVolumes(files, settings.container),
    rollOut: async (request) =>
      rollOut({
        ...rolloutOptions(await openAll(), settings, request),
        proxy: await openProxy(options),
      }),
    read: async ({ host, id }, path) => (await open(host)).archive(id, path),
    changes: async ({ host, id }) => (await open(host)).changes(id),
    origin: async ({ host, id }) => (await open(host)).origin(id),
    isFolder: async ({ host, id }, path) => (await open(host)).isFolder(id, path),
    readLink: async ({ host, id }, path) => (await open(host)).readLink(id, path),
    logs: async ({ host, id }, lines) => (await open(host)).logs(id, lines),
    start: async ({ host, id }) => (await open(host)).start(id),
    stop: async ({ host, id }) => (await open(host)).stop(id, settings.container.stopTimeout),
    remove: async ({ host, id }) => (await open(host)).remove(id),
    ...operationsOf(open, settings),
    check: () =>
      onAll((host) => host.check({ containers: [nameOf(settings.containerName, 'current')] })),
    tryStop: async (name, { image, labels, files, ...how }) => {
      const host = await open(name)
      const spec = specOf(settings, { image, labels, files })
      return tryStop(host, spec, { ...how, ...OWNERSHIP })
    },
    images: {
      list: () => onAll((host) => host.images()),
      remove: async (host, reference) => (await open(host)).removeImage(reference),
    },
    async close() {
      await Promise.allSettled([...opened.values()].map(async (host) => (await host).close()))
    },
  }
}

async function openProxy({ proxy }: DockerTargetOptions): Promise<RolloutProxy | undefined> {
  const found = await proxy?.()
  return found && createRolloutProxy(found.proxy, found.servers)
}

async function previewProxy(
  proxy: ReverseProxy,
  hosts: readonly string[],
  activityOn: (host: string) => Promise<HostActivity>,
): Promise<ProxyPreview> {
  const { name, isWeighted } = proxy
  const leftover = await proxy.check()
  const states = await proxy.states().catch((error: unknown) => {
    if (leftover === undefined) throw error
    return undefined
  })
  const out = hosts.filter((host) => isOut(host, states))
  const judged = await Promise.all(
    out.map(async (host) =>
      isLeftOut(await activityOn(host).catch(() => 'unknown' as const), proxy) ? host : [],
    ),
  )
  return { name, isWeighted, leftOut: judged.flat(), leftover, states }
}

function operationsOf(
  open: (name: string) => Promise<Host>,
  settings: DockerTargetSettings,
): InstanceOperations {
  return {
    async *readLog({ host, id }, query, signal) {
      yield* (await open(host)).readLog(id, query, signal)
    },
    stats: async ({ host, id }) => (await open(host)).stats(id),
    exec: async ({ host, id }, command, options) => (await open(host)).exec(id, command, options),
    threadDump: async ({ host, id }, signal) => (await open(host)).threadDump(id, signal),
    variables: async ({ host, id }) => (await open(host)).variables(id),
    async restart({ host: name, id }, signal) {
      const host = await open(name)
      const { stopTimeout, health } = settings.container
      await host.stop(id, stopTimeout)
      await host.start(id)
      const container = await host.inspect(id)
      if (!container)
        throw new StepError('NOT_FOUND', `host ${name}: ${id} was removed by somebody`)
      await waitUntilHealthy(host, container, ownHealth(container.labels, health), signal)
    },
  }
}

function connect(
  { name, address, certificates, bind }: HostAddress,
  environment: string | undefined,
  { folder, credentials, signal, mask }: DockerTargetOptions,
): Promise<Host> {
  const tls = certificates === undefined ? undefined : tlsFiles(resolve(folder, certificates))
  return connectDocker({ name, address, environment, bind, tls, credentials, signal, mask })
}

async function inTime<T>(host: string, work: Promise<T>): Promise<T> {
  const stop = new AbortController()
  const late = wait(RESPONSE_TIMEOUT, stop.signal).then(() => {
    const seconds = RESPONSE_TIMEOUT / 1000
    throw new StepError('UNAVAILABLE', `host ${host} did not respond within ${seconds} s`)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    stop.abort()
    late.catch(() => {})
  }
}

async function find(
  host: Host,
  settings: DockerTargetSettings,
  query: InstanceQuery,
): Promise<ContainerInfo[]> {
  if ('labels' in query) return host.list(query.labels)
  const names =
    'name' in query ? [query.name] : query.roles.map((role) => nameOf(settings.containerName, role))
  const found = await Promise.all(names.map((name) => host.inspect(name)))
  return found.filter((container) => container !== undefined)
}

function instanceOf(
  host: Host,
  container: ContainerInfo,
  settings: DockerTargetSettings,
): Instance {
  const { id, name, image, labels, running, exitCode, restarts, isRestarting, ports } = container
  const role = roleOf(name, settings.containerName)
  const state = { running, exitCode, restarts, isRestarting }
  return { id, name, host: host.name, role, image, labels, ...state, ports }
}

function roleOf(name: string, containerName: string): InstanceRole | undefined {
  const role = roles.find((each) => nameOf(containerName, each) === name)
  return role === 'older' ? 'previous' : role
}

/** The labels that a container's owner is known by. */
const OWNERSHIP = {
  lockLabel: instanceLabels.lock,
  ownerLabels: [instanceLabels.application, instanceLabels.environment],
} as const

const specOf = (
  { containerName: name, container }: DockerTargetSettings,
  what: Pick<ContainerSpec, 'image' | 'labels' | 'files'>,
): ContainerSpec => ({ name, ...what, settings: container })

function rolloutOptions(hosts: Host[], settings: DockerTargetSettings, request: RolloutRequest) {
  const { image, labels, files, log, signal, verify, ...rest } = request
  const { strategy, commands, checkLock, endingOf, adopt } = rest
  return {
    hosts,
    strategy,
    commands,
    spec: specOf(settings, { image, labels, files }),
    log,
    signal,
    checkLock,
    endingOf,
    adopt,
    ...OWNERSHIP,
    verify: (host: Host, container: ContainerInfo, log: Log) =>
      verify(instanceOf(host, container, settings), log),
  }
}
