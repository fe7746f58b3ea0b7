import { posix } from 'node:path'
import { explain, StepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import type { ProxyServer, ServerState } from '../../targets/proxy.ts'
import { type Change, type Driver, endpointOf } from '../driver.ts'
import { exists, isLink, readText, remove, rename, writeText } from '../machine/files.ts'
import type { Machine } from '../machine/machine.ts'
import type { NginxSettings } from '../settings.ts'
import {
  type IncludedServer,
  type Owner,
  parseInclude,
  type ReadInclude,
  renderInclude,
} from './include.ts'
import { openStatus, RELOAD_TIMEOUT, type Status } from './status.ts'
import { type Workers, watchWorkers } from './workers.ts'

export interface NginxOptions {
  machine: Machine
  settings: NginxSettings
  /** The upstream's name where the settings have none. */
  upstream: string
  servers: readonly ProxyServer[]
  /** Whose file it is; a file of another owner is refused. */
  owner?: Owner | undefined
  /** Milliseconds until a reload must be done. */
  timeout?: number | undefined
}

interface Nginx extends NginxOptions {
  name: string
  status: Status
  workers: Workers
  paths: { file: string; next: string; before: string }
}

/** milliseconds */
const POLL = 50
const UNSEEN = 1000

/** The names of what is not included: nginx reads `*.conf` only. */
function pathsIn(folder: string, upstream: string) {
  const file = posix.join(folder, `${upstream}.conf`)
  return { file, next: `${file}.next`, before: `${file}.before` }
}

/**
 * nginx, by a file of our own in a folder that its configuration includes. It has no check of its
 * own in the free version: a server is in, or it is not.
 */
export function createNginxDriver(options: NginxOptions): Driver {
  const { machine, settings, servers } = options
  const upstream = settings.upstream ?? options.upstream
  const name = `nginx on ${machine.name}`
  const nginx: Nginx = {
    ...options,
    upstream,
    name,
    status: openStatus(name, settings.status, { upstream, timeout: options.timeout }),
    workers: watchWorkers(machine, settings['pid-file']),
    paths: pathsIn(settings.folder, upstream),
  }
  return {
    name,
    isWeighted: true,
    tellsOut: true,
    checks: false,
    async read() {
      const include = await readInclude(nginx)
      const served = await nginx.status.generation()
      if (served !== include.generation) throw notLoaded(nginx, include.generation, served)
      return servers.map((server): ServerState => {
        const { isIn, weight } = stateIn(include, server)
        return { server, mode: isIn ? 'in' : 'out', up: undefined, weight }
      })
    },
    change: (changes) => change(nginx, changes),
    pending: () => nginx.workers.ending(),
    check: () => check(nginx),
    repair: () => repair(nginx),
    async close() {
      nginx.status.close()
      await machine.close()
    },
  }
}

/** A server that the file does not know yet, of a host that is new, gets no requests. */
const stateIn = ({ servers }: ReadInclude, server: ProxyServer) =>
  servers.get(endpointOf(server)) ?? { isIn: false, weight: 100 }

async function readInclude(nginx: Nginx): Promise<ReadInclude> {
  const { machine, name, upstream, paths, owner } = nginx
  for (const path of [paths.file, paths.before]) {
    if (!(await isLink(machine, path))) continue
    throw new StepError('CONFLICT', `${name}: ${path} is a symbolic link`, {
      hint: 'Put the file itself into the folder: a change would replace the link, or what it leads to.',
    })
  }
  const text = await readText(machine, paths.file)
  if (text === undefined) {
    throw new StepError('NOT_FOUND', `${name}: there is no ${paths.file}`, {
      hint: `\`crosscloud hosts proxy-config --env ${owner?.environment ?? '…'}\` prints it, with the upstream ${upstream}: make it once, and reload nginx.`,
    })
  }
  const include = parseInclude(text, upstream)
  if (include) return ownOf(include, nginx)
  throw new StepError('CONFLICT', `${name}: ${paths.file} was not written by crosscloud`, {
    hint: `Move it away, and make the file anew with the upstream ${upstream}: docs/proxies.md.`,
  })
}

function ownOf(include: ReadInclude, { name, owner, paths }: Nginx): ReadInclude {
  const theirs = include.owner
  if (!theirs || !owner) return include
  const same = theirs.application === owner.application && theirs.environment === owner.environment
  if (same) return include
  throw new StepError(
    'CONFLICT',
    `${name}: ${paths.file} is of ${theirs.application} in ${theirs.environment}, not of ${owner.application} in ${owner.environment}`,
    { hint: 'Give one of them another name: proxy.nginx.upstream.' },
  )
}

function notLoaded({ name, paths }: Nginx, written: number, served: number): StepError {
  return new StepError(
    'CONFLICT',
    `${name}: ${paths.file} has the generation ${written}, and nginx works by ${served}`,
    {
      hint: 'Reload nginx and see its log. A file mounted alone into a container stays the old one: mount the folder.',
    },
  )
}

async function change(nginx: Nginx, changes: readonly Change[]): Promise<void> {
  const { servers, upstream, settings, owner } = nginx
  const include = await readInclude(nginx)
  const wanted = servers.map((server): IncludedServer => {
    const own = changes.filter((each) => endpointOf(each.server) === endpointOf(server))
    return own.reduce<IncludedServer>(
      (found, { mode, weight }) => ({
        server,
        isIn: mode === undefined ? found.isIn : mode === 'in',
        weight: weight ?? found.weight,
      }),
      { server, ...stateIn(include, server) },
    )
  })
  const isSame = wanted.every(({ server, isIn, weight }) => {
    const now = stateIn(include, server)
    return now.isIn === isIn && now.weight === weight
  })
  if (isSame) return
  const generation = include.generation + 1
  const { sessions } = settings
  await install(
    nginx,
    renderInclude({ upstream, sessions, generation, servers: wanted, owner }),
    generation,
  )
}

/** The file is written aside, and the one before is kept until nginx works by the new one. */
async function install(nginx: Nginx, text: string, generation: number): Promise<void> {
  const { machine, paths, name } = nginx
  try {
    await writeText(machine, paths.next, text)
    await machine.run(['cp', '-f', paths.file, paths.before])
  } catch (error) {
    // Half a copy would be put back for the whole file.
    await Promise.all([remove(machine, paths.next), remove(machine, paths.before)]).catch(() => {})
    throw notWritten(nginx, error)
  }
  try {
    await rename(machine, paths.next, paths.file)
    await test(nginx)
    await reload(nginx, generation)
  } catch (error) {
    await takeBack(nginx).catch((failure: unknown) => {
      throw explain(`${name}: the change failed, and ${paths.before} was NOT put back`, failure)
    })
    throw error
  }
  await remove(machine, paths.before)
}

function notWritten({ name, settings }: Nginx, error: unknown): StepError {
  const known = explain(`${name}: its servers cannot be written`, error)
  return known.with({
    hint: `Nothing was changed there. See that ${settings.folder} on the machine of this proxy has room, and may be written: \`df ${settings.folder}\`.`,
    cause: error,
  })
}

/** A broken file that stays behind would keep nginx from its next start. */
async function takeBack(nginx: Nginx): Promise<void> {
  const { machine, paths } = nginx
  await rename(machine, paths.before, paths.file)
  const { generation } = await readInclude(nginx)
  if ((await nginx.status.generation()) !== generation) await reload(nginx, generation)
}

async function test({ machine, settings, name }: Nginx): Promise<void> {
  const [program, ...args] = settings.command
  await machine.run([program, ...args, '-t']).catch((error: unknown) => {
    throw explain(`${name} refuses the configuration`, error)
  })
}

/** By nginx's own command: a signal through the engine would mark the container as stopped by hand. */
async function reload(nginx: Nginx, generation: number): Promise<void> {
  const { machine, settings, workers, status, name } = nginx
  const [program, ...args] = settings.command
  await workers.remember()
  await machine.run([program, ...args, '-s', 'reload']).catch((error: unknown) => {
    throw explain(`${name}: it does not reload`, error)
  })
  await status.untilGeneration(generation)
  await untilReplaced(nginx)
}

/**
 * New workers serve the new generation a tenth of a second before the old ones are told to end, and
 * for so long both take new connections.
 */
async function untilReplaced({ workers, name, timeout = RELOAD_TIMEOUT }: Nginx): Promise<void> {
  for (const end = Date.now() + timeout; ; await wait(POLL)) {
    const left = await workers.accepting()
    if (left === 0) return
    // Nobody can see them: they have had ten times what nginx leaves them.
    if (left === undefined) return wait(UNSEEN)
    if (Date.now() < end) continue
    throw new StepError(
      'VERIFY_FAILED',
      `${name}: ${timeout / 1000} s after its reload ${left} of its old worker processes still take requests`,
      { hint: "Read nginx's log, and look at its processes: `ps -ef | grep nginx`." },
    )
  }
}

/** What `repair` would find; it reads only, as `nginx -t` does. */
async function check(nginx: Nginx): Promise<string | undefined> {
  const { machine, paths, status } = nginx
  const { generation } = await readInclude(nginx)
  const served = await status.generation()
  if (await exists(machine, paths.before)) return `a change of ${paths.file} was interrupted`
  await test(nginx)
  if (served === generation) return undefined
  return `${paths.file} has the generation ${generation}, and it works by ${served}`
}

async function repair(nginx: Nginx): Promise<string | undefined> {
  const { machine, paths, status } = nginx
  const interrupted = await exists(machine, paths.before)
  if (!interrupted && !(await exists(machine, paths.file))) return undefined
  const { generation } = await readInclude(nginx)
  const served = await status.generation()
  if (served === generation && !interrupted) return undefined
  const before = await readText(machine, paths.before)
  const wasMade = before !== (await readText(machine, paths.file))
  try {
    await test(nginx)
    // Also where its number is served: an old worker may still take requests, too.
    await reload(nginx, generation)
  } catch (error) {
    if (!interrupted) throw error
    await takeBack(nginx)
    return `an interrupted change of ${paths.file} was taken back, as nginx refuses it`
  }
  await remove(machine, paths.before)
  if (served !== generation) return `an interrupted change of ${paths.file} was completed`
  return `a change of ${paths.file} was interrupted ${wasMade ? 'after' : 'before'} it was made`
}
