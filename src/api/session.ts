import { z } from 'zod'

/** `POST session`, with a DPoP proof in its header. */
export const sessionRequest = z.strictObject({
  token: z
    .string()
    .min(1)
    .max(128 * 1024)
    .describe('ID token of the job, its aud the URL of this server'),
})

const subject = z.object({
  kind: z.enum(['person', 'job', 'token']),
  name: z.string().describe('For people: job 4711 of team/webapi'),
  by: z.string().describe('Login, as the ledger has it'),
  identity: z.string().describe('Issuer of the signed token, or token'),
})

/** 201 of `POST session`. */
export const sessionStarted = z.object({
  session: z.string().describe('A secret: Authorization: DPoP SESSION, each time with a proof'),
  expiresAt: z.iso.datetime(),
  subject,
})

/** 200 of `GET session`: who the server takes the caller for. */
export const sessionInfo = z.object({
  via: z.enum(['session', 'token']),
  expiresAt: z.iso.datetime().nullable(),
  subject,
})

export type SessionStarted = z.output<typeof sessionStarted>
export type SessionInfo = z.output<typeof sessionInfo>
