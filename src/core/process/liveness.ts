import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { errorCodeOf } from '../errors.ts'
import { requireOwn } from '../own.ts'

/**
 * Whether a process of this machine still lives, told by its kernel: while it lives it listens on a
 * socket, and whatever ends it closes that. A process that is only stopped (SIGSTOP) still listens.
 * The path is made of a subject that nobody else has and of the kernel's boot id, so that a folder
 * which machines share, or a copy of a machine, tells nothing about processes of another one.
 */
export interface Liveness {
  /** Ends the showing; the file goes, too, unless it is to stay and say that this process is over. */
  end(file: 'removed' | 'left'): Promise<void>
}

/** unix(7): sun_path holds 108 bytes with the closing zero; Node cuts a longer path without a word. */
const LONGEST_SOCKET_PATH = 107

/** Shows that this process lives. Where it cannot be shown, others cannot know, and wait. */
export async function showLiving(folder: string, subject: string): Promise<Liveness> {
  const path = await socketPath(folder, subject)
  if (path === undefined) return { end: async () => {} }
  // Between being made and being listened on, a socket looks like that of a process that is over.
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

/** Whether the process that showed itself is over: false also where that cannot be known from here. */
export async function isOver(folder: string, subject: string): Promise<boolean> {
  const path = await socketPath(folder, subject)
  if (path === undefined) return false
  // Where others may write, they may have put another socket there.
  const own = await requireOwn(folder).then(
    () => true,
    () => false,
  )
  if (!own) return false
  return await new Promise((resolve) => {
    const socket = connect(path)
    const answer = (over: boolean) => {
      socket.destroy()
      resolve(over)
    }
    socket.once('connect', () => answer(false))
    // connect(2): nobody listens. All else, such as no such file, leaves it open.
    socket.once('error', (error) => answer(errorCodeOf(error) === 'ECONNREFUSED'))
  })
}

/** Removes what a process that is over left. */
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
