import type { SessionStarted } from '../api/session.ts'
import { StepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { type SessionFile, sessionFile } from './kept-session.ts'
import { type ClientKey, createKey, keyOf } from './key.ts'

/** What a request says of who sends it. */
export interface Credentials {
  headers(request: { method: string; url: string; now: number }): Promise<Record<string, string>>
  /** After a 401: whether there are new ones to try with. */
  renew(): Promise<boolean>
}

export interface CredentialsOptions {
  server: string
  /** CROSSCLOUD_TOKEN */
  apiToken: string | undefined
  /** The ID token of the job; undefined when there is none. */
  findToken(): Promise<string | undefined>
  /** `POST session`, with a proof in its headers. */
  startSession(key: ClientKey, token: string): Promise<SessionStarted>
  stateFolder: string
  hide(secret: string): void
  log: Log
}

export function openCredentials(options: CredentialsOptions): Credentials {
  const { apiToken, hide } = options
  if (!apiToken) return sessionCredentials(options)
  hide(apiToken)
  if (!/^[\w-]+$/.test(apiToken)) {
    throw new StepError('INPUT_INVALID', 'CROSSCLOUD_TOKEN is not an API token', {
      hint: 'Such a token begins with cct_; ask whoever runs the server for one.',
    })
  }
  return {
    headers: async () => ({ authorization: `Bearer ${apiToken}` }),
    renew: async () => false,
  }
}

interface Session {
  session: string
  key: ClientKey
}

/** Milliseconds */
const RENEW_AGAIN = 30_000

function sessionCredentials(options: CredentialsOptions): Credentials {
  let current: Promise<Session> | undefined
  let renewedAt = Number.NEGATIVE_INFINITY
  return {
    async headers({ method, url, now }) {
      current ??= openSession(options, renewedAt > 0)
      const { session, key } = await current.catch((error: unknown) => {
        current = undefined
        throw error
      })
      const proof = await key.prove({ method, url, session, now })
      return { authorization: `DPoP ${session}`, dpop: proof }
    },
    async renew() {
      // A server that refuses a new session at once does not want any.
      if (Date.now() - renewedAt < RENEW_AGAIN) return false
      renewedAt = Date.now()
      current = undefined
      return true
    },
  }
}

/** The one that an earlier step of the same job has kept, or a new one. */
async function openSession(options: CredentialsOptions, fresh: boolean): Promise<Session> {
  const { server, hide, log, stateFolder } = options
  const token = await options.findToken()
  if (token === undefined) throw noToken(server)
  hide(token)
  checkAudience(token, server)
  const file = sessionFile(stateFolder, { server, token }, log)
  const kept = await file.read()
  // The key is kept even where the session is not: the same token may start another one with it.
  const key = kept ? await keyOf(kept.key) : await createKey()
  if (kept && !fresh && Date.parse(kept.expiresAt) > Date.now()) {
    hide(kept.session)
    return { session: kept.session, key }
  }
  const { session } = await startAndKeep(options, { key, token, file })
  hide(session)
  return { session, key }
}

async function startAndKeep(
  { startSession, log }: CredentialsOptions,
  { key, token, file }: { key: ClientKey; token: string; file: SessionFile },
): Promise<SessionStarted> {
  const started = await startSession(key, token)
  log.debug(`the server takes this for ${started.subject.name}`)
  const { session, expiresAt } = started
  await file.write({ session, expiresAt, key: key.jwk })
  return started
}

function noToken(server: string): StepError {
  return new StepError('UNAUTHORIZED', `nothing says to ${server} who this is`, {
    hint: `In GitLab write "id_tokens: { CROSSCLOUD_SERVER_TOKEN: { aud: ${JSON.stringify(server)} } }" in the job, in GitHub "permissions: { id-token: write }"; elsewhere set CROSSCLOUD_TOKEN to an API token.`,
  })
}

/** A token for somebody else is sent to nobody. */
function checkAudience(token: string, server: string): void {
  const { aud } = payloadOf(token)
  if ([aud].flat().includes(server)) return
  throw new StepError('UNAUTHORIZED', `the ID token is not for ${server}`, {
    hint: `Its aud must be the address of the server: give the template the input server, or write "id_tokens: { CROSSCLOUD_SERVER_TOKEN: { aud: ${JSON.stringify(server)} } }" in the job.`,
  })
}

function payloadOf(token: string): { aud?: unknown } {
  try {
    const [, payload = ''] = token.split('.')
    const value: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString())
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}
