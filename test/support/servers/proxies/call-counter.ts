import type { ChildProcess } from 'node:child_process'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { temporaryFolder } from '../../temporary.ts'
import { findProgram } from '../server.ts'

/**
 * The second change, or the first call that reads after three changes: how often a state is asked
 * for depends on the time it takes, so reads are counted anew after each change.
 */
interface CallNumber {
  kind: 'changes' | 'reads'
  number: number
  /** Changes that came before. */
  after: number
}

export interface Call extends CallNumber {
  /** A program with its arguments, or a line to a socket. */
  text: string
}

/** Calls that a command line makes to a proxy, by programs and by a socket. */
export interface CallCounter {
  /** Folder for the front of the PATH: the programs by which files of a proxy are read and written. */
  bin: string
  /** A program that is counted, at a path of its own. */
  program(name: string): Promise<string>
  /** A socket that is counted, for one where each connection has one line. */
  socket(to: string): Promise<string>
  /** Counts from the beginning; at this call the command line is killed, and the call is not made. */
  arm(death?: CallNumber, victim?: ChildProcess): void
  /** Since then, in order. */
  made(): Call[]
}

const CHANGES = /^(?:sh|cp|mv|rm) | -s reload$| (?:take-out|put-in|weight) |set server/
/** The same for a shell. */
const CHANGING = `'sh '*|'cp '*|'mv '*|'rm '*|*' -s reload'|*' take-out '*|*' put-in '*|*' weight '*`
const FILE_PROGRAMS = ['cat', 'cp', 'mv', 'rm', 'sh', 'test']

export async function countCalls(t: Pick<Test, 'teardown'>): Promise<CallCounter> {
  const folder = await temporaryFolder(t)
  const [bin, log] = [join(folder, 'bin'), join(folder, 'calls')]
  await mkdir(bin)
  let victim: ChildProcess | undefined
  const read = (name: string) => Number(readFileSync(join(folder, name), 'utf8'))
  const write = (name: string, number: number) => writeFileSync(join(folder, name), `${number}\n`)
  const program = async (name: string) => {
    const path = join(bin, name)
    await writeFile(path, scriptOf(name, folder))
    await chmod(path, 0o755)
    return path
  }
  const arm = (death?: CallNumber, child?: ChildProcess) => {
    victim = child
    const { kind, number = 0, after = 0 } = death ?? {}
    const isLater = kind === 'reads' && after > 0
    write('changes', isLater ? after : kind === 'changes' ? number : 0)
    write('reads', kind === 'reads' && !isLater ? number : 0)
    write('then', isLater ? number : 0)
    writeFileSync(log, '')
  }
  /** Whether it is made. */
  const count = (text: string) => {
    const kind = CHANGES.test(text) ? 'changes' : 'reads'
    const left = read(kind)
    write(kind, left - 1)
    appendFileSync(log, `${text}\n`)
    if (left !== 1) return true
    const reads = kind === 'changes' ? read('then') : 0
    if (reads > 0) write('reads', reads)
    else victim?.kill('SIGKILL')
    return reads > 0
  }
  arm()
  for (const name of FILE_PROGRAMS) await program(name)
  return {
    bin,
    program,
    arm,
    async socket(to) {
      const path = join(folder, 's')
      await relayCommands(t, path, to, count)
      return path
    },
    made() {
      let [after, reads] = [0, 0]
      return readFileSync(log, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((text): Call => {
          if (!CHANGES.test(text)) return { kind: 'reads', number: ++reads, after, text }
          reads = 0
          return { kind: 'changes', number: ++after, after: after - 1, text }
        })
    },
  }
}

/** The program itself, after it is counted; its parent is the command line. */
function scriptOf(name: string, folder: string): string {
  return [
    '#!/bin/sh',
    `call="${name} $*"`,
    `printf '%s\\n' "$call" >> ${folder}/calls`,
    `case "$call" in ${CHANGING}) kind=changes ;; *) kind=reads ;; esac`,
    `read -r left < ${folder}/$kind`,
    `echo $((left - 1)) > ${folder}/$kind`,
    'if [ "$left" = 1 ]; then',
    `  reads=0; [ $kind = changes ] && read -r reads < ${folder}/then`,
    `  if [ "$reads" != 0 ]; then echo $reads > ${folder}/reads`,
    '  else kill -9 $PPID; exit 137; fi',
    'fi',
    'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    `exec ${findProgram(name)} "$@"`,
    '',
  ].join('\n')
}

/** Hands commands on to a socket, one for each connection, as long as `allows` says so. */
export async function relayCommands(
  t: Pick<Test, 'teardown'>,
  path: string,
  to: string,
  allows: (command: string) => boolean,
): Promise<void> {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    sockets.add(client)
    client.on('error', () => {})
    client.once('data', (line) => {
      if (!allows(String(line).trim())) return void client.destroy()
      const onward = connect(to)
      sockets.add(onward)
      onward.on('error', () => client.destroy())
      onward.write(line)
      onward.pipe(client)
    })
  }).listen(path)
  await new Promise((resolve) => server.once('listening', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
}
