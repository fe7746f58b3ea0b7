import { spawn } from 'node:child_process'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import type Docker from 'dockerode'
import { describe, StepError } from '../../core/errors.ts'
import { readTlsFiles } from '../../core/files/tls-files.ts'
import { sshArguments } from '../../core/process/ssh.ts'
import type { EngineAddress } from './address.ts'

/** Files in PEM form for mutual TLS with a Docker Engine. */
export interface TlsFiles {
  ca: string
  cert: string
  key: string
}

/** A Docker Engine that can be spoken to; nothing has been sent to it yet. */
export interface Engine {
  docker: Docker
  /** Whether the engine's own networks can be reached from here. */
  local: boolean
  /** Where ports published by the engine can be reached, seen from here. */
  hostAddress: string
  close(): void
}

export interface OpenOptions {
  address: EngineAddress
  tls?: TlsFiles | undefined
  /** A file for `ssh -F`; without it ssh reads the user's own. */
  sshConfig?: string | undefined
}

export async function openEngine({ address, tls, sshConfig }: OpenOptions): Promise<Engine> {
  const { default: Client } = await import('dockerode')
  if (address.kind === 'unix') {
    const docker = new Client({ ...unset, socketPath: address.socket })
    return { docker, local: true, hostAddress: '127.0.0.1', close() {} }
  }
  const { host } = address
  const local = /^(localhost|127\.[\d.]+|::1)$/.test(host)
  if (address.kind === 'tcp') {
    const port = address.port ?? (tls ? 2376 : 2375)
    if (!tls && port === 2376) {
      throw new StepError(
        'INPUT_INVALID',
        `${address.text}: port 2376 speaks TLS, and no certificates are given`,
        {
          hint: 'Name a folder with ca.pem, cert.pem and key.pem.',
        },
      )
    }
    const files = tls ? { protocol: 'https' as const, ...(await readTls(tls, host)) } : {}
    const docker = new Client({ ...unset, protocol: 'http', host, port, ...files })
    return { docker, local, hostAddress: host.includes(':') ? `[${host}]` : host, close() {} }
  }
  const agent = sshAgent(address, sshConfig)
  // With an agent of our own the host is only a header; the tunnel decides where bytes go.
  const through: object = { ...unset, protocol: 'http', host: 'docker', agent }
  const docker = new Client(through)
  return { docker, local, hostAddress: host, close: () => agent.destroy() }
}

/** dockerode fills what is not named from DOCKER_HOST and its like; a host's address must win. */
const unset = {
  host: undefined,
  port: undefined,
  socketPath: undefined,
  protocol: undefined,
  username: undefined,
  ca: undefined,
  cert: undefined,
  key: undefined,
  timeout: undefined,
  pathPrefix: '/',
}

/** In a folder with the names that docker itself uses. */
export function tlsFiles(folder: string): TlsFiles {
  return {
    ca: join(folder, 'ca.pem'),
    cert: join(folder, 'cert.pem'),
    key: join(folder, 'key.pem'),
  }
}

async function readTls(files: TlsFiles, host: string): Promise<TlsFiles> {
  return readTlsFiles(files, { owner: `host ${host}` }).catch((error: unknown) => {
    throw new StepError('INPUT_INVALID', describe(error), {
      hint: 'The folder needs ca.pem, cert.pem and key.pem that this user may read.',
      cause: error,
    })
  })
}

/** The far end is the docker client's own tunnel. */
function sshAgent(to: Extract<EngineAddress, { kind: 'ssh' }>, config: string | undefined): Agent {
  const args = [...sshArguments(to, config), 'docker', 'system', 'dial-stdio']
  const agent = new Agent({ keepAlive: true, maxSockets: 6 })
  return Object.assign(agent, { createConnection: () => tunnel(args) })
}

/** The code of a connection that ssh could not make. */
export const SSH_FAILED = 'SSH_FAILED'

function tunnel(args: string[]): Duplex {
  // Not in the terminal's process group: Ctrl-C must not cut the restoring of the old container.
  const child = spawn('ssh', args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
  let stderr = ''
  const socket = new Duplex({
    read() {
      child.stdout.resume()
    },
    write(chunk, _encoding, done) {
      child.stdin.write(chunk, done)
    },
    final(done) {
      child.stdin.end(done)
    },
    destroy(error, done) {
      child.kill()
      done(error)
    },
  })
  child.stdin.on('error', () => {})
  child.stdout.on('data', (chunk) => {
    if (!socket.push(chunk)) child.stdout.pause()
  })
  child.stderr.on('data', (chunk) => {
    stderr = (stderr + chunk).slice(-1000)
  })
  child.on('error', (error) => socket.destroy(error))
  child.on('close', (status) => {
    if (!status) {
      socket.push(null)
      return
    }
    const why = stderr.trim().split('\n').at(-1) || `ssh ended with ${status}`
    socket.destroy(Object.assign(new Error(why), { code: SSH_FAILED }))
  })
  // What node:http asks of a socket; a pipe has nothing to set.
  const nothing = () => socket
  return Object.assign(socket, {
    setKeepAlive: nothing,
    setNoDelay: nothing,
    setTimeout: nothing,
    ref: nothing,
    unref: nothing,
  })
}
