import { isStepError } from '../../core/errors.ts'
import type { CommandDetails } from '../../core/process/process.ts'
import type { Machine } from '../machine/machine.ts'

export interface Workers {
  /** Call it before each reload: what runs then is old afterwards. */
  remember(): Promise<void>
  /** Old workers that still take new connections; undefined where the machine does not show it. */
  accepting(): Promise<number | undefined>
  /** Old workers that still end their requests; undefined where the machine does not show it. */
  ending(): Promise<number | undefined>
}

/** A worker takes this title before it closes its listening sockets, and accepts nothing after it. */
const ENDING = 'worker process is shutting down'
const ACCEPTING = /worker process(?! is shutting down)/

/**
 * nginx's worker processes, as /proc shows them: that takes no `ps`, which its images lack. After a
 * reload an old worker lives as long as one of its requests, or a WebSocket.
 */
export function watchWorkers(machine: Machine, pidFile: string): Workers {
  const old = new Set<string>()
  const children = async () => {
    const now = await childrenOf(machine, pidFile)
    // The number of one that has ended may become that of another process.
    for (const pid of now ? old : []) if (!now?.includes(pid)) old.delete(pid)
    return now
  }
  return {
    async remember() {
      for (const pid of (await children()) ?? []) old.add(pid)
    },
    async accepting() {
      if ((await children()) === undefined) return undefined
      return (await titlesOf(machine, [...old])).split(ACCEPTING).length - 1
    },
    async ending() {
      const now = await children()
      if (now === undefined) return undefined
      // Of a reload before this driver was opened nobody remembered any: their titles tell.
      return Math.max(old.size, (await titlesOf(machine, now)).split(ENDING).length - 1)
    },
  }
}

/** proc(5), /proc/PID/task/TID/children. */
async function childrenOf(machine: Machine, pidFile: string): Promise<string[] | undefined> {
  try {
    const pid = (await machine.run(['cat', pidFile])).trim()
    if (!/^\d+$/.test(pid)) return undefined
    // Read twice: while one of them ends, another may be missed.
    const file = `/proc/${pid}/task/${pid}/children`
    const children = await machine.run(['cat', file, file])
    return [...new Set(children.match(/\d+/g))]
  } catch (error) {
    if (isStepError(error, 'COMMAND_FAILED')) return undefined
    throw error
  }
}

/** What processes are called, one after the other. */
async function titlesOf(machine: Machine, pids: readonly string[]): Promise<string> {
  if (pids.length === 0) return ''
  const files = pids.map((pid) => `/proc/${pid}/cmdline`)
  return machine.run(['cat', ...files]).catch((error: unknown) => {
    // One of them has ended meanwhile; the others are printed all the same.
    if (!isStepError(error, 'COMMAND_FAILED')) throw error
    return (error.details as CommandDetails).printed
  })
}
