import type { HostConfig } from 'dockerode'
import { withoutControls } from '../../../core/plain-text.ts'
import type { ContainerSettings } from '../host.ts'
import { formatVolume } from '../notation.ts'
import { hostPart } from './options.ts'

/** What an engine is told of a container, and what it says of one. */
interface Facts {
  Config: { User?: string | undefined }
  HostConfig: HostConfig
}

/** By these sockets a container starts others, as it likes. */
const ENGINE_SOCKET = /\/(?:docker|podman|containerd|crio)\.sock$/
const ROOT = /^(?:root|0+)(?::|$)/
const HOST_MODE = /^(?:host|container:.*)$/

/** What gives a container power over its host, in words; nothing for most. */
export function hostAccess({ Config: { User = '' }, HostConfig }: Facts): string[] {
  const { Binds, Mounts, CapAdd, Devices, NetworkMode, PidMode, IpcMode } = HostConfig
  const devices: { PathOnHost: string }[] = Devices ?? []
  const binds = (Binds ?? []).map((bind) => bind.split(':'))
  const mounts = (Mounts ?? []).filter(({ Type }) => Type === 'bind')
  const found = [
    ...binds.map(([source = '', path = '', ...options]) =>
      mountText(source, path, options.join(',').split(',').includes('ro')),
    ),
    ...mounts.map(({ Source, Target, ReadOnly }) => mountText(Source, Target, ReadOnly === true)),
    ...(HostConfig.Privileged ? ['is privileged'] : []),
    ...texts(CapAdd).map((name) => `has the capability ${name.replace(/^CAP_/, '')}`),
    ...devices.map(({ PathOnHost }) => `uses the device ${PathOnHost} of the host`),
    ...(ROOT.test(User) ? ['runs as root by its settings'] : []),
    ...shared('network', NetworkMode),
    ...shared('processes', PidMode),
    ...shared('shared memory', IpcMode),
    ...texts(HostConfig.SecurityOpt).map((option) => `has the security option ${option}`),
  ]
  return [...new Set(found.filter((text) => text !== undefined).map(oneLine))]
}

/** The same of a container that is to be made. */
export function wantedAccess(settings: ContainerSettings): string[] {
  const Binds = settings.volumes.map(formatVolume)
  return hostAccess({
    Config: { User: settings.user },
    HostConfig: { NetworkMode: settings.network, Binds, ...hostPart(settings) },
  })
}

/** A named volume is no part of the host that others see. */
function mountText(source: string, path: string, isReadOnly: boolean): string | undefined {
  if (!source.startsWith('/')) return undefined
  if (ENGINE_SOCKET.test(source)) return `commands the container engine by ${source}`
  return `mounts ${source} of the host at ${path}${isReadOnly ? ', read-only' : ''}`
}

function shared(what: string, mode: string | undefined): string[] {
  if (mode === undefined || !HOST_MODE.test(mode)) return []
  return [`shares the ${what} of ${mode === 'host' ? 'the host' : mode}`]
}

/** An engine says null where there are none. */
const texts = (all: string[] | null | undefined) => all ?? []

const oneLine = (text: string) => withoutControls(text.replace(/\s+/g, ' '))
