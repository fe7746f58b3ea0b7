import { z } from 'zod'
import { tlsFileFields } from '../../core/settings/schema.ts'
import { parseStoreUrl, type StoreAddress } from './address.ts'

const URL_HELP = 'file:config/test.yaml, redis://…, rediss://…, etcd://…'

/** An environment's config centre: its URL, or that and what TLS needs. */
export const storeSettings = z
  .union([
    z.string(),
    z.strictObject({
      url: z.string().describe(URL_HELP),
      ...tlsFileFields,
      'sentinel-password': z.string().optional().describe('Password of the Redis Sentinels'),
    }),
  ])
  // After the union: a problem inside one of its members would be reported as "Invalid input".
  .transform((written, check): StoreAddress => {
    const { url, ...rest } = typeof written === 'string' ? { url: written } : written
    try {
      return { url: parseStoreUrl(url), ...rest }
    } catch (error) {
      const path = typeof written === 'string' ? [] : ['url']
      check.addIssue({ code: 'custom', message: (error as Error).message, path })
      return z.NEVER
    }
  })

export const configKeySettings = z
  .string()
  .describe('Keys for encrypted values: file:PATH, or ${VARIABLE}; the first one encrypts')
