import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './free-port.ts'

export interface DockerRegistryOptions {
  /** Only `dockerRegistryUser` may do anything. */
  htpasswd?: boolean
  /** Allow DELETE of manifests and blobs. */
  delete?: boolean
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

/** Why tests with the real registry must be skipped, or false. */
export function dockerRegistryMissing(): string | false {
  const { error } = spawnSync('docker-registry', ['--version'])
  return error ? 'docker-registry is not installed (Debian package docker-registry)' : false
}

/** Starts Debian's docker-registry on a free port and an empty temporary folder. */
export async function startDockerRegistry(
  options: DockerRegistryOptions = {},
): Promise<DockerRegistry> {
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-docker-registry-'))
  const port = await freePort()
  const address = `127.0.0.1:${port}`
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
  const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, OTEL_TRACES_EXPORTER: 'none' },
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      printed += String(chunk)
    })
  }
  const close = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await rm(folder, { recursive: true, force: true })
  }
  for (let tries = 0; !(await answers(address)); tries++) {
    if (tries > 200 || child.exitCode !== null) {
      await close()
      throw new Error(`docker-registry did not start:\n${printed}`)
    }
    await sleep(50)
  }
  return { address, log: () => printed, close }
}

async function answers(address: string): Promise<boolean> {
  try {
    const { status } = await fetch(`http://${address}/v2/`)
    return status === 200 || status === 401
  } catch {
    return false
  }
}
