import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { errorCodeOf } from '../errors.ts'
import { requireOwn } from '../files/own-files.ts'

/**
 * Shows other processes of this machine that a process is alive: it listens on a Unix socket, which
 * the kernel closes when the process ends. A process that is only stopped (SIGSTOP) still listens.
 * The path is made of a unique subject and of the kernel's boot id, so that a folder which machines
 * share, or a copy of a machine, says nothing about processes elsewhere.
 */
export interface Liveness {
  /** Closes the socket. A file that is left there shows that this process has ended. */
  end(file: 'removed' | 'left'): Promise<void>
}

/**
 * unix(7): sun_path holds 108 bytes with the closing zero; Node truncates longer paths silently.
 */
const LONGEST_SOCKET_PATH = 107

/** Shows that this process is alive. Where that is impossible, others have to wait. */
export async function showLiving(folder: string, subject: string): Promise<Liveness> {
  const path = await socketPath(folder, subject)
  if (path === undefined) return { end: async () => {} }
  // Between bind and listen, a socket looks like that of a process that has ended.
  const staged = `${path}~`
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await requireOwn(folder)
  const server = await listen(staged)
  await rename(staged, path)
  return {
    async end(file) {
      if (file === 'removed') await rm(path, { force: true })
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function listen(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy())
  server.unref()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  return server
}

/** Whether the process has ended; false also where this cannot be known from here. */
export async function isOver(folder: string, subject: string): Promise<boolean> {
  const path = await socketPath(folder, subject)
  if (path === undefined) return false
  // Where others may write, they may have put a socket of their own.
  const own = await requireOwn(folder).then(
    () => true,
    () => false,
  )
  if (!own) return false
  return await new Promise((resolve) => {
    const socket = connect(path)
    const finish = (over: boolean) => {
      socket.destroy()
      resolve(over)
    }
    socket.once('connect', () => finish(false))
    // connect(2): ECONNREFUSED means that nobody listens. Other errors, such as ENOENT, prove
    // nothing.
    socket.once('error', (error) => finish(errorCodeOf(error) === 'ECONNREFUSED'))
  })
}

/** Removes the socket file of a process that has ended. */
export async function forgetLiving(folder: string, subject: string): Promise<void> {
  const path = await socketPath(folder, subject)
  if (path !== undefined) await rm(path, { force: true })
}

async function socketPath(folder: string, subject: string): Promise<string | undefined> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')
  if (boot === '') return undefined
  const name = createHash('sha256').update(`${boot.trim()} ${subject}`).digest('hex').slice(0, 24)
  const path = join(folder, name)
  return Buffer.byteLength(`${path}~`) <= LONGEST_SOCKET_PATH ? path : undefined
}
