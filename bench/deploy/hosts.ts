import { join } from 'node:path'
import Docker from 'dockerode'
import { run } from '../../src/core/process/process.ts'
import { removeTree } from '../../src/demo/leftovers.ts'
import { serverFolder, startServer } from '../../test/support/servers/server.ts'
import { makeMachine, type Network } from './network.ts'

/** A Docker host: an engine in a network of its own, with the firewall rules that publish ports. */
export interface BenchHost {
  name: string
  /** Where its published ports are reached: no loopback, so not through docker-proxy. */
  address: string
  /** `unix://…` */
  engine: string
  docker(...args: string[]): Promise<string>
  /** The same without a process for each call. */
  api: Docker
  stop(): Promise<void>
}

/** @param registry `address:port` of a registry that speaks plain HTTP */
export async function startHost(
  network: Network,
  number: number,
  registry: string,
): Promise<BenchHost> {
  const { folder } = await serverFolder('bench-host')
  const machine = await makeMachine(network, number)
  const socket = join(folder, 'docker.sock')
  const engine = `unix://${socket}`
  const docker = async (...args: string[]) =>
    (await run('docker', ['-H', engine, ...args], { env: { DOCKER_BUILDKIT: '0' } })).stdout
  const clear = async () => {
    await removeTree(folder)
    await machine.remove()
  }
  const [program = '', ...enter] = machine.enter
  const args = [
    ...[...enter, 'dockerd', '-H', engine, '-p', join(folder, 'pid')],
    ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
    ...['--insecure-registry', registry, '--shutdown-timeout', '5'],
  ]
  const api = new Docker({ socketPath: socket })
  const ready = () => api.ping()
  try {
    const daemon = await startServer(program, args, { ready, detached: true })
    const stop = async () => {
      const containers = await docker('ps', '--all', '--quiet').catch(() => '')
      const ids = containers.split('\n').filter(Boolean)
      if (ids.length > 0) await docker('rm', '--force', '--volumes', ...ids).catch(() => {})
      await daemon.stop()
      await clear()
    }
    return { name: `app-0${number}`, address: machine.address, engine, docker, api, stop }
  } catch (error) {
    await clear()
    throw error
  }
}
