import { z } from 'zod'
import { tlsFileFields } from '../../core/settings/schema.ts'

const URL_HELP = 'file:config/test.yaml, redis://…, rediss://…, etcd://…'

/** An environment's config centre: its URL, or that and what TLS needs. */
export const storeSettings = z.union([
  z.string().transform((url) => ({ url })),
  z.strictObject({
    url: z.string().describe(URL_HELP),
    ...tlsFileFields,
    'sentinel-password': z.string().optional().describe('Password of the Redis Sentinels'),
  }),
])

export const configKeySettings = z
  .string()
  .describe('Keys for encrypted values: file:PATH, or ${VARIABLE}; the first one encrypts')
