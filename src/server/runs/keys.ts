import { sha256Hex } from '../sources/source.ts'
import { EMIT_FUNCTION, eventKeys } from '../stream/scripts.ts'

/** Keys of runs, all in the slot of the queue; `runs:` itself belongs to the queue of that name. */
export const runKeys = (base: string) => ({
  run: (id: string) => `${base}api:run:${id}`,
  lines: (id: string) => `${base}api:lines:${id}`,
  plan: (id: string) => `${base}api:plan:${id}`,
  /** `ID APP ENVIRONMENT`: ids sort by time, and whose runs these are is known without reading them. */
  index: `${base}api:runs`,
  events: eventKeys(base).events,
  /** An Idempotency-Key of a subject. */
  request: (subject: string, key: string) =>
    `${base}api:key:${sha256Hex(JSON.stringify([subject, key]))}`,
})

/** How long runs and their logs are kept, in milliseconds; a key is known for a day. */
export const KEPT = 30 * 24 * 3_600_000
export const KEY_KEPT = 24 * 3_600_000
export const PLAN_KEPT = 15 * 60_000
export const MOST_RUNS = 10_000
/** Lines of one run; older ones are trimmed. */
export const MOST_LINES = 20_000

/** Creates a run, or gives what a repeated request made: `FINGERPRINT RUN`. */
export const CREATE = `${EMIT_FUNCTION}
local known = ARGV[1] ~= '' and redis.call('GET', KEYS[1])
if known then return known end
if ARGV[1] ~= '' then redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[5]) end
redis.call('HSET', KEYS[2], 'run', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('ZADD', KEYS[3], 0, ARGV[7])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[6]))
emitRun(KEYS[4], KEYS[2], 'run.queued')
return ''
`

const lastNumber = `
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local number = last[1] and tonumber(string.match(last[1][1], '^%d+')) or 0
`

/** Ids are numbers without a gap: a reader sees where lines were trimmed. A run that is over gets none. */
export const APPEND = `
if redis.call('HEXISTS', KEYS[1], 'finished') == 1 then return 0 end
${lastNumber}
for at = 3, #ARGV do
  number = number + 1
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], string.format('%d-0', number), 'line', ARGV[at])
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return number
`

export const START = `${EMIT_FUNCTION}
if redis.call('HSETNX', KEYS[1], 'startedAt', ARGV[1]) == 0 then return 0 end
emitRun(KEYS[2], KEYS[1], 'run.started')
return 1
`

/** A run ends once; its last entry comes after all of its lines. */
export const FINISH = `${EMIT_FUNCTION}
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('HEXISTS', KEYS[1], 'finished') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'finished', ARGV[1], 'finishedAt', ARGV[2])
${lastNumber}
redis.call('XADD', KEYS[2], string.format('%d-0', number + 1), 'finished', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
emitRun(KEYS[3], KEYS[1], 'run.finished', { outcome = cjson.decode(ARGV[1]).outcome })
return 1
`
