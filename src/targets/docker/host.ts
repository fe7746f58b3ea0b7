import type { Readable } from 'node:stream'
import type { InstanceChanges, InstanceOrigin, PlacedFile } from '../target.ts'
import type { EngineAddress } from './address.ts'
import type { EngineSettings } from './container/options.ts'
import type { HealthSettings } from './health/check.ts'
import type { PortBinding, Volume } from './notation.ts'
import type { HostOperations } from './operations/operations.ts'

/**
 * One of the two places of an application on a host, each with published ports of its own: the new
 * container starts in the free one while the old container serves in the other.
 */
export interface Slot {
  /** The first is the one that a proxy sends requests to. */
  ports: PortBinding[]
  /** Further variables of a container in this slot. */
  env: Record<string, string>
  /** What templates read as `{{slot "name"}}`. */
  values: Record<string, string>
}

export type SlotPair = readonly [Slot, Slot]

export type { HealthSettings } from './health/check.ts'

/** `container:` of an environment in crosscloud.yml, with its defaults. */
export interface ContainerSettings extends EngineSettings {
  network: string
  ports: PortBinding[]
  /** With slots the new container starts beside the old one, which is stopped afterwards. */
  slots?: SlotPair | undefined
  volumes: Volume[]
  /** Whether files may be placed on volumes; what they replace there comes back with the old container. */
  onVolume?: boolean | undefined
  /** Plain values; never secrets: whoever may use the host's engine can read them. */
  env: Record<string, string>
  /** bytes */
  memory?: number | undefined
  restart: 'no' | 'always' | 'unless-stopped' | 'on-failure'
  /** Seconds between asking the application to stop and ending it. */
  stopTimeout: number
  health?: HealthSettings | undefined
}

/** Where a container keeps what its files replaced on volumes. */
export const REPLACED_FOLDER = '/.crosscloud/replaced'

/** The container that must run. */
export interface ContainerSpec {
  /** What it is called when all went well; `<name>.next` and `<name>.previous` are its neighbours. */
  name: string
  /** Always by digest: `registry/name@sha256:…`. */
  image: string
  labels: Record<string, string>
  settings: ContainerSettings
  files: readonly PlacedFile[]
  /** Program and arguments in place of what the image would start. */
  command?: readonly string[] | undefined
}

export interface ContainerInfo {
  id: string
  name: string
  /** As it was created from: `registry/name@sha256:…`. */
  image: string
  labels: Record<string, string>
  running: boolean
  exitCode: number | undefined
  /** How often its host has started it again by itself since it was last started. */
  restarts: number
  /** Whether its host is about to start it again: it has ended, and does not run. */
  isRestarting?: boolean
  /** Where its ports are published, as settings write them: `10.1.0.11:18081:8080`. */
  ports?: readonly string[]
  /** Whether the kernel ended a process in it for lack of memory. */
  outOfMemory?: boolean
  /** Whether its image has a HEALTHCHECK, which its engine runs. */
  hasHealthCheck?: boolean
  /** What that said last: `starting`, `healthy` or `unhealthy`, and what the check printed. */
  health?: { status: string; output: string } | undefined
  /** What gives it power over its host, in words. */
  access?: readonly string[]
  /** Where a port of it responds, seen from here, when known: `http://127.0.0.1:8080`. */
  address(port: number): string | undefined
}

export interface RegistryCredential {
  username: string
  password: string
}

/** How people call a Docker Engine, and how it is reached. */
export interface HostAddress {
  name: string
  address: EngineAddress
  /** Folder with ca.pem, cert.pem and key.pem. */
  certificates: string | undefined
  /** Where its containers' ports are published when they name no address; default: everywhere. */
  bind?: string | undefined
}

/**
 * One machine that runs containers. Small verbs, each safe to repeat; the order of a deployment is
 * in rollout.ts, not here. Every driver passes test/targets/docker/host-conformance.ts.
 */
export interface Host extends HostOperations {
  readonly name: string
  /** Takes secrets out of what a container says, before any of it is cut or kept. */
  mask(text: string): string
  /** Where ports are published that name no address; everywhere when undefined. */
  readonly bind?: string | undefined
  /** Whether its engine runs on this machine, which reaches containers by their own addresses then. */
  readonly isLocal?: boolean
  /** UNAVAILABLE, naming the host, when it does not respond. */
  ping(): Promise<void>
  /** Throws where the host lacks what these settings need: a network, a log driver. */
  checkSettings(settings: ContainerSettings): Promise<void>
  pull(image: string, onProgress?: (done: number, total: number) => void): Promise<void>
  /** How many layers of an image, from the first on, it need not pull; `diffIds` are of its config. */
  heldLayers(image: string, diffIds: readonly string[]): Promise<number>
  inspect(name: string): Promise<ContainerInfo | undefined>
  /** Containers that have all these labels, stopped ones too. */
  list(labels: Record<string, string>): Promise<ContainerInfo[]>
  /**
   * Creates the container and places its files, but for those on volumes, which a running container
   * may see; it does not run yet.
   */
  create(spec: ContainerSpec): Promise<ContainerInfo>
  /** Places the files on volumes, and keeps in the container what they replace. */
  placeOnVolumes(id: string, spec: ContainerSpec): Promise<void>
  /** Puts back what `placeOnVolumes` replaced. */
  putBack(id: string): Promise<void>
  start(id: string): Promise<void>
  stop(id: string, timeoutSeconds: number): Promise<void>
  rename(id: string, name: string): Promise<void>
  remove(id: string): Promise<void>
  /**
   * Starts a created container, hands over the lines of its output, and waits for its end. When the
   * signal fires it is no longer waited for, and goes on.
   * @returns its exit code
   */
  run(id: string, onLine: (line: string) => void, signal: AbortSignal): Promise<number>
  /** The last lines of the container's output. */
  logs(id: string, lines: number): Promise<string[]>
  /** A tar stream of a path inside the container. NOT_FOUND when it has none. */
  archive(id: string, path: string): Promise<Readable>
  /** Everything in the container that is not as its image has it. */
  changes(id: string): Promise<InstanceChanges>
  /** What the container was made of. */
  origin(id: string): Promise<InstanceOrigin>
  /** Whether a path inside the container is a folder; a link to a folder is not. */
  isFolder(id: string, path: string): Promise<boolean>
  /** Where the link at a path inside the container leads; undefined for what is no link. */
  readLink(id: string, path: string): Promise<string | undefined>
  close(): Promise<void>
}
