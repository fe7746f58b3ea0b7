import { resolve } from 'node:path'
import { StepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { RunOptions } from '../core/process/process.ts'
import { tlsFiles } from '../targets/docker/connect.ts'
import type { ProxyServer, ReverseProxy } from '../targets/proxy.ts'
import { checkServers, type Driver } from './driver.ts'
import type { MachineOptions } from './machine/machine.ts'
import { openMachine } from './machine/open.ts'
import type { Owner } from './nginx/include.ts'
import type { HaproxySettings, NginxSettings, ProxySettings } from './settings.ts'
import { createProxy } from './traffic.ts'

export interface ProxyOptions {
  /** The name of the upstream or the backend, where the settings have none: `webapi-production`. */
  name: string
  /** Whose servers they are, for what the proxy is given. */
  owner?: Owner | undefined
  /** All of the environment's. */
  servers: readonly ProxyServer[]
  /** Folder that relative paths and the commands start from. */
  folder: string
  log: Log
  /** A file for `ssh -F`; without it ssh reads the user's own. */
  sshConfig?: string | undefined
  /** For the programs that it is worked with; default: this process's. */
  programs?: Pick<RunOptions, 'env' | 'cleanEnv'> | undefined
  /** Milliseconds until the proxy must work by a change; default by what it has to do for that. */
  timeout?: number
}

/** The proxy of an environment; nothing is sent to it yet. */
export async function openProxy(
  settings: ProxySettings,
  options: ProxyOptions,
): Promise<ReverseProxy> {
  checkServers(options.servers)
  return createProxy(await openDriver(settings, options), { ...options, drain: settings.drain })
}

async function openDriver(
  { nginx, haproxy, commands }: ProxySettings,
  options: ProxyOptions,
): Promise<Driver> {
  if (nginx) return openNginx(nginx, options)
  if (haproxy) return openHaproxy(haproxy, options)
  if (commands) {
    const { createCommandsDriver } = await import('./commands/driver.ts')
    return createCommandsDriver({ settings: commands, ...options })
  }
  throw new StepError('INTERNAL', 'the settings of a proxy name none')
}

async function openNginx(settings: NginxSettings, options: ProxyOptions): Promise<Driver> {
  const { createNginxDriver } = await import('./nginx/driver.ts')
  const { at: address, container, certificates } = settings
  const { name: upstream, owner, servers, folder, sshConfig, programs, timeout } = options
  const tls = certificates === undefined ? undefined : tlsFiles(resolve(folder, certificates))
  const machine = await openMachine({ address, container, tls, sshConfig, programs })
  return createNginxDriver({ machine, settings, upstream, owner, servers, timeout })
}

async function openHaproxy(settings: HaproxySettings, options: ProxyOptions): Promise<Driver> {
  const { createHaproxyDriver } = await import('./haproxy/driver.ts')
  const { socket } = settings
  const { name: backend, owner, servers, sshConfig, programs } = options
  const environment = owner?.environment
  const address: MachineOptions['address'] = socket.kind === 'ssh' ? socket : undefined
  const machine = () => openMachine({ address, sshConfig, programs })
  return createHaproxyDriver({ settings, backend, environment, servers, machine, sshConfig })
}
