import type { HttpClient } from '../core/http/client.ts'
import { isWorker } from '../delivery/actor.ts'
import type { StepServer } from '../delivery/context.ts'
import type { Settings } from '../settings.ts'
import { serverAddress } from './address.ts'
import type { StepServerOptions } from './server.ts'

export interface FindOptions
  extends Pick<StepServerOptions, 'variables' | 'log' | 'signal' | 'stateFolder' | 'hide'> {
  /** crosscloud.yml, where there is one. */
  settings: Pick<Settings, 'app' | 'server' | 'identity'> | undefined
  /** A client that trusts the authority of this file, too. */
  http(ca: string | undefined): Promise<HttpClient>
}

/** The server that this process's steps run on; undefined: they run here, as a server's own do. */
export async function findStepServer(options: FindOptions): Promise<StepServer | undefined> {
  const { variables, settings } = options
  if (isWorker((name) => variables[name])) return undefined
  const server = serverAddress(variables.CROSSCLOUD_SERVER, settings?.server)
  if (server === undefined) return undefined
  const { openStepServer } = await import('./server.ts')
  const http = await options.http(server.ca)
  const identity = settings?.identity
  const audience = typeof identity === 'object' ? identity.audience : undefined
  return openStepServer({ ...options, server, http, app: settings?.app, audience })
}
