import type { ChildProcess } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** Stops a process where it is, and waits until all its threads stand: a signal takes its time. */
export async function freeze({ pid = 0 }: ChildProcess): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  const folder = `/proc/${pid}/task`
  for (let tries = 0; tries < 500; tries++) {
    const threads = await readdir(folder).catch(() => [])
    const states = await Promise.all(
      threads.map((thread) => readFile(`${folder}/${thread}/stat`, 'utf8').catch(() => ') T')),
    )
    // proc(5), stat: the state follows the name, which is in parentheses.
    if (states.every((text) => /\) [TtZX]/.test(text))) return
    await sleep(10)
  }
  throw new Error(`process ${pid} does not stop`)
}
