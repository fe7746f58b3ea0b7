/*
 * Leases of runs, in Redis and by its clock. A run that an agent is to carry out has in its hash:
 *
 * - `lane`       kind, application and environment: runs of a lane are carried out one at a time
 * - `fence`      counts its leases; only the report with the last number counts
 * - `leaseEnd`   until when the last lease holds, in milliseconds
 * - `leaseBy`    the agent that has it
 * - `reported`   FENCE:COUNT of the lines that came under the last lease
 */

/** Of agents: all runs that wait or are leased, by id, which sorts by time; and when each was seen. */
export const agentKeys = (base: string) => ({
  open: `${base}api:agents:open`,
  seen: `${base}api:agents:seen`,
  token: (run: string) => `${base}api:run-token:${run}`,
})

const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** KEYS: open, seen. ARGV: start of the keys of runs, agent, its version, term, lanes… Gives run and fence. */
export const TAKE = `${clock}
redis.call('HSET', KEYS[2], ARGV[2], string.format('%d %s', now, ARGV[3]))
local mine, held = {}, {}
for at = 5, #ARGV do mine[ARGV[at]] = true end
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = ARGV[1] .. id
  local lane, leaseEnd, finished = unpack(redis.call('HMGET', key, 'lane', 'leaseEnd', 'finished'))
  if not lane or finished then
    redis.call('ZREM', KEYS[1], id)
  else
    local free = not leaseEnd or tonumber(leaseEnd) <= now
    if mine[lane] and not held[lane] and free then
      local fence = redis.call('HINCRBY', key, 'fence', 1)
      redis.call('HSET', key, 'leaseEnd', string.format('%d', now + ARGV[4]), 'leaseBy', ARGV[2])
      return { id, fence }
    end
    held[lane] = true
  end
end
return {}
`

/**
 * KEYS: run, its lines, open, its token, seen. ARGV: run, fence, agent, term, most lines, how long they
 * are kept, number of the first line, `started`, `release`, how it ended, lines… Gives `lost`, or who
 * cancelled it. What was reported once may be reported again: its answer may have been lost.
 */
export const REPORT = `${clock}
local fence, by, finished, reported = unpack(
  redis.call('HMGET', KEYS[1], 'fence', 'leaseBy', 'finished', 'reported'))
if fence ~= ARGV[2] or by ~= ARGV[3] then return 'lost' end
if finished then return finished == ARGV[10] and '' or 'lost' end
local of, count = string.match(reported or '', '^(%d+):(%d+)$')
count = of == fence and tonumber(count) or 0
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local number = last[1] and tonumber(string.match(last[1][1], '^%d+')) or 0
for at = 11, #ARGV do
  if ARGV[7] + at - 11 == count then
    number = number + 1
    count = count + 1
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], string.format('%d-0', number), 'line', ARGV[at])
  end
end
redis.call('HSET', KEYS[1], 'reported', fence .. ':' .. string.format('%d', count))
if ARGV[8] ~= '' then redis.call('HSETNX', KEYS[1], 'startedAt', string.format('%d', now)) end
if ARGV[10] ~= '' then
  redis.call('HSET', KEYS[1], 'finished', ARGV[10], 'finishedAt', string.format('%d', now))
  redis.call('XADD', KEYS[2], string.format('%d-0', number + 1), 'finished', ARGV[10])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('DEL', KEYS[4])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
else
  local leaseEnd = ARGV[9] ~= '' and 0 or now + ARGV[4]
  redis.call('HSET', KEYS[1], 'leaseEnd', string.format('%d', leaseEnd))
end
redis.call('PEXPIRE', KEYS[2], ARGV[6])
local seen = redis.call('HGET', KEYS[5], by) or ''
redis.call('HSET', KEYS[5], by, string.format('%d', now) .. string.match(seen, '^%d*(.*)$'))
return redis.call('HGET', KEYS[1], 'cancel') or ''
`

/**
 * Ends a run that no agent has begun. KEYS: run, its lines, open, its token. ARGV: run, how it ended, how
 * long that is kept.
 */
export const END_WAITING = `${clock}
local lane, leaseEnd, startedAt, finished = unpack(
  redis.call('HMGET', KEYS[1], 'lane', 'leaseEnd', 'startedAt', 'finished'))
local leased = leaseEnd and tonumber(leaseEnd) > now
if not lane or leased or startedAt or finished then return 0 end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local number = last[1] and tonumber(string.match(last[1][1], '^%d+')) or 0
redis.call('HSET', KEYS[1], 'finished', ARGV[2], 'finishedAt', string.format('%d', now))
redis.call('XADD', KEYS[2], string.format('%d-0', number + 1), 'finished', ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
`
