import { mkdir, readdir, readFile, readlink, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errorCodeOf } from '../core/errors.ts'
import { run } from '../core/process/process.ts'
import { wait } from '../core/retry.ts'

/**
 * A folder that is either whole or not there: `make` fills one under another name, which is then
 * renamed. What an earlier, killed run left under such a name is removed first.
 */
export async function makeWhole(
  folder: string,
  make: (unfinished: string) => Promise<void>,
): Promise<void> {
  await mkdir(dirname(folder), { recursive: true })
  for (const name of await readdir(dirname(folder))) {
    const [, pid] = /\.unfinished-(\d+)$/.exec(name) ?? []
    if (!name.startsWith(`${basename(folder)}.unfinished-`) || !pid) continue
    if (Number(pid) !== process.pid && (await startTime(Number(pid))) !== undefined) continue
    await removeTree(join(dirname(folder), name))
  }
  const unfinished = `${folder}.unfinished-${process.pid}`
  await mkdir(unfinished, { recursive: true })
  try {
    await make(unfinished)
    await removeTree(folder)
    await rename(unfinished, folder)
  } catch (error) {
    await removeTree(unfinished)
    throw error
  }
}

/** Removes a folder; what is mounted below it is unmounted first, never emptied. */
export async function removeTree(folder: string): Promise<void> {
  await unmountBelow(folder)
  await rm(folder, { recursive: true, force: true })
}

/** Unmounts everything at or below a folder, the innermost first. */
export async function unmountBelow(folder: string): Promise<void> {
  const table = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')
  const points = table
    .split('\n')
    // proc(5), mountinfo: the fifth field, with blanks and backslashes in octal.
    .map((line) => line.split(' ')[4] ?? '')
    .map((path) =>
      path.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((path) => path === folder || path.startsWith(`${folder}/`))
  for (const point of points.reverse()) await run('umount', ['--lazy', point])
}

/** When a process began, in the kernel's ticks; undefined when it runs no more. */
export async function startTime(pid: number): Promise<string | undefined> {
  return (await statFields(pid))?.[19]
}

/** proc(5), stat: the fields from the third (state) on, which follow a name that may hold anything. */
async function statFields(pid: number): Promise<string[] | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return text === '' || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields
}

/** A process for ever: an id is used again, an id with its start time is not. */
export interface Process {
  pid: number
  started: string
}

interface Running extends Process {
  parent: number
  program: string
  args: string[]
}

async function runningProcesses(): Promise<Running[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const all = await Promise.all(
    pids.map(async (pid) => {
      const fields = await statFields(pid)
      const [, parent] = fields ?? []
      const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
      const program = await readlink(`/proc/${pid}/exe`).catch(() => args[0] ?? '')
      const started = fields?.[19] ?? ''
      return { pid, started, parent: Number(parent), program: basename(program), args }
    }),
  )
  return all.filter(({ started }) => started !== '')
}

/** The processes of these programs that name `folder` in an argument, and all their children. */
export async function processesOf(
  folder: string,
  programs: RegExp,
): Promise<{ own: Process[]; all: Process[] }> {
  const running = await runningProcesses()
  const own = running.filter(
    ({ program, args }) => programs.test(program) && args.some((arg) => arg.includes(`${folder}/`)),
  )
  const all = new Set(own.map(({ pid }) => pid))
  for (let before = -1; before !== all.size; ) {
    before = all.size
    for (const { pid, parent } of running) if (all.has(parent)) all.add(pid)
  }
  return { own, all: running.filter(({ pid }) => all.has(pid) && pid !== process.pid) }
}

/** Sends a signal to those that still run and waits until all are gone; returns whether they are. */
export async function endProcesses(
  processes: readonly Process[],
  signal: 'SIGTERM' | 'SIGKILL',
  milliseconds: number,
): Promise<boolean> {
  const living = async () => {
    const now = await Promise.all(processes.map(({ pid }) => startTime(pid)))
    return processes.filter(({ started }, index) => now[index] === started)
  }
  for (const { pid } of await living()) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      if (errorCodeOf(error) !== 'ESRCH') throw error
    }
  }
  const deadline = Date.now() + milliseconds
  while ((await living()).length > 0) {
    if (Date.now() > deadline) return false
    await wait(50)
  }
  return true
}
