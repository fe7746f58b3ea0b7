import { z } from 'zod'
import { toStepError } from '../../core/errors.ts'
import { tlsFileFields } from '../../core/settings/schema.ts'
import { parseStoreAddress, type StoreAddress } from './address.ts'
import type { StoreSettings } from './open.ts'

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
  .transform((given, check): StoreSettings => {
    const [settings, path] = typeof given === 'string' ? [{ url: given }, []] : [given, ['url']]
    const url = readAddress(settings.url, (message) => {
      // Without the text itself: it may hold a password.
      check.addIssue({ code: 'custom', message, path, input: 'the URL' })
    })
    return url === undefined ? z.NEVER : { ...settings, url }
  })

function readAddress(url: string, report: (problem: string) => void): StoreAddress | undefined {
  try {
    return parseStoreAddress(url)
  } catch (error) {
    const { message, hint = '' } = toStepError(error)
    report(`${message}. ${hint}`.trim())
    return undefined
  }
}

export const configKeySettings = z
  .string()
  .describe('Keys for encrypted values: file:PATH, or ${VARIABLE}; the first one encrypts')
