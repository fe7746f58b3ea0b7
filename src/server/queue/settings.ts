import { z } from 'zod'
import { duration, objectName, tlsFileFields } from '../../core/settings/schema.ts'
import type { TlsFiles } from '../../core/tls-files.ts'
import { parseRedisUrl } from '../../redis/address.ts'

/** Where Redis is, and PEM files for TLS. */
export interface RedisSettings extends TlsFiles {
  url: string
  'sentinel-password'?: string | undefined
}

/** Longer than a signature counts. */
const SHORTEST_MEMORY = 10 * 60_000

/** `queue:` in crosscloud.server.yml: the Redis that keeps the events, and how they are worked on. */
export const queueSettings = z.strictObject({
  redis: z
    .union([
      z.string().transform((url): RedisSettings => ({ url })),
      z.strictObject({
        url: z.string().describe('redis://…, rediss://…, as for a config centre'),
        ...tlsFileFields,
        'sentinel-password': z.string().optional().describe('Password of the Redis Sentinels'),
      }),
    ])
    .superRefine(({ url }, check) => {
      try {
        parseRedisUrl(url)
      } catch {
        const message = 'is not the URL of a Redis; write redis://:password@host:6379/0'
        check.addIssue({ code: 'custom', message, input: 'the URL' })
      }
    })
    .describe('Redis with appendonly yes and maxmemory-policy noeviction'),
  name: objectName.default('crosscloud').describe('Servers with the same name share the events'),
  volatile: z
    .boolean()
    .default(false)
    .describe('Whether a Redis that loses everything when it restarts will do'),
  calls: z.int().min(1).max(1000).default(20).describe('Calls to other servers at the same time'),
  runs: z.int().min(1).max(100).default(2).describe('Commands run here at the same time'),
  takeover: duration
    .prefault('30s')
    .describe('After what time without a sign of life the work of a worker is taken over'),
  remember: duration
    .refine((time) => time >= SHORTEST_MEMORY, 'is less than 10m: a replay would be taken for news')
    .prefault('24h')
    .describe('How long a delivery is known, and not taken a second time'),
  keep: z.int().min(0).max(1_000_000).default(10_000).describe('Events kept after they are over'),
  patience: duration
    .prefault('1m')
    .describe('How long work goes on after the server was told to stop'),
})
