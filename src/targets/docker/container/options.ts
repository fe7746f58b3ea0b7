import type { ContainerCreateOptions, HostConfig } from 'dockerode'
import type { Device, Tmpfs, Ulimit } from './notation.ts'

/** What an engine is told as it was written; what is undefined is its own default. */
export interface EngineSettings {
  /** Networks beside the first. */
  moreNetworks?: readonly string[] | undefined
  /** `name:address` */
  extraHosts?: readonly string[] | undefined
  dns?: readonly string[] | undefined
  hostname?: string | undefined
  cpus?: number | undefined
  /** Bytes of memory and swap together; -1 is without a limit. */
  memorySwap?: number | undefined
  /** bytes */
  shmSize?: number | undefined
  ulimits?: readonly Ulimit[] | undefined
  user?: string | undefined
  readOnly?: boolean | undefined
  tmpfs?: readonly Tmpfs[] | undefined
  devices?: readonly Device[] | undefined
  capAdd?: readonly string[] | undefined
  capDrop?: readonly string[] | undefined
  init?: boolean | undefined
  stopSignal?: string | undefined
  logging?: { driver: string | undefined; options: Readonly<Record<string, string>> } | undefined
  labels?: Readonly<Record<string, string>> | undefined
  sysctls?: Readonly<Record<string, string>> | undefined
}

/** These settings in the body of the engine's "create a container" call, beside its HostConfig. */
export function containerPart({
  hostname,
  user,
  stopSignal,
}: EngineSettings): Partial<ContainerCreateOptions> {
  return defined({ Hostname: hostname, User: user, StopSignal: stopSignal })
}

/** The same for its HostConfig. */
export function hostPart(settings: EngineSettings): HostConfig {
  const { cpus, ulimits, tmpfs, devices, logging } = settings
  return defined({
    ExtraHosts: list(settings.extraHosts),
    Dns: list(settings.dns),
    NanoCpus: cpus === undefined ? undefined : Math.round(cpus * 1e9),
    MemorySwap: settings.memorySwap,
    ShmSize: settings.shmSize,
    Ulimits: ulimits?.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
    ReadonlyRootfs: settings.readOnly,
    Tmpfs: tmpfs && Object.fromEntries(tmpfs.map(({ path, options }) => [path, options])),
    Devices: devices?.map(({ source, path, access }) => ({
      PathOnHost: source,
      PathInContainer: path,
      CgroupPermissions: access,
    })),
    CapAdd: list(settings.capAdd),
    CapDrop: list(settings.capDrop),
    Init: settings.init,
    LogConfig: logging && { Type: logging.driver ?? '', Config: logging.options },
    Sysctls: settings.sysctls && { ...settings.sysctls },
  })
}

const list = (items: readonly string[] | undefined) => items && [...items]

/** Without what is undefined: the engine's own default stays. */
function defined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> }
}
