import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { accessSync, constants, createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import Docker from 'dockerode'

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

/** The first of the programs that is not on the PATH, as a reason to skip; undefined when all are. */
export function missingProgram(...programs: string[]): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root to start a Docker Engine'
  const folders = (process.env.PATH ?? '').split(':')
  const missing = programs.find((program) => !folders.some((folder) => executable(folder, program)))
  return missing && `needs ${missing} (Debian: docker.io docker-registry gcc iproute2)`
}

function executable(folder: string, program: string): boolean {
  try {
    accessSync(join(folder, program), constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * A Docker Engine of its own: its data, its bridge, its subnet, and no rule in iptables, so that
 * several can run at once (ports are published by docker-proxy). A string is the reason why not.
 */
export async function startEngine(options: { tls?: boolean } = {}): Promise<TestEngine | string> {
  const reason = missingProgram('dockerd', 'ip', ...(options.tls ? ['openssl'] : []))
  if (reason) return reason
  const folder = await mkdtemp(join(tmpdir(), 'cce-'))
  const bridge = `cce${Math.random().toString(36).slice(2, 10)}`
  await makeBridge(bridge)
  const socket = join(folder, 'docker.sock')
  const tcp = options.tls ? await makeTls(join(folder, 'tls')) : undefined
  const daemon = spawn(
    'dockerd',
    [
      ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
      ...['-p', join(folder, 'pid'), '-H', `unix://${socket}`, '--bridge', bridge],
      ...['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false'],
      ...['--shutdown-timeout', '2', ...(tcp ? tcp.flags : [])],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], detached: true },
  )
  endWithUs(daemon)
  const log = createWriteStream(join(folder, 'log'))
  daemon.stdout.pipe(log, { end: false })
  daemon.stderr.pipe(log, { end: false })
  const docker = new Docker({ socketPath: socket })
  const stop = () => stopEngine(daemon, folder, bridge)
  for (const end = Date.now() + 40_000; ; await sleep(100)) {
    if (
      await docker.ping().then(
        () => true,
        () => false,
      )
    )
      break
    if (daemon.exitCode === null && Date.now() < end) continue
    const said = (await readFile(join(folder, 'log'), 'utf8')).trim().split('\n').at(-1)
    await stop()
    return `dockerd did not start: ${said}`
  }
  return { socket, address: `unix://${socket}`, docker, tcp, stop }
}

/** A test file that crashes runs no teardown; its servers shall end all the same. */
function endWithUs(child: ChildProcess): void {
  const end = () => child.kill()
  process.once('exit', end)
  child.once('exit', () => process.removeListener('exit', end))
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

async function stopEngine(daemon: ChildProcess, folder: string, bridge: string): Promise<void> {
  if (daemon.exitCode === null && daemon.signalCode === null) {
    const ended = new Promise((resolve) => daemon.once('exit', resolve))
    daemon.kill('SIGTERM')
    const timer = setTimeout(() => daemon.kill('SIGKILL'), 20_000)
    await ended
    clearTimeout(timer)
  }
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
  await mkdir(folder)
  const file = (name: string) => join(folder, name)
  const openssl = (...args: string[]) => exec('openssl', args)
  const key = ['-newkey', 'rsa:2048', '-nodes']
  await openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    file('ca-key.pem'),
    '-out',
    file('ca.pem'),
    '-subj',
    '/CN=test ca',
    '-days',
    '2',
  )
  for (const [name, extension] of [
    ['server', 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth'],
    ['client', 'extendedKeyUsage=clientAuth'],
  ] as const) {
    const [keyFile, certFile] =
      name === 'client' ? ['key.pem', 'cert.pem'] : ['server-key.pem', 'server.pem']
    await writeFile(file('ext'), extension)
    await openssl(
      'req',
      ...key,
      '-keyout',
      file(keyFile),
      '-out',
      file('csr'),
      '-subj',
      `/CN=${name}`,
    )
    await openssl(
      'x509',
      '-req',
      '-in',
      file('csr'),
      '-CA',
      file('ca.pem'),
      '-CAkey',
      file('ca-key.pem'),
      '-CAcreateserial',
      '-out',
      file(certFile),
      '-extfile',
      file('ext'),
      '-days',
      '2',
    )
  }
  const port = await freePort()
  const flags = ['-H', `tcp://127.0.0.1:${port}`, '--tlsverify', '--tlscacert', file('ca.pem')]
  flags.push('--tlscert', file('server.pem'), '--tlskey', file('server-key.pem'))
  return { address: `tcp://127.0.0.1:${port}`, certificates: folder, flags }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address && typeof address === 'object') return address.port
  throw new Error('no free port')
}

export interface TestRegistry {
  /** `127.0.0.1:5000` */
  host: string
  stop(): Promise<void>
}

/** The one user of a registry that wants a login. */
export const registryLogin = { username: 'ci', password: 'a test password' }
const USERS = 'ci:$2b$05$abcdefghijklmnopqrstuuGDbRTTJqsP1t/6vlpJq.Ykm2igupk56\n'

/** Debian's docker-registry; with `login`, for `registryLogin` only. */
export async function startPlainRegistry(
  options: { login?: boolean } = {},
): Promise<TestRegistry | string> {
  const reason = missingProgram('docker-registry')
  if (reason) return reason
  const folder = await mkdtemp(join(tmpdir(), 'ccr-'))
  const host = `127.0.0.1:${await freePort()}`
  const config = {
    version: 0.1,
    log: { level: 'error' },
    storage: { filesystem: { rootdirectory: join(folder, 'data') } },
    http: { addr: host },
    ...(options.login
      ? { auth: { htpasswd: { realm: 'test', path: join(folder, 'users') } } }
      : {}),
  }
  await writeFile(join(folder, 'users'), USERS)
  // YAML reads JSON.
  await writeFile(join(folder, 'config.yml'), JSON.stringify(config))
  const server = spawn('docker-registry', ['serve', join(folder, 'config.yml')], {
    stdio: 'ignore',
  })
  endWithUs(server)
  const stop = async () => {
    const ended = new Promise((resolve) => server.once('exit', resolve))
    if (server.exitCode === null && server.kill()) await ended
    await rm(folder, { recursive: true, force: true })
  }
  for (const end = Date.now() + 10_000; Date.now() < end; await sleep(50)) {
    if (
      await fetch(`http://${host}/v2/`).then(
        () => true,
        () => false,
      )
    )
      return { host, stop }
  }
  await stop()
  return 'docker-registry did not start'
}

export interface SshDoor {
  /** `ssh://root@127.0.0.1:2222` */
  address: string
  /** For `ssh -F`. */
  config: string
  stop(): Promise<void>
}

/** An ssh server whose docker client speaks to this engine. */
export async function startSshDoor(engine: TestEngine): Promise<SshDoor | string> {
  const reason = missingProgram('ssh', 'docker')
  if (reason) return reason
  if (!executable('/usr/sbin', 'sshd')) return 'needs sshd (Debian: openssh-server)'
  const folder = await mkdtemp(join(tmpdir(), 'ccs-'))
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
  const daemon = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', file('sshd_config')], {
    stdio: 'ignore',
  })
  endWithUs(daemon)
  const stop = async () => {
    const ended = new Promise((resolve) => daemon.once('exit', resolve))
    if (daemon.exitCode === null && daemon.kill()) await ended
    await rm(folder, { recursive: true, force: true })
  }
  await sleep(300)
  return { address: `ssh://root@127.0.0.1:${port}`, config: file('config'), stop }
}
