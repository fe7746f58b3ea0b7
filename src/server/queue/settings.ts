import { z } from 'zod'
import type { TlsFiles } from '../../core/files/tls-files.ts'
import { duration, objectName, tlsFileFields } from '../../core/settings/schema.ts'
import { parseRedisUrl, type RedisAddress } from '../../redis/address.ts'

/** Where Redis is, and PEM files for TLS. Holds passwords: never print it. */
export interface RedisSettings extends TlsFiles {
  url: RedisAddress
  'sentinel-password'?: string | undefined
}

/** Longer than a signature is valid. */
const SHORTEST_WINDOW = 10 * 60_000

const redis = z
  .union([
    z.string(),
    z.strictObject({
      url: z.string().describe('redis://…, rediss://…, as for a config centre'),
      ...tlsFileFields,
      'sentinel-password': z.string().optional().describe('Password of the Redis Sentinels'),
    }),
  ])
  .transform((given, check): RedisSettings => {
    const settings = typeof given === 'string' ? { url: given } : given
    try {
      return { ...settings, url: parseRedisUrl(settings.url) }
    } catch {
      const message = 'is not the URL of a Redis; write redis://:password@host:6379/0'
      check.addIssue({ code: 'custom', message, input: 'the URL' })
      return z.NEVER
    }
  })
  .describe('Redis with appendonly yes and maxmemory-policy noeviction')

const current = z.strictObject({
  redis,
  name: objectName.default('crosscloud').describe('Servers with the same name share the events'),
  'allow-volatile': z
    .boolean()
    .default(false)
    .describe('Whether a Redis that loses everything when it restarts will do'),
  concurrency: z
    .strictObject({
      requests: z
        .int()
        .min(1)
        .max(1000)
        .default(20)
        .describe('Requests to other servers at the same time'),
      commands: z.int().min(1).max(100).default(2).describe('Commands run here at the same time'),
    })
    .prefault({}),
  'stalled-timeout': duration
    .prefault('30s')
    .describe('After what time without a sign of life the work of a worker is taken over'),
  'dedupe-window': duration
    .refine((time) => time >= SHORTEST_WINDOW, 'is less than 10m: a replay would be taken for news')
    .prefault('24h')
    .describe('How long a delivery is known, and not taken a second time'),
  retention: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(10_000)
    .describe('Events kept after they are over'),
  'shutdown-timeout': duration
    .prefault('1m')
    .describe('How long running work may go on after SIGTERM'),
})

/** Names of version 0.1.0. */
const renamed: Readonly<Record<string, string>> = {
  patience: 'shutdown-timeout',
  takeover: 'stalled-timeout',
  remember: 'dedupe-window',
  keep: 'retention',
  calls: 'concurrency.requests',
  runs: 'concurrency.commands',
  volatile: 'allow-volatile',
}

/** `queue:` in crosscloud.server.yml: the Redis that keeps the events, and how they are worked on. */
export const queueSettings = z.preprocess((value, check) => {
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value)
  const old = entries.flatMap(([key]) => {
    const name = Object.hasOwn(renamed, key) ? renamed[key] : undefined
    return name === undefined ? [] : [{ key, name }]
  })
  if (old.length === 0) return value
  for (const { key, name } of old) {
    const [group, inner] = name.split('.')
    const yaml = inner === undefined ? '' : `, in YAML ${group}: { ${inner}: … }`
    const message = `has a new name: write queue.${name}${yaml}`
    check.addIssue({ code: 'custom', path: [key], message, input: value })
  }
  // What else is wrong is reported with them.
  const rest = Object.fromEntries(entries.filter(([key]) => !Object.hasOwn(renamed, key)))
  const others = current.safeParse(rest, { reportInput: true }).error?.issues ?? []
  check.issues.push(...(others as z.core.$ZodRawIssue[]))
  return value
}, current)

export type QueueSettings = z.output<typeof queueSettings>
