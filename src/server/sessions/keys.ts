import { createHash } from 'node:crypto'

export const hash = (...parts: string[]) =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64url')

/** What Redis calls a session: nobody can use it as one. */
export const idOfSession = (session: string): string => hash(session)

/** Keys of sessions, all in the slot of the queue. */
export const sessionKeys = (base: string) => ({
  session: (id: string) => `${base}session:${id}`,
  /** Ids by their latest end. */
  index: `${base}sessions`,
  /** The same of one job. */
  ofJob: (job: string) => `${base}sessions-of:${job}`,
  token: (token: string) => `${base}id-token:${token}`,
  proof: (thumbprint: string, id: string) => `${base}dpop:${hash(thumbprint, id)}`,
})

/** Keeps a session, unless its job has too many: 0 then. */
export const CREATE = `
for at = 2, 3 do redis.call('ZREMRANGEBYSCORE', KEYS[at], '-inf', ARGV[5]) end
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[6]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
for at = 2, 3 do
  redis.call('ZADD', KEYS[at], ARGV[4], ARGV[1])
  redis.call('PEXPIRE', KEYS[at], ARGV[7])
end
return 1
`
