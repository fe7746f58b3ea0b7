/**
 * What must happen in Redis as one. Each script gets the prefix of all keys as KEYS[1]:
 *
 * - `seen:HASH`    a delivery that was taken
 * - `push:HASH`    a push that was heard of: `at`, and whether it had to be `asked` for
 * - `delivered`    how many pushes were delivered
 * - `ref:HASH`     which of these was the last of a branch or tag
 * - `pushed`       source and project → since when its pushes are known
 * - `looked-at`    source and project → the last push that was looked at
 * - `event:ID`     an event, as a hash
 * - `lane:LANE`    ids of the events of one route, project and branch that are not over, oldest first
 * - `owners`       lane → TICKET/RUN that works on it
 * - `lanes`        lanes that are not empty
 * - `state:STATE`  ids by time of arrival; `over`: those that are over, by when
 */
const common = `
local base = KEYS[1]
local function event(id) return base .. 'event:' .. id end
local function move(id, state)
  local before = redis.call('HGET', event(id), 'state')
  if before then redis.call('ZREM', base .. 'state:' .. before, id) end
  redis.call('HSET', event(id), 'state', state)
  redis.call('ZADD', base .. 'state:' .. state, redis.call('HGET', event(id), 'received'), id)
end
local function trim(keep)
  local excess = redis.call('ZCARD', base .. 'over') - keep
  if excess <= 0 then return end
  for _, id in ipairs(redis.call('ZRANGE', base .. 'over', 0, math.min(excess, 20) - 1)) do
    local state = redis.call('HGET', event(id), 'state')
    if state then redis.call('ZREM', base .. 'state:' .. state, id) end
    redis.call('ZREM', base .. 'over', id)
    redis.call('DEL', event(id))
  end
end
local function ended(id, state, now, keep)
  move(id, state)
  redis.call('HSET', event(id), 'ended', now)
  if state ~= 'dead' then redis.call('ZADD', base .. 'over', now, id) end
  trim(keep)
end
local function append(lane, id)
  redis.call('RPUSH', base .. 'lane:' .. lane, id)
  redis.call('SADD', base .. 'lanes', lane)
end
`

/**
 * now, remember, keep, delivery; a push ('' for none), since when it counts as heard of ('' when
 * it was delivered), how long it is known, its source and project, its ref, how many were delivered when
 * it was asked for; then of each event: id, route, lane, queue, supersede, facts.
 * A lane that has an owner needs no ticket: its owner looks once more before it lets go.
 */
const accept = `
local now, keep = ARGV[1], tonumber(ARGV[3])
local seen = base .. 'seen:' .. ARGV[4]
if redis.call('EXISTS', seen) == 1 then return {'duplicate'} end
local push, ref, since = base .. 'push:' .. ARGV[5], base .. 'ref:' .. ARGV[9], tonumber(ARGV[6])
local heard = redis.call('HMGET', push, 'at', 'asked')
if since then
  if heard[1] and tonumber(heard[1]) >= since then return {'duplicate'} end
  if tonumber(redis.call('GET', ref) or 0) > tonumber(ARGV[10]) then return {'overtaken'} end
end
redis.call('SET', seen, '1', 'PX', ARGV[2])
if ARGV[5] ~= '' then
  if not since then redis.call('SET', ref, redis.call('INCR', base .. 'delivered'), 'PX', ARGV[7]) end
  redis.call('HSET', push, 'at', now, 'asked', since and 1 or 0)
  redis.call('PEXPIRE', push, ARGV[7])
  redis.call('HSETNX', base .. 'pushed', ARGV[8], now)
  if not since and heard[2] == '1' then return {'duplicate'} end
end
local superseded, idle = {}, {}
for at = 11, #ARGV, 6 do
  local id, route, lane, queue = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if ARGV[at + 4] == '1' then
    for _, other in ipairs(redis.call('LRANGE', base .. 'lane:' .. lane, 0, -1)) do
      if redis.call('HGET', event(other), 'state') == 'waiting' then
        redis.call('LREM', base .. 'lane:' .. lane, 1, other)
        redis.call('HSET', event(other), 'error', 'a newer event took its place: ' .. id)
        ended(other, 'superseded', now, keep)
        table.insert(superseded, other)
      end
    end
  end
  redis.call('HSET', event(id), 'route', route, 'lane', lane, 'queue', queue,
    'received', now, 'attempts', 0, 'facts', ARGV[at + 5])
  move(id, 'waiting')
  append(lane, id)
  if redis.call('HEXISTS', base .. 'owners', lane) == 0 then table.insert(idle, id) end
end
return {'new', superseded, idle}
`

