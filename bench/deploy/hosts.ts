import type Docker from 'dockerode'
import { run } from '../../src/core/process/process.ts'
import { startDockerMachine } from '../../test/support/servers/docker-machine.ts'
import type { Network } from '../../test/support/servers/network.ts'

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
  const machine = await startDockerMachine(network, number, { registry })
  const { name, address, engine, stop } = machine
  const env = { DOCKER_BUILDKIT: '0' }
  const docker = async (...args: string[]) =>
    (await run('docker', ['-H', engine.address, ...args], { env })).stdout
  return { name, address, engine: engine.address, docker, api: engine.docker, stop }
}
