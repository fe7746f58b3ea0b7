import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StepError } from '../../core/errors.ts'
import { type SshDestination, sshArguments } from '../../core/process/ssh.ts'
import { wait } from '../../core/retry.ts'

/** A unix socket of another machine, here: by ssh's own forwarding, so nothing must be installed there. */
export interface Forward {
  /** Path of the socket on this machine; ssh is started with the first call. */
  socket(): Promise<string>
  close(): Promise<void>
}

/** milliseconds */
const START_TIMEOUT = 20_000
const POLL = 50

export function openForward(
  name: string,
  to: SshDestination,
  remoteSocket: string,
  config: string | undefined,
): Forward {
  let started: Promise<Started> | undefined
  return {
    async socket() {
      started ??= start(name, to, remoteSocket, config)
      return (await started).path
    },
    async close() {
      const running = await started?.catch(() => undefined)
      if (running) await end(running)
    },
  }
}

interface Started {
  child: ChildProcess
  folder: string
  path: string
}

async function start(
  name: string,
  to: SshDestination,
  remoteSocket: string,
  config: string | undefined,
): Promise<Started> {
  const folder = await mkdtemp(join(tmpdir(), 'cc-'))
  const path = join(folder, 's')
  const options = ['-N', '-o', 'ExitOnForwardFailure=yes', '-L', `${path}:${remoteSocket}`]
  // Not in the terminal's process group: Ctrl-C must not cut the restoring of the proxy.
  const child = spawn('ssh', sshArguments(to, config, options), {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  })
  const running = { child, folder, path }
  let printed = ''
  let failed: Error | undefined
  child.stderr?.on('data', (chunk) => {
    printed = `${printed}${chunk}`.slice(-1000)
  })
  child.once('error', (error) => {
    failed = error
  })
  for (const limit = Date.now() + START_TIMEOUT; ; await wait(POLL)) {
    if (await isThere(path)) return running
    const isOver = failed || child.exitCode !== null || Date.now() > limit
    if (!isOver) continue
    await end(running)
    const why = failed?.message ?? printed.trim().split('\n').at(-1)
    throw new StepError('UNAVAILABLE', `${name}: ssh: ${why || 'no connection'}`, {
      hint: `Try the same by hand: ssh ${to.host} true. sshd must allow AllowStreamLocalForwarding.`,
      cause: failed,
    })
  }
}

const isThere = (path: string) =>
  stat(path).then(
    (found) => found.isSocket(),
    () => false,
  )

async function end({ child, folder }: Started): Promise<void> {
  child.kill()
  child.stderr?.destroy()
  await rm(folder, { recursive: true, force: true })
}