/** What a lane's owner shall do next: the oldest event, or the next one behind those that may be passed. */
const turn = `
local function turn(lane, owner, now)
local at, soonest = 0, nil
while true do
  local id = redis.call('LINDEX', base .. 'lane:' .. lane, at)
  if not id and soonest then return {'wait', soonest} end
  if not id then
    redis.call('HDEL', base .. 'owners', lane)
    redis.call('SREM', base .. 'lanes', lane)
    return {'empty'}
  end
  local fields = redis.call('HMGET', event(id), 'route', 'facts', 'attempts', 'begun', 'revived', 'next',
    'received', 'passable')
  if not fields[1] then
    redis.call('LREM', base .. 'lane:' .. lane, 1, id)
  elseif fields[6] and tonumber(fields[6]) > tonumber(now) then
    redis.call('HSET', base .. 'owners', lane, owner)
    if not soonest or tonumber(fields[6]) < tonumber(soonest) then soonest = fields[6] end
    if fields[8] ~= '1' then return {'wait', soonest} end
    at = at + 1
  else
    redis.call('HSET', base .. 'owners', lane, owner)
    redis.call('HSETNX', event(id), 'begun', now)
    move(id, 'running')
    return {'run', id, fields[1], fields[2], fields[3], fields[4] or '', fields[5] or '',
      fields[7]}
  end
end
end
`

/** lane, ticket, run, now */
const claim = `${turn}
local lane, ticket = ARGV[1], ARGV[2]
local owner = redis.call('HGET', base .. 'owners', lane)
if owner and string.match(owner, '^(.*)/') ~= ticket then return {'busy'} end
return turn(lane, ticket .. '/' .. ARGV[3], ARGV[4])
`

/** lane, ticket/run, id, state, now, keep, text, url, error → the lane's next turn */
const finish = `${turn}
local lane, owner, id = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', base .. 'owners', lane) ~= owner then return {'lost'} end
redis.call('LREM', base .. 'lane:' .. lane, 1, id)
redis.call('HSET', event(id), 'text', ARGV[7], 'url', ARGV[8], 'error', ARGV[9])
redis.call('HDEL', event(id), 'next')
ended(id, ARGV[4], ARGV[5], tonumber(ARGV[6]))
return turn(lane, owner, ARGV[5])
`

/** lane, ticket/run, id, next, error, counts, passable */
const postpone = `
local lane, owner, id = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', base .. 'owners', lane) ~= owner then return 'lost' end
redis.call('HSET', event(id), 'next', ARGV[4], 'error', ARGV[5], 'passable', ARGV[7])
redis.call('HINCRBY', event(id), 'attempts', ARGV[6])
move(id, 'waiting')
return 'done'
`

/** lane, ticket/run as it was seen: its ticket is gone */
const disown = `
if redis.call('HGET', base .. 'owners', ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', base .. 'owners', ARGV[1])
return 1
`

/** id, now → lane and queue */
const revive = `
local id = ARGV[1]
local fields = redis.call('HMGET', event(id), 'state', 'lane', 'queue')
if not fields[1] then return {'unknown'} end
if fields[1] ~= 'dead' and fields[1] ~= 'dropped' and fields[1] ~= 'superseded' then
  return {'state', fields[1]}
end
redis.call('ZREM', base .. 'over', id)
redis.call('HDEL', event(id), 'next', 'ended')
redis.call('HSET', event(id), 'attempts', 0, 'revived', ARGV[2])
move(id, 'waiting')
append(fields[2], id)
return {'done', fields[2], fields[3]}
`

/** id, now, keep, why */
const drop = `
local id = ARGV[1]
local fields = redis.call('HMGET', event(id), 'state', 'lane')
if not fields[1] then return {'unknown'} end
if fields[1] ~= 'dead' and fields[1] ~= 'waiting' then return {'state', fields[1]} end
redis.call('LREM', base .. 'lane:' .. fields[2], 1, id)
redis.call('HSET', event(id), 'error', ARGV[4])
redis.call('HDEL', event(id), 'next')
ended(id, 'dropped', ARGV[2], tonumber(ARGV[3]))
return {'done'}
`

export const scripts = { accept, claim, finish, postpone, disown, revive, drop }
export type ScriptName = keyof typeof scripts
export const scriptText = (name: ScriptName): string => common + scripts[name]
