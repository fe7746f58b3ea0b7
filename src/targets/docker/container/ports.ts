import { slotPorts } from '../../slot.ts'
import type { NetworkFacts } from '../container-options.ts'

interface PortFacts extends NetworkFacts {
  HostConfig: NetworkFacts['HostConfig'] & { PortBindings?: Published | null | undefined }
}

type Published = Readonly<Record<string, readonly Binding[] | null | undefined>>

interface Binding {
  HostIp?: string
  HostPort?: string
}

/**
 * Where a container's ports are published, or would be if it ran, as settings write them:
 * `10.1.0.11:18081:8080`. On the host's own network only what its slot says is known.
 */
export function portsOf({ Config, HostConfig, NetworkSettings }: PortFacts): string[] {
  if (HostConfig.NetworkMode === 'host') {
    return slotPorts(Config.Labels).map(([port, hostPort]) => written(port, { HostPort: hostPort }))
  }
  const now = portsIn(NetworkSettings.Ports ?? {})
  return now.length > 0 ? now : portsIn(HostConfig.PortBindings ?? {})
}

function portsIn(published: Published): string[] {
  const all = Object.entries(published).flatMap(([port, bindings]) =>
    (bindings ?? []).filter(({ HostPort }) => HostPort).map((binding) => written(port, binding)),
  )
  // An engine lists each family of addresses on its own.
  return [...new Set(all)]
}

function written(port: string, { HostIp: ip = '', HostPort: hostPort = '' }: Binding): string {
  const everywhere = ip === '' || ip === '0.0.0.0' || ip === '::'
  const host = everywhere ? '' : ip.includes(':') ? `[${ip}]:` : `${ip}:`
  return `${host}${hostPort}:${port.replace(/\/tcp$/, '')}`
}
