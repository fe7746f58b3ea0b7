import { pathOf } from '../../secret-settings.ts'
import type { PortBinding } from '../notation.ts'
import type { ParsedContainer } from '../settings.ts'

export interface Conflict {
  /** The setting at fault. */
  key: keyof ParsedContainer
  message: string
}

/** What an engine would refuse only when the container starts, or would not do and not say so. */
export function conflictsOf(container: ParsedContainer): Conflict[] {
  return [
    ...networkConflicts(container),
    ...memoryConflicts(container),
    ...mountConflicts(container),
    ...secretConflicts(container),
  ]
}

const OF_SOME_OTHER = ['hostname', 'dns', 'extra-hosts', 'ports'] as const

function networkConflicts(container: ParsedContainer): Conflict[] {
  const { network = 'bridge', networks = [network], ports = [], sysctls = {} } = container
  const conflicts: Conflict[] = []
  const add = (key: Conflict['key'], message: string) => conflicts.push({ key, message })
  if (container.network !== undefined && container.networks !== undefined) {
    add('networks', 'stands beside network; write one of them')
  }
  const alone = networks.find((name) => /^(?:host|none|container:.*)$/.test(name))
  if (alone !== undefined && networks.length > 1) add('networks', `has ${alone}, which is alone`)
  if (new Set(networks).size < networks.length) add('networks', 'names a network twice')
  const published = (alone === 'host' || alone === 'none') && ports.length > 0
  if (published) add('ports', `are not published with network: ${alone}; leave one of them out`)
  const taken = ports.filter(({ hostPort }) => hostPort).map(publishedAt)
  const twice = taken.find((port, at) => taken.indexOf(port) !== at)
  if (twice !== undefined) add('ports', `publish ${twice} twice`)
  const ofHost = Object.keys(sysctls).find((name) => name.startsWith('net.'))
  if (alone === 'host' && ofHost) add('sysctls', `has ${ofHost}, which network: host does not take`)
  if (alone?.startsWith('container:')) {
    for (const key of OF_SOME_OTHER) {
      if (container[key] !== undefined) add(key, `is that of the other container with ${alone}`)
    }
  }
  return conflicts
}

const publishedAt = ({ hostIp, hostPort, container }: PortBinding) =>
  `${hostIp ? `${hostIp}:` : ''}${hostPort}/${container.split('/')[1]}`

function memoryConflicts({ memory, 'memory-swap': swap }: ParsedContainer): Conflict[] {
  if (swap === undefined) return []
  const message =
    memory === undefined
      ? 'needs memory, too'
      : swap !== -1 && swap < memory && 'is memory and swap together, and less than memory'
  return message ? [{ key: 'memory-swap', message }] : []
}

function mountConflicts(container: ParsedContainer): Conflict[] {
  const { volumes = [], tmpfs = [], 'cap-add': added = [], 'cap-drop': dropped = [] } = container
  const conflicts: Conflict[] = []
  const paths = [...volumes, ...tmpfs].map(({ path }) => path.replace(/\/+$/, ''))
  const twice = paths.find((path, at) => paths.indexOf(path) !== at)
  if (twice !== undefined) {
    conflicts.push({
      key: tmpfs.length > 0 ? 'tmpfs' : 'volumes',
      message: `${twice} is mounted twice`,
    })
  }
  const root = volumes.some(({ path }) => /^\/+$/.test(path))
  if (root) conflicts.push({ key: 'volumes', message: 'has /, which nothing is mounted at' })
  const both = added.find((name) => dropped.includes(name))
  if (both !== undefined) conflicts.push({ key: 'cap-add', message: `${both} is in cap-drop, too` })
  return conflicts
}

function secretConflicts(container: ParsedContainer): Conflict[] {
  const paths = Object.entries(container.secrets ?? {}).map((secret) => pathOf(...secret))
  const conflicts: Conflict[] = []
  const add = (message: string) => conflicts.push({ key: 'secrets', message })
  const twice = paths.find((path, at) => paths.indexOf(path) !== at)
  if (twice !== undefined) add(`has two secrets at ${twice}`)
  if (paths.length > 0 && container['read-only']) {
    add('are files, and Docker places none with read-only: true')
  }
  const hidden = paths.find((path) =>
    container.tmpfs?.some((folder) => path.startsWith(`${folder.path.replace(/\/+$/, '')}/`)),
  )
  if (hidden !== undefined) add(`has ${hidden}, in a folder of tmpfs, which is empty at each start`)
  return conflicts
}
