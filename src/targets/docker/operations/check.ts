import { statfs } from 'node:fs/promises'
import type Docker from 'dockerode'
import type { HostCheck } from '../../target.ts'
import { checkStop } from './check-stop.ts'
import type { Operating } from './operating.ts'

export interface Expected {
  /** Names of the containers whose end is judged, where they are there. */
  containers: readonly string[]
}

/** The parts of an engine's "system information" response that are used. */
interface EngineInfo {
  Driver?: string
  DockerRootDir?: string
  SystemTime?: string
  LiveRestoreEnabled?: boolean
}

// dockerode's types know no options here, its code does.
const versionOf = (docker: Docker) => (abortSignal: AbortSignal) =>
  (docker.version as (options: object) => Promise<Docker.DockerVersion>).call(docker, {
    abortSignal,
  })
const infoOf = (docker: Docker) => (abortSignal: AbortSignal) =>
  (docker.info as (options: object) => Promise<EngineInfo>).call(docker, { abortSignal })

/** Asks a host what can be known without changing anything. */
export async function checkHost(
  operating: Operating,
  { containers }: Expected,
): Promise<HostCheck> {
  const { docker, call } = operating
  const version = await call('asking for its version', versionOf(docker))
  const asked = Date.now()
  const info = await call('asking for its settings', infoOf(docker))
  const facts = {
    engine: `Docker ${version.Version}`,
    apiVersion: version.ApiVersion,
    storage: info.Driver,
    disk: operating.local ? await diskOf(info.DockerRootDir) : undefined,
    clockAhead: clockAhead(info.SystemTime, asked, Date.now()),
    liveRestore: info.LiveRestoreEnabled,
  }
  const stops = await Promise.all(containers.map((name) => checkStop(operating, name)))
  return { facts, warnings: [...hostWarnings(facts, operating.environment), ...stops.flat()] }
}

async function diskOf(folder: string | undefined): Promise<HostCheck['facts']['disk']> {
  if (!folder) return undefined
  try {
    const { bavail, blocks, bsize } = await statfs(folder)
    return { free: bavail * bsize, total: blocks * bsize }
  } catch {
    // The socket is here, the engine's folders are not: a job inside a container.
    return undefined
  }
}

/** Against the middle of the request; within it nobody knows, and the clocks count as equal. */
function clockAhead(theirs: string | undefined, asked: number, answered: number) {
  const time = Date.parse(theirs ?? '')
  if (Number.isNaN(time)) return undefined
  const ahead = time - (asked + answered) / 2
  return Math.abs(ahead) <= (answered - asked) / 2 + 1 ? 0 : Math.round(ahead)
}

/** milliseconds */
const CLOCK_TOLERANCE = 5000
const LITTLE_ROOM = 0.1
/** Storage drivers that Docker itself has given up. */
const OLD_STORAGE = ['aufs', 'devicemapper', 'overlay', 'vfs']

export function hostWarnings(
  { clockAhead: ahead = 0, disk, storage = '' }: HostCheck['facts'],
  environment: string,
): HostCheck['warnings'] {
  const warnings: HostCheck['warnings'] = []
  if (Math.abs(ahead) > CLOCK_TOLERANCE) {
    const seconds = Math.round(Math.abs(ahead) / 1000)
    warnings.push({
      text: `its clock is ${seconds} s ${ahead > 0 ? 'ahead of' : 'behind'} this machine's`,
      hint: 'Let both follow one time server: log lines, tokens and freezes go by the clock.',
    })
  }
  if (disk && disk.free < disk.total * LITTLE_ROOM) {
    const percent = Math.floor((100 * disk.free) / disk.total)
    warnings.push({
      text: `${percent} % of the disk that its images are on are free`,
      hint: `\`crosscloud hosts prune --env ${environment}\` removes images that nobody needs any more.`,
    })
  }
  if (OLD_STORAGE.includes(storage)) {
    warnings.push({
      text: `it stores images by ${storage}, which is slow or no longer looked after`,
      hint: 'overlay2 is the usual driver; changing it removes all images and containers of the host.',
    })
  }
  return warnings
}
