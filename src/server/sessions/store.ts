import { isIPv6 } from 'node:net'
import type { Cluster, Redis } from 'ioredis'
import { redisError } from '../../redis/errors.ts'
import { CREATE, hash, idOfSession, sessionKeys } from './keys.ts'
import type { KnownSubject } from './subject.ts'

/** A session as Redis keeps it; its own secret is only there as a hash, in the key. */
export interface SessionRecord extends KnownSubject {
  /** Of the client's key (RFC 7638). */
  thumbprint: string
  /** Milliseconds since 1970. */
  startedAt: number
  /** Milliseconds since 1970: no use of it makes it last longer. */
  end: number
  /** Hash of the ID token that started it: when it is revoked, its token starts no other one. */
  token: string
  /** That ID token, sealed with the session's own secret: kept-token.ts. */
  jobToken?: string | undefined
}

/** A session as people see it: its id is none that could be used. */
export interface KeptSession extends SessionRecord {
  id: string
}

/** Sessions of an issuer, a login, a project: all that are given must fit. */
export interface SessionFilter {
  id?: string | undefined
  identity?: string | undefined
  user?: string | undefined
  project?: string | undefined
}

/** Sessions, and what counts only once. Throws UNAVAILABLE when Redis does not respond. */
export interface SessionStore {
  /** False when its job has so many already. */
  create(
    session: string,
    record: SessionRecord,
    limits: { expiresAt: number; most: number },
  ): Promise<boolean>
  find(session: string): Promise<SessionRecord | undefined>
  findById(id: string): Promise<SessionRecord | undefined>
  renew(session: string, expiresAt: number): Promise<void>
  /** The same session with another record; false where it is over. */
  replace(session: string, record: SessionRecord): Promise<boolean>
  remove(session: string): Promise<boolean>
  /** Those that live, the one that may last longest first. */
  list(filter: SessionFilter): Promise<KeptSession[]>
  /** Ends it, and its ID token starts no other one; false when there is no such session. */
  revoke(session: KeptSession): Promise<boolean>
  /** Whether a proof of this key is used for the first time; it is remembered until `until`. */
  useProof(thumbprint: string, id: string, until: number): Promise<boolean>
  /**
   * Whether an ID token is this key's: the first that uses it. A client whose answer was lost may ask
   * again with its key; whoever stole the token has another one.
   */
  claimToken(token: string, thumbprint: string, until: number): Promise<boolean>
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

const MINUTE = 60_000
const PAGE = 500
/** In place of the key that a token belongs to. */
const REVOKED = 'revoked'

export function openSessionStore({ client, server, base }: StoreOptions): SessionStore {
  const redis = client as Redis
  const keys = sessionKeys(base)
  const request = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw redisError(server, error)
    }
  }
  const setOnce = async (key: string, value: string, until: number) =>
    (await redis.set(key, value, 'PXAT', Math.ceil(until), 'NX')) === 'OK'
  const failureKey = (address: string) =>
    `${base}failed-logins:${hash(networkOf(address))}:${Math.floor(Date.now() / MINUTE)}`
  const findById = async (id: string) => {
    const text = await redis.get(keys.session(id))
    return text === null ? undefined : (JSON.parse(text) as SessionRecord)
  }
  const remove = async (id: string, record: KnownSubject) => {
    await redis.zrem(keys.index, id)
    await redis.zrem(keys.ofJob(jobOf(record)), id)
    return (await redis.del(keys.session(id))) === 1
  }
  return {
    create: (session, record, { expiresAt, most }) =>
      request(async () => {
        const id = idOfSession(session)
        const [key, ofJob] = [keys.session(id), keys.ofJob(jobOf(record))]
        const text = JSON.stringify(record)
        const values = [id, text, expiresAt, record.end, Date.now(), most, LONGEST_SESSION]
        return (await redis.eval(CREATE, 3, key, keys.index, ofJob, ...values)) === 1
      }),
    find: (session) => request(() => findById(idOfSession(session))),
    findById: (id) => request(() => findById(id)),
    renew: (session, expiresAt) =>
      request(
        async () => void (await redis.pexpireat(keys.session(idOfSession(session)), expiresAt)),
      ),
    replace: (session, record) =>
      request(async () => {
        const text = JSON.stringify(record)
        const key = keys.session(idOfSession(session))
        return (await redis.set(key, text, 'KEEPTTL', 'XX')) === 'OK'
      }),
    remove: (session) =>
      request(async () => {
        const id = idOfSession(session)
        const record = await findById(id)
        return record !== undefined && remove(id, record)
      }),
    list: (filter) =>
      request(async () => {
        const found: KeptSession[] = []
        for (let from = 0; ; from += PAGE) {
          const ids = await redis.zrevrange(keys.index, from, from + PAGE - 1)
          const texts = ids.length === 0 ? [] : await redis.mget(ids.map(keys.session))
          for (const [at, text] of texts.entries()) {
            if (text === null) continue
            const kept = { id: ids[at] ?? '', ...(JSON.parse(text) as SessionRecord) }
            if (fits(kept, filter)) found.push(kept)
          }
          if (ids.length < PAGE) return found
        }
      }),
    revoke: ({ id, ...record }) =>
      request(async () => {
        // First: whoever has key and token must not start another one in between.
        await redis.set(keys.token(record.token), REVOKED, 'KEEPTTL', 'XX')
        return remove(id, record)
      }),
    useProof: (thumbprint, id, until) =>
      request(() => setOnce(keys.proof(thumbprint, id), '1', until)),
    claimToken: (token, thumbprint, until) =>
      request(async () => {
        const key = keys.token(token)
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

/** Where a job cannot be told from the others of its project, they count as one. */
const jobOf = ({ subject }: KnownSubject) => hash(subject.identity, subject.name)

/** Of the ID token. */
export const tokenHash = (issuer: string, id: string) => hash(issuer, id)

const fits = (
  { id, subject, project }: KeptSession,
  { id: wanted = id, ...filter }: SessionFilter,
): boolean =>
  id === wanted &&
  subject.identity === (filter.identity ?? subject.identity) &&
  subject.by === (filter.user ?? subject.by) &&
  project === (filter.project ?? project)

/** One subscriber has a whole /64 of IPv6. */
function networkOf(address: string): string {
  if (!isIPv6(address) || /^::ffff:/i.test(address)) return address
  const [head = '', tail = ''] = address.split('::')
  const groups = head.split(':').filter(Boolean)
  const rest = tail.split(':').filter(Boolean)
  const zeros = address.includes('::') ? 8 - groups.length - rest.length : 0
  return [...groups, ...Array<string>(Math.max(0, zeros)).fill('0'), ...rest].slice(0, 4).join(':')
}
