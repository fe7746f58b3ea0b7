import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, open, readFile, rename, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join, resolve } from 'node:path'
import { errorCodeOf, StepError, throwIfCancelled } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { run } from '../core/process/process.ts'
import { wait } from '../core/retry.ts'
import { endProcesses, processesOf, removeTree, startTime, unmountBelow } from './leftovers.ts'
import { addBridge, removeBridge } from './network.ts'
import { findProgram, isRoot } from './packages.ts'

/** A Docker Engine of this machine. */
export interface Engine {
  /** Path of its unix socket. */
  socket: string
  /** The same as `hosts:` in crosscloud.yml wants it: `unix:///run/…`. */
  url: string
  /** Whether the demo started it; `stop` then ends it, and does nothing to any other. */
  own: boolean
  /** Leaves no process, mount, bridge or socket. Safe to call again. Never cancelled half-way. */
  stop(): Promise<void>
}

const USUAL_SOCKET = '/var/run/docker.sock'

/**
 * The engine that already responds: DOCKER_HOST's, when that is a unix socket of this machine, or
 * the usual one. An engine elsewhere, or in a network of its own (rootless), could reach neither
 * the demo's registry on loopback nor be reached by it.
 */
export async function findEngine(
  log: Log,
  dockerHost = process.env.DOCKER_HOST,
): Promise<Engine | undefined> {
  if (dockerHost && !dockerHost.startsWith('unix://')) {
    log.info(`DOCKER_HOST names an engine elsewhere; the demo needs one on this machine`)
  }
  const named = dockerHost?.startsWith('unix://') ? [dockerHost.slice('unix://'.length)] : []
  for (const socket of [...named, USUAL_SOCKET]) {
    const info = await ask(socket, '/info')
    if (!info) continue
    const security = (info as { SecurityOptions?: string[] | null }).SecurityOptions ?? []
    if (!security.some((option) => option.includes('rootless'))) return engineAt(socket)
    log.info(`The engine at ${socket} is rootless and cannot reach the demo's registry`)
  }
  return undefined
}

function engineAt(socket: string): Engine {
  return { socket, url: `unix://${socket}`, own: false, stop: async () => {} }
}

/** Response of the Docker Engine API, or undefined when nothing usable responds there. */
async function ask(socketPath: string, path: string): Promise<unknown> {
  return new Promise((resolve) => {
    const call = request({ socketPath, path, timeout: 3000 }, async (response) => {
      try {
        const chunks = await response.toArray()
        const body = Buffer.concat(chunks).toString('utf8')
        resolve(response.statusCode === 200 ? JSON.parse(body) : undefined)
      } catch {
        resolve(undefined)
      }
    })
    call.on('timeout', () => call.destroy())
    call.on('error', () => resolve(undefined))
    call.end()
  })
}

/** Where an engine of ours lives. Everything follows from the demo's folder. */
interface Place {
  /** Sockets, pids, mounts: short, as a socket's path must be under 108 bytes; gone at reboot. */
  run: string
  /** Images and containers, kept for the next run. */
  data: string
  logFile: string
  socket: string
  bridge: string
}

function placeOf(folder: string): Place {
  const base = resolve(folder, 'engine')
  const id = createHash('sha256').update(base).digest('hex').slice(0, 8)
  const run = `/run/crosscloud-${id}`
  return {
    run,
    data: join(base, 'data'),
    logFile: join(base, 'dockerd.log'),
    socket: join(run, 'docker.sock'),
    bridge: `ccd-${id}`,
  }
}

/**
 * Starts a Docker Engine that shares nothing with any other on the machine: data, sockets, bridge
 * and subnet are its own, and the firewall is left alone (published ports go through docker-proxy).
 * What a killed run left of it is ended first. UNAVAILABLE, with the engine's words, when it
 * cannot run here; CONFLICT when a living process runs its engine in this folder.
 */
export async function startEngine(
  folder: string,
  { log, signal }: { log: Log; signal?: AbortSignal | undefined },
): Promise<Engine> {
  const dockerd = await findProgram('dockerd')
  if (!dockerd) throw new StepError('NOT_FOUND', 'dockerd is not installed')
  if (!isRoot()) throw new StepError('UNAVAILABLE', 'dockerd needs root')
  const place = placeOf(folder)
  await claim(place, folder)
  let stopping: Promise<void> | undefined
  const stop = () => {
    stopping ??= endEngine(place)
    return stopping
  }
  try {
    throwIfCancelled(signal)
    await mkdir(place.data, { recursive: true })
    await addBridge(place.bridge)
    await launch(dockerd, place, signal)
  } catch (error) {
    await stop()
    throw error
  }
  log.info(`Started a Docker Engine of the demo's own at ${place.socket}`)
  return { socket: place.socket, url: `unix://${place.socket}`, own: true, stop }
}

