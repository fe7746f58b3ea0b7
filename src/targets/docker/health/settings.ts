import { validateHeaderName, validateHeaderValue } from 'node:http'
import { z } from 'zod'
import { StepError } from '../../../core/errors.ts'
import { parsed, readOrReport, waitingTime } from '../../../core/settings/schema.ts'
import { HEALTH, isPort, parseHealth } from '../notation.ts'
import {
  defaults,
  type HealthCheck,
  type HealthSettings,
  type HttpCheck,
  type StatusRange,
} from './check.ts'

const STATUSES = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/
const TCP = /^:(\d{1,5})$/

/** Reads `200` or `200-399`. */
export function parseStatuses(text: string): StatusRange {
  const [, first, last = first] = STATUSES.exec(text) ?? []
  if (first !== undefined && Number(first) <= Number(last)) return [Number(first), Number(last)]
  throw new StepError('INPUT_INVALID', `"${text}" is not an HTTP status or a range of them`, {
    hint: 'Write 200, 200-399, or a list of these.',
  })
}

/** Reads `:8080`. */
export function parseTcp(text: string): { port: number } {
  const [, port = ''] = TCP.exec(text) ?? []
  if (isPort(port)) return { port: Number(port) }
  throw new StepError('INPUT_INVALID', `"${text}" is not a port`, {
    hint: "Write the container's port, like :8080.",
  })
}

const status = z.union([z.number().int(), z.string()])
const statuses = z
  .union([status, z.array(status).min(1)])
  .transform((written, check): StatusRange[] =>
    readOrReport(() => [written].flat().map((each) => parseStatuses(String(each))), check),
  )

const headers = z.record(z.string(), z.string()).transform((written, check) => {
  for (const [name, value] of Object.entries(written)) {
    readOrReport(() => checkHeader(name, value), check, [name])
  }
  return written
})

function checkHeader(name: string, value: string): void {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
  } catch {
    throw new StepError('INPUT_INVALID', 'is not an HTTP header')
  }
}

const body = z.string().transform((source, check) =>
  readOrReport(() => {
    new RegExp(source)
    return source
  }, check),
)

const httpParts = z.strictObject({
  port: z.number().int().min(1).max(65535).describe("The container's port"),
  path: z
    .string()
    .regex(/^\/\S*$/, 'is not a path; write /healthz')
    .describe('What is asked for; redirects are not followed'),
  statuses: statuses
    .optional()
    .describe('Statuses with which all is well: 200, 200-399, or a list; default 200-299'),
  headers: headers.optional().describe('Headers to send; never secrets, the container keeps them'),
  body: body.optional().describe('Regular expression for the first 64 KiB of the body'),
})

const http = z
  .union([z.string().meta({ pattern: HEALTH.source }), httpParts])
  // After the union: a problem inside one of its members would be reported as "Invalid input".
  .transform(
    (written, check): HttpCheck =>
      typeof written === 'string' ? readOrReport(() => parseHealth(written), check) : written,
  )

/** A check as a container's label keeps it: what `resolveHealth` returned. */
export const keptHealth = z
  .strictObject({
    http: httpParts.extend({ statuses: z.array(keptStatuses()).min(1).optional() }).optional(),
    tcp: z.strictObject({ port: httpParts.shape.port }).optional(),
    docker: z.literal(true).optional(),
    command: z.array(z.string()).min(1).optional(),
    running: milliseconds().optional(),
    timeout: milliseconds().min(1),
    interval: milliseconds().optional(),
    requestTimeout: milliseconds().optional(),
    successes: z.number().int().min(1).optional(),
  })
  .refine((kept) => kinds.filter((kind) => kept[kind] !== undefined).length === 1)
  .transform((kept) => kept as HealthSettings)

function keptStatuses() {
  const one = z.number().int().min(100).max(599)
  return z.tuple([one, one])
}

/** No longer than a timer can wait. */
function milliseconds() {
  return z
    .number()
    .int()
    .min(0)
    .max(2 ** 31 - 1)
}

const checks = {
  http: http
    .optional()
    .describe("The container's port and the path that answers 2xx when all is well: :8080/healthz"),
  tcp: parsed(parseTcp)
    .meta({ pattern: TCP.source })
    .optional()
    .describe("The container's port that takes connections when all is well: :8080"),
  docker: z.literal(true).optional().describe("By the image's own HEALTHCHECK"),
  command: z
    .array(z.string())
    .min(1)
    .optional()
    .describe('Program and arguments, run in the container; all is well when it ends with 0'),
  running: waitingTime.optional().describe('By running for that long; 3s without a health check'),
}
const kinds = Object.keys(checks) as (keyof typeof checks)[]

/** What a check of this kind takes beside it; how long it lasts is its own affair. */
const timings: Readonly<Record<(typeof kinds)[number], readonly string[]>> = {
  http: ['timeout', 'interval', 'request-timeout', 'successes'],
  tcp: ['timeout', 'interval', 'request-timeout', 'successes'],
  docker: ['timeout'],
  command: ['timeout', 'interval', 'request-timeout', 'successes'],
  running: [],
}

/** `container.health:` in crosscloud.yml: exactly one check, and how it is repeated. */
export const healthSettings = z
  .strictObject({
    ...checks,
    timeout: waitingTime.optional().describe('How long a start may take; default 60s'),
    interval: waitingTime
      .optional()
      .describe('Time between two checks; default: 50ms at first, then up to 1s'),
    'request-timeout': waitingTime.optional().describe('How long one check may take; default 5s'),
    successes: z
      .number()
      .int()
      .min(1)
      .optional()
      .describe('How many checks in a row must succeed; default 1'),
  })
  .check(({ value, issues }) => {
    const [kind, ...more] = kinds.filter((each) => value[each] !== undefined)
    if (kind === undefined || more.length > 0) {
      const message = `needs exactly one of ${kinds.join(', ')}`
      issues.push({ code: 'custom', input: value, path: [], message })
      return
    }
    for (const key of timings.http) {
      if (value[key as keyof typeof value] === undefined || timings[kind].includes(key)) continue
      const message = `is not used with ${kind}`
      issues.push({ code: 'custom', input: value, path: [key], message })
    }
  })

export function resolveHealth(written: z.output<typeof healthSettings>): HealthSettings {
  const { running } = written
  return {
    ...checkOf(written),
    timeout: running === undefined ? (written.timeout ?? defaults.timeout) : Math.max(running, 1),
    interval: written.interval,
    requestTimeout: written['request-timeout'],
    successes: written.successes,
  }
}

function checkOf({
  http,
  tcp,
  docker,
  command,
  running = 0,
}: z.output<typeof healthSettings>): HealthCheck {
  if (http) return { http }
  if (tcp) return { tcp }
  if (docker) return { docker }
  return command ? { command } : { running }
}
