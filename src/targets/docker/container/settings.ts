import { isIP } from 'node:net'
import { z } from 'zod'
import { byteSize, parsed, readOrReport } from '../../../core/settings/schema.ts'
import { secretSettings } from '../../secret-settings.ts'
import {
  CAPABILITY,
  checkCapability,
  checkSignal,
  checkSysctl,
  checkUlimit,
  checkVariable,
  DEVICE,
  EXTRA_HOST,
  HOSTNAME,
  parseDevice,
  parseExtraHost,
  parseTmpfs,
  SIGNAL,
  TMPFS,
  type Ulimit,
  USER,
} from './notation.ts'

/** For an engine 0 is no limit, or its own default: who writes it means neither. */
export const sizeFrom = (least: number, otherwise: string) =>
  byteSize.refine((bytes) => bytes >= least, otherwise)

/** Variables of a container. */
export const plainVariables = z.record(z.string(), z.string()).transform((written, check) => {
  for (const [name, value] of Object.entries(written)) {
    readOrReport(() => checkVariable(name, value), check, [name])
  }
  return written
})

/** Numbers and yes or no where the engine wants texts, as YAML writes them. */
const texts = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean()]).transform((value) => String(value)),
)

/** Labels that this program and its images keep. */
const OWN_LABELS = /^io\.crosscloud\./

const labels = texts.transform((written, check) => {
  for (const name of Object.keys(written)) {
    if (!OWN_LABELS.test(name) && name !== '') continue
    const message = name === '' ? 'has no name' : 'is a label that only crosscloud sets'
    check.addIssue({ code: 'custom', message, path: [name] })
  }
  return written
})

const limit = z.number().int().min(-1)
const ulimits = z
  .record(z.string(), z.union([limit, z.strictObject({ soft: limit, hard: limit })]))
  .transform((written, check) =>
    Object.entries(written).map(([name, value]): Ulimit => {
      const limits = typeof value === 'number' ? { soft: value, hard: value } : value
      const ulimit = { name, ...limits }
      readOrReport(() => checkUlimit(ulimit), check, [name])
      return ulimit
    }),
  )

const sysctls = texts.transform((written, check) => {
  for (const name of Object.keys(written)) readOrReport(() => checkSysctl(name), check, [name])
  return written
})

const cpus = z
  .union([z.number(), z.string().regex(/^\d+(?:\.\d+)?$/, 'is not a number; write 1.5')])
  .transform((written, check) => {
    const number = Number(written)
    if (number >= 0.01) return number
    check.addIssue({ code: 'custom', message: 'is less than 0.01' })
    return z.NEVER
  })

const memorySwap = z.union([z.literal(-1), z.literal('-1').transform(() => -1), byteSize])

const capabilities = z.array(
  z
    .string()
    .regex(CAPABILITY, 'is not a capability; write NET_BIND_SERVICE, or ALL')
    .transform((written, check) => {
      const name = written.replace(/^CAP_/, '')
      readOrReport(() => checkCapability(name), check)
      return name
    }),
)

/** What an engine is told unchanged, named as `docker run` and Compose name it. */
export const engineFields = {
  networks: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe('Several networks of the host, in place of network'),
  'extra-hosts': z
    .array(parsed(parseExtraHost).meta({ pattern: EXTRA_HOST.source }))
    .optional()
    .describe('Lines for /etc/hosts: db.internal:10.0.0.5; host-gateway is the host'),
  dns: z
    .array(z.string().refine((text) => isIP(text) !== 0, 'is not an IP address'))
    .optional()
    .describe('Name servers'),
  hostname: z
    .string()
    .regex(HOSTNAME, 'is not a host name')
    .optional()
    .describe('Host name in the container'),
  cpus: cpus.optional().describe('CPUs it may use: 1.5'),
  'memory-swap': memorySwap
    .optional()
    .describe('Limit of memory and swap together; -1 for no limit of swap'),
  'shm-size': sizeFrom(1, 'is 0; leave it out for the default of the engine')
    .optional()
    .describe('Size of /dev/shm'),
  ulimits: ulimits
    .optional()
    .describe('Limits of a process by name, as nofile: 65536; or soft and hard; -1 for none'),
  user: z
    .string()
    .regex(USER, 'is not a user; write 1000:1000, or name:group')
    .optional()
    .describe("User, and group, in place of the image's"),
  'read-only': z
    .boolean()
    .optional()
    .describe('Whether its file system is read-only; takes no rendered files'),
  tmpfs: z
    .array(parsed(parseTmpfs).meta({ pattern: TMPFS.source }))
    .optional()
    .describe('Folders in memory: /tmp:size=64m'),
  devices: z
    .array(parsed(parseDevice).meta({ pattern: DEVICE.source }))
    .optional()
    .describe("Devices of the host, in docker's notation"),
  'cap-add': capabilities.optional().describe('Capabilities of the kernel that it gets'),
  'cap-drop': capabilities.optional().describe('Capabilities that it loses; ALL for all'),
  init: z.boolean().optional().describe('Whether a small init is process 1, and reaps others'),
  'stop-signal': z
    .string()
    .regex(SIGNAL, 'is not a signal; write SIGTERM')
    .transform((written, check) => {
      readOrReport(() => checkSignal(written), check)
      return written
    })
    .optional()
    .describe('Signal that asks it to stop'),
  logging: z
    .strictObject({
      driver: z.string().min(1).optional().describe("Log driver; default: the engine's"),
      options: texts.optional().describe('Its options, as max-size: 10m'),
    })
    .optional(),
  labels: labels.optional().describe('Labels beside our own'),
  secrets: secretSettings.optional().describe('Secrets that it reads from files in /run/secrets'),
  sysctls: sysctls.optional().describe('Settings of the kernel, as net.core.somaxconn: 1024'),
}