/** Takes the run folder for this process: a rename gives it to one of several that ask. */
async function claim(place: Place, folder: string): Promise<void> {
  const owner = `${process.pid} ${await startTime(process.pid)}`
  for (let attempt = 1; ; attempt++) {
    const made = await mkdtemp(`${place.run}.`)
    await writeFile(join(made, 'owner'), owner)
    try {
      await rename(made, place.run)
      return
    } catch (error) {
      await removeTree(made)
      if (!['ENOTEMPTY', 'EEXIST'].includes(errorCodeOf(error) ?? '') || attempt >= 3) throw error
    }
    const holder = await readFile(join(place.run, 'owner'), 'utf8').catch(() => '')
    const [pid = '', started = ''] = holder.split(' ')
    if (pid && (await startTime(Number(pid))) === started) {
      throw new StepError('CONFLICT', `process ${pid} runs an engine in ${folder} already`, {
        hint: 'Wait until it is done, or give this one another folder.',
      })
    }
    await endEngine(place)
  }
}

async function launch(
  dockerd: string,
  place: Place,
  signal: AbortSignal | undefined,
): Promise<void> {
  const configFile = join(place.run, 'daemon.json')
  await writeFile(configFile, JSON.stringify(await configuration(dockerd, place), null, 2))
  const output = await open(place.logFile, 'w')
  // Its own session: Ctrl-C in a terminal reaches the demo alone, which ends the engine in order.
  const daemon = spawn(dockerd, ['--config-file', configFile], {
    detached: true,
    stdio: ['ignore', output.fd, output.fd],
    env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin` },
  })
  daemon.unref()
  let ended = false
  daemon.once('exit', () => {
    ended = true
  })
  await once(daemon, 'spawn').finally(() => output.close())
  const deadline = Date.now() + 60_000
  while (!(await ask(place.socket, '/info'))) {
    if (ended || Date.now() > deadline) {
      const why = ended ? 'dockerd ended at once' : 'dockerd did not answer within 60 s'
      throw new StepError('UNAVAILABLE', `${why}: ${await lastWords(place.logFile)}`, {
        hint: `Its log is ${place.logFile}.`,
      })
    }
    await wait(100, signal)
  }
}

async function configuration(dockerd: string, place: Place): Promise<object> {
  const { stdout } = await run(dockerd, ['--version'])
  const major = Number(/version (\d+)/.exec(stdout)?.[1] ?? 0)
  return {
    'data-root': place.data,
    'exec-root': join(place.run, 'exec'),
    pidfile: join(place.run, 'dockerd.pid'),
    hosts: [`unix://${place.socket}`],
    group: 'root',
    bridge: place.bridge,
    iptables: false,
    ip6tables: false,
    'ip-forward': false,
    'shutdown-timeout': 10,
    // Older engines write a key to /etc/docker at each start; newer ones do not know the option.
    ...(major < 24 ? { 'deprecated-key-path': join(place.run, 'key.json') } : {}),
  }
}

/** The last line of the engine that was not a mere note; its reason to end is the last line. */
async function lastWords(logFile: string): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(() => '')
  const lines = text.split('\n').filter((line) => line && !/ level=(?:info|debug) /.test(line))
  return lines.at(-1) ?? 'it printed nothing'
}

const PROGRAMS = /^(?:dockerd|containerd|containerd-shim.*)$/

/** Ends an engine in order: its daemon, what survives that, mounts, bridges, then the run folder. */
async function endEngine(place: Place): Promise<void> {
  const networks = await bridgesOf(place)
  const before = await processesOf(place.run, PROGRAMS)
  const pidText = await readFile(join(place.run, 'dockerd.pid'), 'utf8').catch(() => '')
  const daemon = before.own.filter(({ pid }) => pid === Number(pidText))
  if (daemon.length > 0) await endProcesses(daemon, 'SIGTERM', 30_000)
  const after = await processesOf(place.run, PROGRAMS)
  const survivors = [...before.all, ...after.all]
  if (!(await endProcesses(survivors, 'SIGTERM', 3000))) {
    await endProcesses(survivors, 'SIGKILL', 10_000)
  }
  await unmountBelow(place.data)
  for (const bridge of [place.bridge, ...networks]) await removeBridge(bridge)
  await removeTree(place.run)
}

/** Bridges of networks that were made in this engine: it leaves them on the machine when it ends. */
async function bridgesOf(place: Place): Promise<string[]> {
  const networks = await ask(place.socket, '/networks')
  if (!Array.isArray(networks)) return []
  return networks
    .filter(({ Driver, Name }) => Driver === 'bridge' && Name !== 'bridge')
    .map(
      ({ Id, Options }) => Options?.['com.docker.network.bridge.name'] ?? `br-${Id.slice(0, 12)}`,
    )
}
