import { isIP } from 'node:net'
import { StepError } from '../../core/errors.ts'

/** A published port of a container. */
export interface PortBinding {
  /** `8080/tcp` */
  container: string
  hostIp: string
  /** Empty: the engine takes any free one. */
  hostPort: string
}

/** A folder of the host in a container. */
export interface Volume {
  source: string
  path: string
  access: 'ro' | 'rw' | undefined
}

/** Where a container responds when all is well. */
export interface HealthEndpoint {
  port: number
  path: string
}

export const PORT = /^(?:(?:(\[[\da-f:]+\]|[\d.]+):)?(\d{0,5}):)?(\d{1,5})(?:\/(tcp|udp))?$/
export const VOLUME = /^(\/[^:]*|[a-zA-Z0-9][a-zA-Z0-9_.-]+):(\/[^:]*)(?::(ro|rw))?$/
export const HEALTH = /^:(\d{1,5})(\/\S*)$/

export const isPort = (number: string) => Number(number) >= 1 && Number(number) <= 65535

/** Reads `[[address:][hostPort]:]containerPort[/protocol]`, as docker writes it, without ranges. */
export function parsePort(text: string): PortBinding {
  const match = PORT.exec(text)
  const [, address = '', hostPort = '', containerPort = '', protocol = 'tcp'] = match ?? []
  const hostIp = address.replace(/^\[|\]$/g, '')
  // An engine publishes on all interfaces where it cannot read the address.
  const isAddress = hostIp === '' || isIP(hostIp) === (address === hostIp ? 4 : 6)
  const isHostPort = hostPort === '' || isPort(hostPort)
  if (!match || !isAddress || !isHostPort || !isPort(containerPort)) {
    throw new StepError('INPUT_INVALID', `"${text}" is not a port mapping`, {
      hint: 'Write 8080:8080, 127.0.0.1:8080:8080, or 127.0.0.1::8080 for any free port.',
    })
  }
  return { container: `${Number(containerPort)}/${protocol}`, hostIp, hostPort }
}

/** Reads `/host/path:/container/path[:ro]`; the source may be the name of a volume. */
export function parseVolume(text: string): Volume {
  const [, source, path, access] = VOLUME.exec(text) ?? []
  if (source === undefined || path === undefined || text.includes('\0')) {
    throw new StepError('INPUT_INVALID', `"${text}" is not a volume`, {
      hint: 'Write /host/path:/container/path, or the name of a volume before the colon; :ro at the end for read-only.',
    })
  }
  return { source, path, access: access as Volume['access'] }
}

export function formatVolume({ source, path, access }: Volume): string {
  return [source, path, ...(access ? [access] : [])].join(':')
}

/** Reads `:8080/healthz`. */
export function parseHealth(text: string): HealthEndpoint {
  const [, port = '', path = ''] = HEALTH.exec(text) ?? []
  if (isPort(port)) return { port: Number(port), path }
  throw new StepError('INPUT_INVALID', `"${text}" is not a port and a path`, {
    hint: "Write the container's port and a path, like :8080/healthz.",
  })
}

export function formatHealth({ port, path }: HealthEndpoint): string {
  return `:${port}${path}`
}
