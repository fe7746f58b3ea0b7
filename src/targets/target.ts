import type { Readable } from 'node:stream'
import { StepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type {
  HostCheck,
  HostImages,
  InstanceKey,
  InstanceOperations,
  PlacedFile,
  StopTrial,
  StopTrialRequest,
} from './operations.ts'
import type { ProxyPreview } from './proxy.ts'
import type { EndingOf, Remains } from './remains.ts'
import type { HostResponse } from './responses.ts'
import type { OneOffCommands, RolloutStrategy } from './rollout-settings.ts'

export * from './operations.ts'

/** By which driver a target is opened. */
export type TargetKind = 'docker'

/** `current` serves; `next` is to replace it and is not proven yet; `previous` is kept, stopped. */
export type InstanceRole = 'current' | 'next' | 'previous'

/** One copy of an application on a target: a container on a host; later a Swarm task or a Pod. */
export interface Instance {
  /** Unique on its host. */
  id: string
  name: string
  /** The host of the target that it runs on. */
  host: string
  /** Undefined for an instance that is not the environment's own, whatever its labels are. */
  role: InstanceRole | undefined
  /** As it was created from: `registry/name@sha256:…`. */
  image: string
  /** See labels.ts. */
  labels: Readonly<Record<string, string>>
  running: boolean
  /** Undefined while it runs, and before its first start. */
  exitCode: number | undefined
  /** How often its host has started it again by itself since it was last started. */
  restarts: number
  /** Whether its host is about to start it again: it has ended, and does not run. */
  isRestarting?: boolean | undefined
  /** Where its ports are published, as settings write them: `10.1.0.11:18081:8080`. */
  ports?: readonly string[] | undefined
}

/** The environment's own by role, all with these labels (none: every one), or all with this name or id. */
export type InstanceQuery =
  | { roles: readonly InstanceRole[] }
  | { labels: Readonly<Record<string, string>> }
  | { name: string }

/** A path of an instance that is not as its image has it. */
export interface FileChange {
  path: string
  kind: 'added' | 'changed' | 'deleted'
}

/** How an instance differs from its image; a folder is listed with whatever changed in it. */
export interface InstanceChanges {
  changes: FileChange[]
  /** Where volumes, folders of the host or of memory are mounted: what is in there is not listed. */
  volumes: string[]
}

/** What an instance was made of, as its host tells without looking at any file. */
export interface InstanceOrigin {
  /** Digest of its image: of the config or the manifest, by how its host keeps images. */
  imageDigest: string
  /** Bytes of the files in it that are not its image's. */
  ownBytes: number
  /** Where volumes, folders of the host or of memory are mounted. */
  volumes: string[]
}

export type OneOff = 'before' | 'after'

/** Commands to run once, and what is told of them; what `onStart` throws stops the command. */
export interface RolloutCommands extends OneOffCommands {
  /** Takes secrets out of what a command prints, before it is kept. */
  mask(text: string): string
  /** Called once it is certain that the command can be started. */
  onStart(which: OneOff, host: string): Promise<void>
  /** Called when it has succeeded, with its last lines. */
  onEnd(which: OneOff, end: { duration: number; lines: readonly string[] }): Promise<void>
}

/** What must run on every host of a target. */
export interface RolloutRequest {
  /** Always by digest: `registry/name@sha256:…`. */
  image: string
  labels: Record<string, string>
  files: readonly PlacedFile[]
  log: Log
  /** Stops the rollout between any two steps; what was changed is then restored. */
  signal: AbortSignal
  /** Default: one host after the other, and all restored on failure. */
  strategy?: RolloutStrategy | undefined
  commands?: RolloutCommands | undefined
  /** Throws unless a running, healthy instance is the right one; the log names its host. */
  verify(instance: Instance, log: Log): Promise<void>
  /** Tells a deployment that failed from one that was cut off; without it all were cut off. */
  endingOf?: EndingOf | undefined
  /** Throws when the deployment's lock was lost. */
  checkLock?: (() => Promise<void>) | undefined
  /** Takes over the names of instances that are not of this application, and keeps those. */
  adopt?: boolean | undefined
}

/** What a rollout would be asked for, and the diff ids of its image's layers, in order. */
export interface PreviewRequest extends Pick<RolloutRequest, 'image' | 'labels' | 'adopt'> {
  diffIds: readonly string[]
  /** Whether the rollout works a proxy, which sends nothing to an instance that is not ready. */
  proxied?: boolean | undefined
}

/** What a rollout would find on a host. */
export interface HostPreview {
  current: Instance | undefined
  /** Names of instances that a deployer which was killed has left: the rollout repairs that first. */
  leftovers: string[]
  /** Why the rollout would not touch this host. */
  refusal: StepError | undefined
  /** What may cost requests there, without the host's name. */
  warning: string | undefined
  /** What gives the new instance power over its host, in words, and whether the current one lacks it. */
  access: { text: string; isNew: boolean }[]
  /** Layers of the image, from the first on, that the host need not fetch. */
  heldLayers: number
  /** Where an instance has two places: the free one, which it starts in beside the other. */
  slot: number | undefined
}

/** One instance after a rollout. */
export interface InstanceResult {
  host: string
  instanceId: string
  previousInstanceId: string | undefined
  /** The place that it has on its host, where there are two. */
  slot?: number | undefined
  /** Where it responds, when known. */
  url: string | undefined
  /** milliseconds */
  duration: number
  /** Milliseconds between stopping the old instance and the new one's first healthy response. */
  downtime: number
}

/** How a host stands after a rollout that failed. */
export interface HostStanding {
  host: string
  /**
   * Which instance serves now. `other`: that of a deployment that came after this one; `unknown`:
   * restoring failed, a person must look.
   */
  serves: 'old' | 'new' | 'other' | 'nothing' | 'unknown'
  /** Whether the rollout had begun to change this host. */
  touched: boolean
  /** The instance that serves now, if any. */
  instanceId: string | undefined
  /** Why the rollout failed on this host, or why it was not restored. */
  error: string | undefined
  /** Milliseconds spent on this host, restoring included. */
  duration: number
  /** The old instance runs again, and its health has not been checked: there was no time. */
  unproven?: boolean
  /** Of a host that kept the new instance. */
  result?: InstanceResult | undefined
}

/** What `rollOut` throws once it has begun to change hosts: the cause's code, and every host's standing. */
export interface RolloutFailure extends StepError {
  readonly standings: readonly HostStanding[]
  /**
   * Checks the health of what was restored in a hurry, and returns the failure as it is known then.
   * Only there when something is unproven; it needs no lock.
   */
  readonly prove: (() => Promise<RolloutFailure>) | undefined
}

export function isRolloutFailure(error: unknown): error is RolloutFailure {
  return error instanceof StepError && 'standings' in error && Array.isArray(error.standings)
}

/**
 * Where an environment runs: Docker hosts now, a Swarm or a Kubernetes namespace later. `hosts` are
 * its parts that fail each on their own; a cluster is one. Nothing is sent before the first call.
 * Every target passes test/targets/target-conformance.ts.
 */
export interface Target extends InstanceOperations {
  readonly hosts: readonly string[]
  /** Undefined where the target clears images away itself. */
  readonly images: HostImages | undefined
  ping(): Promise<HostResponse<void>[]>
  /** What each host says of itself, and how its current instances would end. Changes nothing. */
  check(): Promise<HostResponse<HostCheck>[]>
  /**
   * Starts an instance of its own on a host, which serves nobody, stops it while a request is at work
   * there, and removes it, whatever happens.
   */
  tryStop(host: string, request: StopTrialRequest): Promise<StopTrial>
  instances(query: InstanceQuery): Promise<HostResponse<Instance[]>[]>
  /** What the last deployment has left on each host; reads only. */
  remains(): Promise<HostResponse<Remains | undefined>[]>
  /** What a rollout would find, by the same checks; reads only. */
  preview(request: PreviewRequest): Promise<HostResponse<HostPreview>[]>
  /** What a rollout would find at the proxy that it works, if there is one; reads only. */
  previewProxy(): Promise<ProxyPreview | undefined>
  /** INPUT_INVALID for files that this target cannot give to an instance. */
  checkFiles(files: readonly PlacedFile[]): void
  /**
   * Puts the image on every host, or on none, unless the strategy says what stays on failure. Throws
   * a RolloutFailure once anything was changed.
   */
  rollOut(request: RolloutRequest): Promise<InstanceResult[]>
  /** A tar stream of a path inside an instance. NOT_FOUND when it has none. */
  read(instance: InstanceKey, path: string): Promise<Readable>
  /** Everything in an instance that is not as its image has it. */
  changes(instance: InstanceKey): Promise<InstanceChanges>
  /** What an instance was made of; far cheaper than `changes`. */
  origin(instance: InstanceKey): Promise<InstanceOrigin>
  /** Whether a path inside an instance is a folder; a link to a folder is not. */
  isFolder(instance: InstanceKey, path: string): Promise<boolean>
  /** Where the link at a path inside an instance leads; undefined for what is no link. */
  readLink(instance: InstanceKey, path: string): Promise<string | undefined>
  /** The last lines of its output. */
  logs(instance: InstanceKey, lines: number): Promise<string[]>
  start(instance: InstanceKey): Promise<void>
  /** Stops it and keeps it, for `start`. */
  stop(instance: InstanceKey): Promise<void>
  /** Removes it, running or not; no error if it is gone already. */
  remove(instance: InstanceKey): Promise<void>
  close(): Promise<void>
}

/** What the comparison of an instance with its image needs. */
export type InstanceReader = Pick<Target, 'read' | 'changes' | 'origin' | 'isFolder'>
