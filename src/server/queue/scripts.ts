/**
 * Atomic changes in Redis. Each script gets the prefix of all keys as KEYS[1] and one JSON document
 * as ARGV[1], and gives one JSON document. Names of keys and fields are those of version 0.1.0,
 * where a partition was called a lane and a wake-up job a ticket:
 *
 * - `seen:HASH`        a delivery that was accepted
 * - `push:HASH`        a recorded push: `at`, and whether a backfill recorded it (`asked`)
 * - `delivered`        count of delivered pushes
 * - `ref:HASH`         the value of that count at the last push of a branch or tag
 * - `pushed`           source and project → when its first push was recorded
 * - `looked-at`        source and project → the last push that a backfill has read
 * - `event:ID`         an event, as a hash; its partition is the field `lane`
 * - `lane:PARTITION`   ids of the unfinished events of a partition, oldest first
 * - `owners`           partition → WAKE-UP/RUN that works on it
 * - `lanes`            partitions that are not empty
 * - `state:STATE`      ids by time of arrival; `over`: finished events by time of their end
 */
const common = `
local base = KEYS[1]
local args = cjson.decode(ARGV[1])
local owners, partitions = base .. 'owners', base .. 'lanes'
local function event(id) return base .. 'event:' .. id end
local function events(partition) return base .. 'lane:' .. partition end
local function give(document) return cjson.encode(document) end
local function move(id, state)
  local before = redis.call('HGET', event(id), 'state')
  if before then redis.call('ZREM', base .. 'state:' .. before, id) end
  redis.call('HSET', event(id), 'state', state)
  redis.call('ZADD', base .. 'state:' .. state, redis.call('HGET', event(id), 'received'), id)
end
local function trim(retention)
  local excess = redis.call('ZCARD', base .. 'over') - tonumber(retention)
  if excess <= 0 then return end
  for _, id in ipairs(redis.call('ZRANGE', base .. 'over', 0, math.min(excess, 20) - 1)) do
    local state = redis.call('HGET', event(id), 'state')
    if state then redis.call('ZREM', base .. 'state:' .. state, id) end
    redis.call('ZREM', base .. 'over', id)
    redis.call('DEL', event(id))
  end
end
local function close(id, state)
  move(id, state)
  redis.call('HSET', event(id), 'ended', args.now)
  if state ~= 'dead' then redis.call('ZADD', base .. 'over', args.now, id) end
  trim(args.retention)
end
local function holdsLock()
  local lock = args.lock
  if not lock then return true end
  return redis.call('GET', base .. lock.queue .. ':' .. args.wakeUp .. ':lock') == lock.token
end
local function append(partition, id)
  redis.call('RPUSH', events(partition), id)
  redis.call('SADD', partitions, partition)
end
`

/**
 * Stores the events of a delivery, all of them or none. A partition that has an owner needs no
 * wake-up job: its owner claims once more before it lets go.
 */
const accept = `
local seen = base .. 'seen:' .. args.delivery
if redis.call('EXISTS', seen) == 1 then return give({ status = 'duplicate' }) end
local push, known, asked = args.push, nil, nil
if push then
  known = base .. 'push:' .. push.key
  local recorded = redis.call('HMGET', known, 'at', 'asked')
  asked = recorded[2]
  if push.since then
    if recorded[1] and tonumber(recorded[1]) >= tonumber(push.since) then
      return give({ status = 'duplicate' })
    end
    local last = redis.call('GET', base .. 'ref:' .. push.ref)
    if tonumber(last or 0) > tonumber(push.delivered) then return give({ status = 'overtaken' }) end
  end
end
redis.call('SET', seen, '1', 'PX', args.dedupeWindow)
if push then
  if not push.since then
    local count = redis.call('INCR', base .. 'delivered')
    redis.call('SET', base .. 'ref:' .. push.ref, count, 'PX', push.window)
  end
  redis.call('HSET', known, 'at', args.now, 'asked', push.since and '1' or '0')
  redis.call('PEXPIRE', known, push.window)
  redis.call('HSETNX', base .. 'pushed', push.field, args.now)
  if not push.since and asked == '1' then return give({ status = 'duplicate' }) end
end
local superseded, idle = {}, {}
for _, wanted in ipairs(args.events) do
  local id, partition = wanted.id, wanted.partition
  if wanted.supersede then
    for _, other in ipairs(redis.call('LRANGE', events(partition), 0, -1)) do
      if redis.call('HGET', event(other), 'state') == 'waiting' then
        redis.call('LREM', events(partition), 1, other)
        redis.call('HSET', event(other), 'error', 'a newer event took its place: ' .. id)
        close(other, 'superseded')
        table.insert(superseded, other)
      end
    end
  end
  redis.call('HSET', event(id), 'route', wanted.route, 'lane', partition, 'queue', wanted.queue,
    'received', args.now, 'attempts', '0', 'facts', wanted.facts)
  move(id, 'waiting')
  append(partition, id)
  if redis.call('HEXISTS', owners, partition) == 0 then table.insert(idle, id) end
end
return give({ status = 'new', superseded = superseded, idle = idle })
`

