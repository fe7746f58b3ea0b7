import type { Log } from '../core/log.ts'
import type { HostResponse } from './responses.ts'

/** Which copy of an application, on which host of a target. */
export interface InstanceKey {
  host: string
  /** Unique on its host. */
  id: string
}

/** Which lines of an instance's output. */
export interface LogQuery {
  /** How many of the last; default: all of the time that is asked for. */
  lines?: number | undefined
  /** ISO 8601, UTC, to the nanosecond where it matters: only what was printed then or later. */
  since?: string | undefined
  /** Only what was printed then or before. */
  until?: string | undefined
  /** Waits for more until the instance ends. */
  follow?: boolean | undefined
}

export interface LogLine {
  /** ISO 8601, UTC, with nanoseconds: such texts sort by time. By the clock of its host. */
  at: string
  text: string
}

/** What an instance uses now. */
export interface InstanceStats {
  /** Percent of one processor: 250 is two and a half. */
  cpu: number
  /** bytes, without the cache that the kernel takes back when it needs it; undefined where nobody counts it */
  memory: number | undefined
  /** bytes */
  memoryLimit: number | undefined
  processes: number | undefined
  /** ISO 8601, UTC. */
  startedAt: string
}

export interface ExecOptions {
  /** Each line that the command prints. */
  onLine(line: string, stream: 'stdout' | 'stderr'): void
  /** Ends the waiting; the command itself goes on inside the instance. */
  signal: AbortSignal
}

/** What a person does with a running instance, beside starting and stopping it. */
export interface InstanceOperations {
  /** Its output, in the order in which it was printed. CANCELLED when the signal fires. */
  readLog(instance: InstanceKey, query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine>
  stats(instance: InstanceKey): Promise<InstanceStats>
  /**
   * Runs a command in it, by no shell and without a terminal or input.
   * @returns the command's exit code
   */
  exec(instance: InstanceKey, command: readonly string[], options: ExecOptions): Promise<number>
  /** What each thread of its Java virtual machine does. CONFLICT when it runs none that can be asked. */
  threadDump(instance: InstanceKey, signal: AbortSignal): Promise<string[]>
  /** The variables that it was started with; some may be secret. */
  variables(instance: InstanceKey): Promise<Record<string, string>>
  /** Stops and starts it, and returns when it is healthy again. */
  restart(instance: InstanceKey, signal: AbortSignal): Promise<void>
}

/** One file that an instance must have before its first start. */
export interface PlacedFile {
  /** Absolute path inside the instance. */
  path: string
  content: Buffer
  /** Octal permission bits. */
  mode: number
  uid: number
  gid: number
  /** What a label has in place of its SHA-256, which would let everybody test guesses at a secret. */
  slowHash?: string | undefined
}

/** A release to be stopped while it is at work, in an instance of its own. */
export interface StopTrialRequest {
  /** Always by digest: `registry/name@sha256:…`. */
  image: string
  labels: Record<string, string>
  files: readonly PlacedFile[]
  /** Path and query of a page that takes some 5 s; without it no request is at work when it is stopped. */
  slow: string | undefined
  log: Log
  /** Ends the trial; its instance is removed all the same. */
  signal: AbortSignal
}

/** What was seen of it. Times are in milliseconds. */
export interface StopTrial {
  host: string
  /** Of the instance, which is there no more. */
  name: string
  /** From its start until it was healthy. */
  boot: number
  /** What the first request waited once its port took connections; undefined where there was none. */
  firstResponse: number | undefined
  /** The request that was at work when it was asked to stop. */
  request: TriedRequest | undefined
  /** Whether it took new connections while it stopped; undefined where that was not seen. */
  takesNew: boolean | undefined
  stop: { exitCode: number | undefined; duration: number; timeout: number }
  warnings: HostCheck['warnings']
}

export interface TriedRequest {
  path: string
  /** Of a whole response. */
  status: number | undefined
  error: string | undefined
  duration: number
  /** Its response had come before the instance was asked to stop: that proves nothing. */
  isTooQuick: boolean
}

/** An image that a host keeps. */
export interface HostImage {
  /** Unique on its host. */
  id: string
  /** Under which names it is there: `registry/name@sha256:…`, `registry/name:tag`. */
  references: string[]
  labels: Readonly<Record<string, string>>
  /** bytes, layers that other images share included */
  size: number
  /** ISO 8601, UTC. */
  createdAt: string
  /** Instances that were made from it, stopped ones and those of other applications too. */
  usedBy: { name: string; running: boolean }[]
}

/** The images that pile up on hosts; a target that clears them away itself has none. */
export interface HostImages {
  list(): Promise<HostResponse<HostImage[]>[]>
  /**
   * Takes one name from an image; with the last name the image itself goes, and the layers that no
   * other image has. No error if it is gone already.
   */
  remove(host: string, reference: string): Promise<void>
}

/** What a host says of itself, and what may go wrong there. */
export interface HostCheck {
  facts: {
    /** `Docker 24.0.7` */
    engine: string
    apiVersion: string
    /** How images and instances are stored: `overlay2`. */
    storage: string | undefined
    /** bytes of the disk that the images are on, where it can be known */
    disk: { free: number; total: number } | undefined
    /** Milliseconds that its clock is ahead of ours; below zero: behind. */
    clockAhead: number | undefined
    /** Whether instances outlive a restart of the engine. */
    liveRestore: boolean | undefined
  }
  /** Each a fact and the next step. */
  warnings: { text: string; hint: string }[]
}
