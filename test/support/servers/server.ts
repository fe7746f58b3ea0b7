import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin']

/** Where a program is; servers are often not on an ordinary PATH. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), ...SYSTEM_FOLDERS]
  return folders.map((folder) => join(folder, name)).find(executable)
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const PACKAGES: Record<string, string> = {
  dockerd: 'docker.io',
  'docker-proxy': 'docker.io',
  docker: 'docker.io',
  ip: 'iproute2',
  mariadbd: 'mariadb-server',
  sshd: 'openssh-server',
  ssh: 'openssh-client',
  etcd: 'etcd-server',
  busybox: 'busybox-static',
  'redis-cli': 'redis-tools',
  nginx: 'nginx-light',
  apache2: 'apache2-bin',
}

/** Why a test must be skipped: the first program that is not here; false when all are. */
export function missingProgram(...programs: string[]): string | false {
  const missing = programs.find((program) => findProgram(program) === undefined)
  return (
    missing !== undefined && `needs ${missing} (Debian package ${PACKAGES[missing] ?? missing})`
  )
}

export interface RunningServer {
  child: ChildProcess
  /** What it printed so far. */
  log(): string
  /** Ends it and waits for that. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

export interface ServerOptions {
  ready(): Promise<unknown>
  env?: NodeJS.ProcessEnv
  /** Also when tap ends the whole group of processes. */
  detached?: boolean
  /** In milliseconds; default 40 seconds. */
  timeout?: number
}

/** Starts a program and waits until `ready` no longer rejects. Its words are in the error if it never does. */
export async function startServer(
  program: string,
  args: readonly string[],
  { ready, env, detached = false, timeout = 40_000 }: ServerOptions,
): Promise<RunningServer> {
  const path = findProgram(program)
  if (path === undefined) throw new Error(String(missingProgram(program)))
  const child = spawn(path, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached,
    ...(env ? { env } : {}),
  })
  endWithUs(child)
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      printed = `${printed}${chunk}`.slice(-100_000)
    })
  }
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const running = () => child.exitCode === null && child.signalCode === null
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (!running()) return
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
    await ended
    clearTimeout(timer)
  }
  for (const end = Date.now() + timeout; ; await sleep(50)) {
    try {
      await ready()
      return { child, log: () => printed, stop }
    } catch (error) {
      if (running() && Date.now() < end) continue
      await stop('SIGKILL')
      throw new Error(`${program} did not start: ${printed.trim()}`, { cause: error })
    }
  }
}

/** A test file that crashes runs no teardown; its servers must end all the same. */
function endWithUs(child: ChildProcess): void {
  const end = () => child.kill()
  process.once('exit', end)
  child.once('exit', () => process.removeListener('exit', end))
}

const MEMORY = '/dev/shm'
const ROOM = 4 * 1024 ** 3

/** Servers sync each of their changes: where there is room, their disk is memory. */
async function diskFolder(): Promise<string> {
  const { bavail, bsize } = await statfs(MEMORY).catch(() => ({ bavail: 0, bsize: 0 }))
  return bavail * bsize < ROOM ? tmpdir() : MEMORY
}

/** A folder with a short path (a socket's may have 107 bytes), and how to remove it. */
export async function serverFolder(name: string) {
  const folder = await mkdtemp(join(await diskFolder(), `cc-${name}-`))
  const remove = () => rm(folder, { recursive: true, force: true, maxRetries: 5 })
  return { folder, remove }
}
