import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Docker from 'dockerode'
import { removeTree } from '../../../src/demo/leftovers.ts'
import { until } from '../until.ts'
import type { TestEngine } from './engine.ts'
import { type Machine, makeMachine, type Network } from './network.ts'
import { type RunningServer, serverFolder, startServer } from './server.ts'

const exec = promisify(execFile)

/** A machine with a Docker Engine: in a network of its own, with the firewall rules that publish ports. */
export interface DockerMachine extends Pick<Machine, 'cut' | 'mend'> {
  name: string
  /** Where its published ports are reached: no loopback, so not through docker-proxy. */
  address: string
  engine: TestEngine
  /** Where the engine keeps its images and containers. */
  dataRoot: string
  /** Runs a program in its network. */
  run(...command: string[]): Promise<unknown>
  /** Kills the engine, not its containers. */
  kill(): Promise<void>
  /** Starts an engine again where one was killed. */
  start(): Promise<void>
  stop(): Promise<void>
}

interface DockerMachineOptions {
  /** `address:port` of a registry that speaks plain HTTP. */
  registry: string
  /** A folder of `makeCertificates` for its address, to listen there with mutual TLS, too. */
  certificates?: string
  /** Bytes of its disk; default: as many as there are. */
  diskSize?: number
}

export async function startDockerMachine(
  network: Network,
  number: number,
  options: DockerMachineOptions,
): Promise<DockerMachine> {
  const { folder } = await serverFolder('machine')
  const dataRoot = join(folder, 'data')
  const machine = await makeMachine(network, number)
  const clear = async () => {
    await removeTree(folder)
    await machine.remove()
  }
  const [program = '', ...enter] = machine.enter
  const socket = join(folder, 'docker.sock')
  const docker = new Docker({ socketPath: socket })
  const tcp = options.certificates && listenWithTls(machine.address, options.certificates)
  const args = [
    ...[...enter, 'dockerd', '-H', `unix://${socket}`, '-p', join(folder, 'pid')],
    ...['--data-root', dataRoot, '--exec-root', join(folder, 'exec')],
    ...['--insecure-registry', options.registry, '--shutdown-timeout', '5'],
    ...(tcp ? tcp.flags : []),
  ]
  let daemon: RunningServer
  const start = async () => {
    await endOf(join(folder, 'exec/containerd/containerd.pid'))
    daemon = await startServer(program, args, { ready: () => docker.ping(), detached: true })
  }
  const stop = async () => {
    await removeContainers(docker).catch(() => {})
    await daemon.stop()
    await clear()
  }
  try {
    await mkdir(dataRoot)
    const { diskSize } = options
    if (diskSize) await exec('mount', ['-t', 'tmpfs', '-o', `size=${diskSize}`, 'disk', dataRoot])
    await start()
  } catch (error) {
    await clear()
    throw error
  }
  const engine = { socket, address: `unix://${socket}`, docker, tcp: tcp || undefined, stop }
  const { address, cut, mend } = machine
  const run = (...command: string[]) => exec(program, [...enter, ...command])
  const kill = () => daemon.stop('SIGKILL')
  const name = `app-0${number}`
  return { name, address, engine, dataRoot, cut, mend, run, kill, start, stop }
}

function listenWithTls(address: string, certificates: string) {
  const file = (name: string) => join(certificates, name)
  const url = `tcp://${address}:2376`
  const flags = ['-H', url, '--tlsverify', '--tlscacert', file('ca.pem')]
  flags.push('--tlscert', file('server.pem'), '--tlskey', file('server-key.pem'))
  return { address: url, certificates, flags }
}

/** The kernel kills containerd a moment after its engine; the next engine would take it for alive. */
async function endOf(pidFile: string): Promise<void> {
  const pid = (await readFile(pidFile, 'utf8').catch(() => '')).trim()
  const isGone = () => pid === '' || !existsSync(`/proc/${pid}`)
  if (!(await until(isGone, 10_000))) throw new Error(`containerd ${pid} does not end`)
}

async function removeContainers(docker: Docker): Promise<void> {
  const containers = await docker.listContainers({ all: true })
  await Promise.allSettled(
    containers.map(({ Id }) => docker.getContainer(Id).remove({ force: true, v: true })),
  )
}
