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

/** Of tmpfs(5) and mount(8), as engines take them. */
const TMPFS_OPTION =
  /^(?:size=\d+[kKmMgG%]?|mode=[0-7]{1,5}|[ug]id=\d+|nr_(?:inodes|blocks)=\d+[kKmMgG]?|mpol=.+|(?:a|dir)?sync|defaults|r[ow]|(?:no)?(?:dev|exec|suid|atime|diratime|relatime|strictatime|mand)|r?(?:bind|private|shared|slave|unbindable)|remount|(?:no)?tmpcopyup)$/

/** Reads `/path[:options]`; an engine refuses an option only when the container starts. */
export function parseTmpfs(text: string): Tmpfs {
  const [, path, options = ''] = TMPFS.exec(text) ?? []
  const odd = options.split(',').find((option) => option !== '' && !TMPFS_OPTION.test(option))
  if (odd !== undefined) {
    throw new StepError('INPUT_INVALID', `"${text}" has the option "${odd}", which tmpfs has not`, {
      hint: 'Write /tmp:size=64m,mode=1777.',
    })
  }
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

/** capabilities(7), without `CAP_`. */
const CAPABILITIES =
  'ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM'.split(
    ' ',
  )

export function checkCapability(name: string): void {
  if (CAPABILITIES.includes(name)) return
  throw new StepError('INPUT_INVALID', `is not a capability${didYouMean(name, CAPABILITIES)}`)
}

/** As Docker knows them: https://github.com/moby/sys/blob/main/signal/signal_linux.go */
const SIGNALS =
  'ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT RTMAX RTMIN SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ'.split(
    ' ',
  )
const OTHER_SIGNAL = /^(?:[1-9]|[1-5]\d|6[0-4]|RTMIN\+(?:[1-9]|1[0-5])|RTMAX-(?:[1-9]|1[0-4]))$/

export function checkSignal(written: string): void {
  const name = written.replace(/^SIG/, '')
  if (SIGNALS.includes(name) || OTHER_SIGNAL.test(name)) return
  throw new StepError('INPUT_INVALID', `is not a signal${didYouMean(name, SIGNALS)}`)
}

export function checkVariable(name: string, value: string): void {
  if (!/^[^=\0]+$/.test(name)) {
    throw new StepError('INPUT_INVALID', 'is not the name of a variable: it is empty, or has "="')
  }
  if (value.includes('\0')) throw new StepError('INPUT_INVALID', 'has a NUL')
}

/** The kernel keeps these for each container; the engine refuses others only when it starts it. */
const SYSCTLS = /^(?:kernel\.(?:msgmax|msgmnb|msgmni|sem|shm\w+)|fs\.mqueue\.\w+|net\.[\w.-]+)$/

export function checkSysctl(name: string): void {
  if (SYSCTLS.test(name)) return
  throw new StepError('INPUT_INVALID', 'is not a setting of the kernel that a container has', {
    hint: 'Containers have net.*, fs.mqueue.*, kernel.msg*, kernel.sem and kernel.shm*.',
  })
}
