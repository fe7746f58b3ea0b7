import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { redisError } from '../../redis/errors.ts'
import type { SessionRecord, StoreOptions } from '../sessions/store.ts'
import type { Checks } from './issuer.ts'

/** A login under way: the browser is at the issuer. */
export interface PendingLogin extends Checks {
  issuer: string
  /** Hash of the cookie of the browser that started it. */
  browser: string
  /** Path to return to. */
  to: string
}

/** A person's session; its end, subject and owners are those of every session. */
export interface LoginRecord extends SessionRecord {
  login: {
    issuer: string
    /** Sealed with the session's secret. */
    tokens: string
    /** When the issuer was asked last, in milliseconds since 1970. */
    checkedAt: number
  }
}

/** Logins in Redis, beside what sessions keep there. Throws UNAVAILABLE when it does not respond. */
export interface LoginStore {
  begin(pending: PendingLogin): Promise<void>
  /** What was begun with this state, once. */
  take(state: string): Promise<PendingLogin | undefined>
  /** Whether nobody else asks the issuer about this session at the moment. */
  claimCheck(session: string): Promise<boolean>
  endCheck(session: string): Promise<void>
}

/** How long somebody may take to log in at the issuer. */
export const LOGIN_LASTS = 10 * 60_000
/** Longer than an issuer may take. */
const CHECK_LASTS = 45_000

export const hashOf = (text: string) => createHash('sha256').update(text).digest('base64url')

export function openLoginStore({ client, server, base }: StoreOptions): LoginStore {
  const redis = client as Redis
  const request = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw redisError(server, error)
    }
  }
  const stateKey = (state: string) => `${base}login:${hashOf(state)}`
  const checkKey = (session: string) => `${base}login-check:${hashOf(session)}`
  return {
    begin: (pending) =>
      request(async () => {
        const key = stateKey(pending.state)
        await redis.set(key, JSON.stringify(pending), 'PX', LOGIN_LASTS)
      }),
    take: (state) =>
      request(async () => {
        const key = stateKey(state)
        const answers = await redis.multi().get(key).del(key).exec()
        const [error, text] = answers?.[0] ?? []
        if (error) throw error
        return typeof text === 'string' ? (JSON.parse(text) as PendingLogin) : undefined
      }),
    claimCheck: (session) =>
      request(
        async () => (await redis.set(checkKey(session), '1', 'PX', CHECK_LASTS, 'NX')) === 'OK',
      ),
    endCheck: (session) => request(async () => void (await redis.del(checkKey(session)))),
  }
}
