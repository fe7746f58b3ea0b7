import { posix } from 'node:path'
import type { Operating } from './operating.ts'

/**
 * The command line of a running container's first process, as the host's `ps` shows it; of the one
 * that gets its signals, where the engine or the image put an init before it.
 */
export async function firstProcess(
  { docker, call }: Operating,
  id: string,
): Promise<string | undefined> {
  const container = docker.getContainer(id)
  const doing = `listing the processes of ${id.slice(0, 12)}`
  const { State } = await call(doing, (abortSignal) => container.inspect({ abortSignal }))
  if (!State.Running) return undefined
  const { Titles, Processes } = await call(doing, (abortSignal) =>
    container.top({ ps_args: '-eo pid,args', abortSignal } as object),
  )
  const at = Titles.indexOf('PID')
  const found = (Processes as string[][]).find((columns) => Number(columns[at]) === State.Pid)
  const line = found?.filter((_column, index) => index !== at).join(' ')
  return line?.replace(INIT, '')
}

/** They pass signals on. */
const INIT = /^(?:\S*\/)?(?:docker-init|tini|dumb-init) (?:-\S+ )*/

/** Whether a command line starts a Java virtual machine. */
export function isJava(commandLine: string): boolean {
  return posix.basename(commandLine.split(' ', 1)[0] ?? '') === 'java'
}