/** Gives the oldest event of a partition, or the next one behind those that may be passed. */
const claimNext = `
local function claimNext(partition, owner)
  local at, soonest = 0, nil
  while true do
    local id = redis.call('LINDEX', events(partition), at)
    if not id and soonest then return give({ kind = 'delayed', at = soonest }) end
    if not id then
      redis.call('HDEL', owners, partition)
      redis.call('SREM', partitions, partition)
      return give({ kind = 'none' })
    end
    local fields = redis.call('HMGET', event(id), 'route', 'facts', 'attempts', 'begun', 'revived',
      'received', 'next', 'passable')
    local next = fields[7]
    if not fields[1] then
      redis.call('LREM', events(partition), 1, id)
    elseif next and tonumber(next) > tonumber(args.now) then
      redis.call('HSET', owners, partition, owner)
      if not soonest or tonumber(next) < tonumber(soonest) then soonest = next end
      if fields[8] ~= '1' then return give({ kind = 'delayed', at = soonest }) end
      at = at + 1
    else
      redis.call('HSET', owners, partition, owner)
      redis.call('HSETNX', event(id), 'begun', args.now)
      move(id, 'running')
      return give({ kind = 'event', id = id, route = fields[1], facts = fields[2],
        attempts = fields[3], begun = fields[4] or nil, revived = fields[5] or nil,
        received = fields[6] })
    end
  end
end
`

/**
 * Takes a partition that nobody owns, or that an earlier run of the same wake-up job owned; but not
 * for a run that stood still until its job was given to another one.
 */
const claim = `${claimNext}
if not holdsLock() then return give({ kind = 'none' }) end
local owner = redis.call('HGET', owners, args.partition)
if owner and string.match(owner, '^(.*)/') ~= args.wakeUp then return give({ kind = 'none' }) end
return claimNext(args.partition, args.wakeUp .. '/' .. args.run)
`

const requireOwner = `
local owner = args.wakeUp .. '/' .. args.run
local lost = redis.call('HGET', owners, args.partition) ~= owner
`

/** Whether the partition is still its owner's, who then keeps it for the whole timeout from now on. */
const confirm = `${requireOwner}
if lost or not holdsLock() then return give({ status = 'lost' }) end
local lock = args.lock
if lock then
  redis.call('PEXPIRE', base .. lock.queue .. ':' .. args.wakeUp .. ':lock', lock.timeout)
end
return give({ status = 'done' })
`

/** Closes an event and claims the next one of its partition. */
const finish = `${claimNext}${requireOwner}
if lost then return give({ kind = 'lost' }) end
redis.call('LREM', events(args.partition), 1, args.id)
redis.call('HSET', event(args.id), 'text', args.text, 'url', args.url, 'error', args.error)
redis.call('HDEL', event(args.id), 'next')
close(args.id, args.state)
return claimNext(args.partition, owner)
`

const postpone = `${requireOwner}
if lost then return give({ status = 'lost' }) end
redis.call('HSET', event(args.id), 'next', args.next, 'error', args.error,
  'passable', args.passable and '1' or '0')
if args.counts then redis.call('HINCRBY', event(args.id), 'attempts', '1') end
move(args.id, 'waiting')
return give({ status = 'done' })
`

/** Frees a partition whose owner is gone, unless another one took it meanwhile. */
const disown = `
if redis.call('HGET', owners, args.partition) ~= args.owner then return give({ status = 'lost' }) end
redis.call('HDEL', owners, args.partition)
return give({ status = 'done' })
`

const revive = `
local fields = redis.call('HMGET', event(args.id), 'state', 'lane', 'queue')
local state = fields[1]
if not state then return give({ status = 'unknown' }) end
if state ~= 'dead' and state ~= 'dropped' and state ~= 'superseded' then
  return give({ status = 'refused', state = state })
end
redis.call('ZREM', base .. 'over', args.id)
redis.call('HDEL', event(args.id), 'next', 'ended')
redis.call('HSET', event(args.id), 'attempts', '0', 'revived', args.now)
move(args.id, 'waiting')
append(fields[2], args.id)
return give({ status = 'done', partition = fields[2], queue = fields[3] })
`

const drop = `
local fields = redis.call('HMGET', event(args.id), 'state', 'lane')
local state = fields[1]
if not state then return give({ status = 'unknown' }) end
if state ~= 'dead' and state ~= 'waiting' then return give({ status = 'refused', state = state }) end
redis.call('LREM', events(fields[2]), 1, args.id)
redis.call('HSET', event(args.id), 'error', args.reason)
redis.call('HDEL', event(args.id), 'next')
close(args.id, 'dropped')
return give({ status = 'done' })
`

export const scripts = { accept, claim, confirm, finish, postpone, disown, revive, drop }
export type ScriptName = keyof typeof scripts
export const scriptText = (name: ScriptName): string => common + scripts[name]
