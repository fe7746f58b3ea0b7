import { isIP } from 'node:net'
import { StepError } from '../../../core/errors.ts'
import { didYouMean } from '../../../core/settings/suggest.ts'

/** A file system in memory, empty whenever the container starts. */
export interface Tmpfs {
  path: string
  /** As mount takes them: `size=64m,mode=1777`. */
  options: string
}

/** A device of the host in a container. */
export interface Device {
  source: string
  path: string
  /** Of `r`, `w`, `m`: read, write, make nodes. */
  access: string
}

/** The most of a resource that a process may have; -1 is without a limit. */
export interface Ulimit {
  name: string
  soft: number
  hard: number
}

export const EXTRA_HOST = /^([A-Za-z0-9_.-]+)[:=]\[?([0-9a-fA-F:.]+|host-gateway)\]?$/
export const TMPFS = /^(\/[^:]*)(?::([\w=%.,-]*))?$/
export const DEVICE = /^(\/[^:]+)(?::(\/[^:]+))?(?::([rwm]{1,3}))?$/
export const USER = /^[\w][\w.-]*(?::[\w][\w.-]*)?$/
export const CAPABILITY = /^(?:CAP_)?[A-Z][A-Z_]*$/
export const HOSTNAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$/
export const SIGNAL = /^(?:SIG)?(?:[A-Z][A-Z0-9]*(?:[+-]\d+)?|\d{1,2})$/

/** Reads `name:address`, as `docker run --add-host` does; `host-gateway` is the host itself. */
export function parseExtraHost(text: string): string {
  const [, name, address = ''] = EXTRA_HOST.exec(text) ?? []
  if (name !== undefined && (address === 'host-gateway' || isIP(address) !== 0)) {
    return `${name}:${address}`
  }
  throw new StepError('INPUT_INVALID', `"${text}" is not a host name and its address`, {
    hint: 'Write db.internal:10.0.0.5, or host:host-gateway.',
  })
}

/** Reads `/path[:options]`. */
export function parseTmpfs(text: string): Tmpfs {
  const [, path, options = ''] = TMPFS.exec(text) ?? []
  if (path !== undefined && path !== '/') return { path, options }
  throw new StepError('INPUT_INVALID', `"${text}" is not a folder in memory`, {
    hint: 'Write /tmp, or /tmp:size=64m,mode=1777.',
  })
}

/** Reads `/dev/source[:/dev/path][:rwm]`. */
export function parseDevice(text: string): Device {
  const [, source, path = source, access = 'rwm'] = DEVICE.exec(text) ?? []
  if (source !== undefined && path !== undefined) return { source, path, access }
  throw new StepError('INPUT_INVALID', `"${text}" is not a device`, {
    hint: 'Write /dev/ttyUSB0, or /dev/ttyUSB0:/dev/serial:rw.',
  })
}

/** Getrlimit's names as Docker knows them: https://pkg.go.dev/github.com/docker/go-units#Ulimit */
const ULIMITS =
  'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
    ' ',
  )

export function checkUlimit({ name, soft, hard }: Ulimit): void {
  if (!ULIMITS.includes(name)) {
    const hint = `Known: ${ULIMITS.join(', ')}.`
    throw new StepError('INPUT_INVALID', `is not a limit${didYouMean(name, ULIMITS)}`, { hint })
  }
  if (hard !== -1 && (soft > hard || soft === -1)) {
    throw new StepError('INPUT_INVALID', 'its soft limit is above its hard limit')
  }
}

/** The kernel keeps these for each container; the engine refuses others only when it starts it. */
const SYSCTLS = /^(?:kernel\.(?:msgmax|msgmnb|msgmni|sem|shm\w+)|fs\.mqueue\.\w+|net\.[\w.-]+)$/

export function checkSysctl(name: string): void {
  if (SYSCTLS.test(name)) return
  throw new StepError('INPUT_INVALID', 'is not a setting of the kernel that a container has', {
    hint: 'Containers have net.*, fs.mqueue.*, kernel.msg*, kernel.sem and kernel.shm*.',
  })
}
