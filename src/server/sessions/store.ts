import { createHash } from 'node:crypto'
import { isIPv6 } from 'node:net'
import type { Cluster, Redis } from 'ioredis'
import { redisError } from '../../redis/errors.ts'
import type { KnownSubject } from './subject.ts'

/** A session as Redis keeps it; its own secret is only there as a hash, in the key. */
export interface SessionRecord extends KnownSubject {
  /** Of the client's key (RFC 7638). */
  thumbprint: string
  /** Milliseconds since 1970: no use of it makes it last longer. */
  end: number
  /** The ID token, sealed with the session's own secret: kept-token.ts. */
  idToken?: string | undefined
}

/** Sessions, and what counts only once. Throws UNAVAILABLE when Redis does not respond. */
export interface SessionStore {
  create(session: string, record: SessionRecord, expiresAt: number): Promise<void>
  find(session: string): Promise<SessionRecord | undefined>
  renew(session: string, expiresAt: number): Promise<void>
  remove(session: string): Promise<boolean>
  /** Ends all sessions of a job's owner or of an issuer; how many there were. */
  removeAllOf(owner: string): Promise<number>
  /** Whether a proof of this key is used for the first time; it is remembered until `until`. */
  useProof(thumbprint: string, id: string, until: number): Promise<boolean>
  /**
   * Whether an ID token is this key's: the first that uses it. A client whose answer was lost may ask
   * again with its key; whoever stole the token has another one.
   */
  claimToken(
    token: { issuer: string; id: string },
    thumbprint: string,
    until: number,
  ): Promise<boolean>
  /** Failed logins from an address within the current minute. */
  failures(address: string): Promise<number>
  addFailure(address: string): Promise<void>
}

export interface StoreOptions {
  client: Redis | Cluster
  /** Name of the Redis server in messages. */
  server: string
  /** Before all keys: one slot of a cluster. */
  base: string
}

const hash = (...parts: string[]) =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64url')

const MINUTE = 60_000

export function openSessionStore({ client, server, base }: StoreOptions): SessionStore {
  const redis = client as Redis
  const request = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw redisError(server, error)
    }
  }
  const setOnce = async (key: string, value: string, until: number) =>
    (await redis.set(key, value, 'PXAT', Math.ceil(until), 'NX')) === 'OK'
  const sessionKey = (session: string) => `${base}session:${hash(session)}`
  const ownerKey = (owner: string) => `${base}sessions-of:${hash(owner)}`
  const failureKey = (address: string) =>
    `${base}failed-logins:${hash(networkOf(address))}:${Math.floor(Date.now() / MINUTE)}`
  return {
    create: (session, record, expiresAt) =>
      request(async () => {
        const key = sessionKey(session)
        await redis.set(key, JSON.stringify(record), 'PXAT', expiresAt)
        for (const owner of ownersOf(record)) {
          await redis.sadd(ownerKey(owner), key)
          await redis.pexpire(ownerKey(owner), LONGEST_SESSION)
        }
      }),
    find: (session) =>
      request(async () => {
        const text = await redis.get(sessionKey(session))
        return text === null ? undefined : (JSON.parse(text) as SessionRecord)
      }),
    renew: (session, expiresAt) =>
      request(async () => void (await redis.pexpireat(sessionKey(session), expiresAt))),
    remove: (session) => request(async () => (await redis.del(sessionKey(session))) === 1),
    removeAllOf: (owner) =>
      request(async () => {
        const keys = await redis.smembers(ownerKey(owner))
        await redis.del(ownerKey(owner))
        return keys.length === 0 ? 0 : redis.del(...keys)
      }),
    useProof: (thumbprint, id, until) =>
      request(() => setOnce(`${base}dpop:${hash(thumbprint, id)}`, '1', until)),
    claimToken: ({ issuer, id }, thumbprint, until) =>
      request(async () => {
        const key = `${base}id-token:${hash(issuer, id)}`
        return (await setOnce(key, thumbprint, until)) || (await redis.get(key)) === thumbprint
      }),
    failures: (address) => request(async () => Number((await redis.get(failureKey(address))) ?? 0)),
    addFailure: (address) =>
      request(async () => {
        const key = failureKey(address)
        if ((await redis.incr(key)) === 1) await redis.pexpire(key, 2 * MINUTE)
      }),
  }
}

/** No session lives longer, however long its ID token is valid. */
export const LONGEST_SESSION = 24 * 3_600_000

/** What sessions can be ended by: a person's login, a project, an issuer. */
export function ownersOf({ subject, project }: KnownSubject): string[] {
  const { identity, by } = subject
  return [`${identity} user ${by}`, `${identity} project ${project}`, identity]
}

/** One subscriber has a whole /64 of IPv6. */
function networkOf(address: string): string {
  if (!isIPv6(address) || /^::ffff:/i.test(address)) return address
  const [head = '', tail = ''] = address.split('::')
  const groups = head.split(':').filter(Boolean)
  const rest = tail.split(':').filter(Boolean)
  const zeros = address.includes('::') ? 8 - groups.length - rest.length : 0
  return [...groups, ...Array<string>(Math.max(0, zeros)).fill('0'), ...rest].slice(0, 4).join(':')
}
