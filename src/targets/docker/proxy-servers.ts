import { StepError } from '../../core/errors.ts'
import type { ProxyServer } from '../proxy.ts'
import { healthPort } from './health/check.ts'
import type { ContainerSettings, HostAddress } from './host.ts'
import type { PortBinding } from './notation.ts'

/**
 * What a proxy in front of these hosts sends requests to: each slot of each host, or the first
 * published port of each. INPUT_INVALID where no port is known.
 */
export function proxyServers(
  hosts: readonly HostAddress[],
  { slots, ports, network, health }: ContainerSettings,
): ProxyServer[] {
  if (slots) {
    return hosts.flatMap((host) =>
      slots.map(({ ports: [first] }, at) => ({
        host: host.name,
        slot: at + 1,
        address: addressOf(host, first),
        port: Number(first?.hostPort),
      })),
    )
  }
  const [first] = ports
  const port = network === 'host' ? healthPort(health) : Number(first?.hostPort || Number.NaN)
  if (port === undefined || Number.isNaN(port)) {
    throw new StepError('INPUT_INVALID', 'proxy: no port is known that it sends requests to', {
      hint: "Write container.slots: ['18081:8080', '18082:8080'], or container.ports: ['8080:8080'].",
    })
  }
  const binding = network === 'host' ? undefined : first
  return hosts.map((host) => ({
    host: host.name,
    slot: undefined,
    address: addressOf(host, binding),
    port,
  }))
}

/** Where the proxy reaches a published port: as it is bound, else where the engine is reached. */
function addressOf({ address, bind }: HostAddress, binding: PortBinding | undefined): string {
  if (binding?.hostIp) return binding.hostIp
  if (bind !== undefined) return bind
  return address.kind === 'unix' ? '127.0.0.1' : address.host
}
