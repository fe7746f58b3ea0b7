import type { ContainerCreateOptions } from 'dockerode'
import { StepError } from '../../core/errors.ts'
import { listeningPort } from '../slot.ts'
import { containerPart, hostPart } from './container/options.ts'
import { healthLabels } from './health/label.ts'
import type { ContainerSpec } from './host.ts'
import { formatVolume, type PortBinding } from './notation.ts'

/** Keeps the restart policy a container should have, see driver.ts `stop`. */
export const RESTART_LABEL = 'io.crosscloud.restart'

/** On a container that may have placed files on volumes. */
export const ON_VOLUME_LABEL = 'io.crosscloud.on-volume'

/** The body of the engine's "create a container" call. Bad settings are INPUT_INVALID. */
export function containerOptions(spec: ContainerSpec, bind = ''): ContainerCreateOptions {
  const { settings } = spec
  const ports = settings.network === 'host' ? [] : settings.ports
  return {
    name: spec.name,
    Image: spec.image,
    ...(spec.command && { Entrypoint: spec.command.slice(0, 1), Cmd: spec.command.slice(1) }),
    Labels: {
      ...settings.labels,
      ...spec.labels,
      [RESTART_LABEL]: settings.restart,
      ...healthLabels(settings.health),
      ...(settings.onVolume && { [ON_VOLUME_LABEL]: 'true' }),
    },
    Env: Object.entries(settings.env).map(([key, value]) => environmentEntry(key, value)),
    StopTimeout: settings.stopTimeout,
    ...containerPart(settings),
    ExposedPorts: Object.fromEntries(ports.map(({ container }) => [container, {}])),
    HostConfig: {
      NetworkMode: settings.network,
      PortBindings: bindings(ports, bind),
      Binds: settings.volumes.map(formatVolume),
      RestartPolicy: { Name: settings.restart },
      ...(settings.memory === undefined ? {} : { Memory: settings.memory }),
      ...hostPart(settings),
    },
  }
}

function environmentEntry(key: string, value: string): string {
  if (/^[^=\0]+$/.test(key) && !value.includes('\0')) return `${key}=${value}`
  throw new StepError('INPUT_INVALID', `container.env: "${key}" cannot be set`, {
    hint: 'A variable name has no "=", and neither name nor value has a NUL.',
  })
}

function bindings(
  ports: readonly PortBinding[],
  bind: string,
): Record<string, { HostIp: string; HostPort: string }[]> {
  const byContainer: Record<string, { HostIp: string; HostPort: string }[]> = {}
  for (const { container, hostIp, hostPort } of ports) {
    const list = byContainer[container] ?? []
    list.push({ HostIp: hostIp || bind, HostPort: hostPort })
    byContainer[container] = list
  }
  return byContainer
}

/** The part of an engine's "inspect a container" response that says where it can be reached. */
export interface NetworkFacts {
  Config: { Labels: Record<string, string> }
  HostConfig: { NetworkMode?: string | undefined }
  NetworkSettings: {
    Ports?: Record<string, { HostIp: string; HostPort: string }[] | null | undefined>
    Networks?: Record<string, { IPAddress?: string }>
  }
}

/** `http://…` for a container's port, or undefined when nothing reaches it from here. */
export function addressOf(
  facts: NetworkFacts,
  port: number,
  engine: { local: boolean; hostAddress: string },
): string | undefined {
  if (facts.HostConfig.NetworkMode === 'host') {
    const own = listeningPort(facts.Config.Labels, port)
    return `http://${engine.hostAddress}:${own}`
  }
  for (const { HostIp, HostPort } of facts.NetworkSettings.Ports?.[`${port}/tcp`] ?? []) {
    const host = publishedAt(HostIp, engine)
    if (host && HostPort) return `http://${host}:${HostPort}`
  }
  if (!engine.local) return undefined
  const networks = Object.values(facts.NetworkSettings.Networks ?? {})
  const own = networks.find(({ IPAddress }) => IPAddress)?.IPAddress
  return own ? `http://${own}:${port}` : undefined
}

function publishedAt(
  ip: string,
  engine: { local: boolean; hostAddress: string },
): string | undefined {
  if (ip === '' || ip === '0.0.0.0' || ip === '::') return engine.hostAddress
  if (!engine.local && (ip.startsWith('127.') || ip === '::1')) return undefined
  return ip.includes(':') ? `[${ip}]` : ip
}
