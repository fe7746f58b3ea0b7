import { z } from 'zod'

const URL_HELP = 'file:config/test.yaml, redis://…, rediss://…, etcd://…'

/** An environment's config centre: its URL, or that and what TLS needs. */
export const storeSettings = z.union([
  z.string().transform((url) => ({ url })),
  z.strictObject({
    url: z.string().describe(URL_HELP),
    ca: z.string().optional().describe('PEM file of the authority that signed its certificate'),
    cert: z.string().optional().describe('PEM file of our own certificate'),
    key: z.string().optional().describe("PEM file of that certificate's key"),
    'sentinel-password': z.string().optional().describe('Password of the Redis Sentinels'),
  }),
])

export const configKeySettings = z
  .string()
  .describe('Keys for encrypted values: file:PATH, or ${VARIABLE}; the first one encrypts')
