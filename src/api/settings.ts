import { z } from 'zod'
import { isLoopback } from '../core/http/loopback.ts'
import { duration } from '../core/settings/schema.ts'

/** https, or http on this machine; without credentials, query and fragment. */
export function isServerUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username, password, search, hash } = new URL(text)
  const isBare = username === '' && password === '' && search === '' && hash === ''
  return isBare && (protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname)))
}

/** As tokens and proofs have it. */
export const withoutSlash = (url: string) => url.replace(/\/+$/, '')

const url = z
  .string()
  .refine(isServerUrl, 'is not a usable URL; write https://host (http only for loopback)')
  .transform(withoutSlash)

/** How long a server may be away before a command gives up, in milliseconds. */
export const WAIT = 10 * 60_000

const inFull = z.strictObject({
  url: url.describe('Its address: the aud of ID tokens of jobs'),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe('PEM file of the authority that signed its certificate'),
  wait: duration
    .prefault('10m')
    .describe('How long the server may be away before a command gives up'),
})

/** `server:` in crosscloud.yml. */
export const serverSettings = z
  .union([url.transform((url) => ({ url, ca: undefined, wait: WAIT })), inFull])
  .describe(
    'Server that deploy, promote, rollback and verify-md5 run on; its own crosscloud.yml counts there',
  )

export type ServerAddress = z.output<typeof serverSettings>
