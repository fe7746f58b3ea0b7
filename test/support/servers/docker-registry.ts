import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from './ports.ts'
import { serverFolder, startServer } from './server.ts'

export interface DockerRegistryOptions {
  /** Only `dockerRegistryUser` may do anything. */
  htpasswd?: boolean
  /** Allow DELETE of manifests and blobs. */
  delete?: boolean
  /** Address of this machine to listen at; default: loopback. */
  host?: string
}

export interface DockerRegistry {
  /** `127.0.0.1:port` */
  address: string
  /** What it printed so far. */
  log(): string
  close(): Promise<void>
}

/** The only account of a registry with `htpasswd`. */
export const dockerRegistryUser = { username: 'alice', password: 'open-sesame' }
const HTPASSWD = 'alice:$2b$04$ZsXw0udOoRWs1eP86vNADeLqX.GxupNGtpntqWsMgVtci2aU6lPVy\n'

/** Starts Debian's docker-registry on a free port and an empty temporary folder. */
export async function startDockerRegistry(
  options: DockerRegistryOptions = {},
): Promise<DockerRegistry> {
  const { folder, remove } = await serverFolder('registry')
  const address = `${options.host ?? '127.0.0.1'}:${await freePort()}`
  await writeFile(join(folder, 'htpasswd'), HTPASSWD)
  const config = {
    version: '0.1',
    log: { level: 'warn' },
    storage: {
      filesystem: { rootdirectory: join(folder, 'data') },
      delete: { enabled: options.delete === true },
    },
    http: { addr: address },
    ...(options.htpasswd
      ? { auth: { htpasswd: { realm: 'test', path: join(folder, 'htpasswd') } } }
      : {}),
  }
  // JSON is YAML.
  await writeFile(join(folder, 'config.yml'), JSON.stringify(config))
  const server = await startServer('docker-registry', ['serve', join(folder, 'config.yml')], {
    ready: () => fetch(`http://${address}/v2/`),
    env: { PATH: process.env.PATH, OTEL_TRACES_EXPORTER: 'none' },
  })
  const close = async () => {
    await server.stop('SIGKILL')
    await remove()
  }
  return { address, log: server.log, close }
}
