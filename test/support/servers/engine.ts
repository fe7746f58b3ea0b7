import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Docker from 'dockerode'
import { makeCertificates } from '../data/certificates.ts'
import { freePort, reach } from './ports.ts'
import { missingProgram, serverFolder, startServer } from './server.ts'

export const exec = promisify(execFile)

export interface TestEngine {
  socket: string
  /** `unix://…` */
  address: string
  docker: Docker
  /** With `tls`: where it also listens, and the folder with ca.pem, cert.pem and key.pem. */
  tcp: { address: string; certificates: string } | undefined
  stop(): Promise<void>
}

/** Why no Docker Engine, nor these programs, can be used here; false when they can. */
export function noEngine(...programs: string[]): string | false {
  if (process.getuid?.() !== 0) return 'needs root to start a Docker Engine'
  return missingProgram('dockerd', 'ip', ...programs)
}

/**
 * A Docker Engine of its own: its data, its bridge, its subnet, and no rule in iptables, so that
 * several can run at once (ports are published by docker-proxy).
 */
export async function startEngine(
  options: { tls?: boolean; buildKit?: boolean } = {},
): Promise<TestEngine> {
  const { folder } = await serverFolder('engine')
  const settings = join(folder, 'daemon.json')
  await writeFile(settings, JSON.stringify({ features: { buildkit: options.buildKit === true } }))
  const bridge = `cce${Math.random().toString(36).slice(2, 10)}`
  await makeBridge(bridge)
  const socket = join(folder, 'docker.sock')
  const tcp = options.tls ? await makeTls(join(folder, 'tls')) : undefined
  const docker = new Docker({ socketPath: socket })
  try {
    const daemon = await startServer(
      'dockerd',
      [
        ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
        ...['-p', join(folder, 'pid'), '-H', `unix://${socket}`, '--bridge', bridge],
        ...['--config-file', settings],
        ...['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false'],
        ...['--shutdown-timeout', '2', ...(tcp ? tcp.flags : [])],
      ],
      { ready: () => docker.ping(), detached: true },
    )
    const stop = async () => {
      await daemon.stop()
      await clearEngine(folder, bridge)
    }
    return { socket, address: `unix://${socket}`, docker, tcp, stop }
  } catch (error) {
    await clearEngine(folder, bridge)
    throw error
  }
}

async function makeBridge(name: string): Promise<void> {
  await exec('ip', ['link', 'add', name, 'type', 'bridge'])
  const { stdout: routes } = await exec('ip', ['-4', 'route'])
  const random = (below: number) => Math.floor(Math.random() * below)
  let net = ''
  do net = `10.213.${random(256)}.${random(16) * 16}`
  while (routes.includes(`${net}/`))
  await exec('ip', [
    'addr',
    'add',
    net.replace(/\d+$/, (last) => `${Number(last) + 1}/28`),
    'dev',
    name,
  ])
  await exec('ip', ['link', 'set', name, 'up'])
}

async function clearEngine(folder: string, bridge: string): Promise<void> {
  const mounts = (await readFile('/proc/mounts', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[1])
  for (const mount of mounts.reverse()) {
    if (mount?.startsWith(`${folder}/`)) await exec('umount', ['-l', mount]).catch(() => {})
  }
  await exec('ip', ['link', 'del', bridge]).catch(() => {})
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}

async function makeTls(folder: string) {
  await makeCertificates(folder)
  const file = (name: string) => join(folder, name)
  const address = `tcp://127.0.0.1:${await freePort()}`
  const flags = ['-H', address, '--tlsverify', '--tlscacert', file('ca.pem')]
  flags.push('--tlscert', file('server.pem'), '--tlskey', file('server-key.pem'))
  return { address, certificates: folder, flags }
}

export interface SshServer {
  /** `ssh://root@127.0.0.1:2222` */
  address: string
  /** For `ssh -F`. */
  config: string
  stop(): Promise<void>
}

/** An ssh server whose docker client speaks to this engine. */
export async function startSshServer(engine: Pick<TestEngine, 'socket'>): Promise<SshServer> {
  const { folder, remove } = await serverFolder('ssh')
  const file = (name: string) => join(folder, name)
  for (const name of ['host', 'user']) {
    await exec('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file(name)])
  }
  const port = await freePort()
  const hostKey = await readFile(file('host.pub'), 'utf8')
  await writeFile(file('known'), `[127.0.0.1]:${port} ${hostKey}`)
  const server = [
    ...[`Port ${port}`, 'ListenAddress 127.0.0.1', `HostKey ${file('host')}`, 'UsePAM no'],
    ...[`AuthorizedKeysFile ${file('user.pub')}`, 'StrictModes no', 'PidFile none'],
    ...['PermitRootLogin yes', `SetEnv DOCKER_HOST=unix://${engine.socket}`],
  ]
  await writeFile(file('sshd_config'), `${server.join('\n')}\n`)
  const client = [`IdentityFile ${file('user')}`, 'IdentitiesOnly yes']
  client.push(`UserKnownHostsFile ${file('known')}`, 'StrictHostKeyChecking yes')
  await writeFile(file('config'), `${client.join('\n')}\n`)
  // sshd wants this folder, which Debian's own start script makes.
  await mkdir('/run/sshd', { recursive: true })
  const daemon = await startServer('sshd', ['-D', '-e', '-f', file('sshd_config')], {
    ready: () => reach(port),
  })
  const stop = async () => {
    await daemon.stop()
    await remove()
  }
  return { address: `ssh://root@127.0.0.1:${port}`, config: file('config'), stop }
}
