/** Events that are kept for those who come again; older ones are trimmed. */
export const MOST_EVENTS = 10_000

/**
 * Lua: adds an event, with the next number. Numbers have no gap: a reader sees where events were
 * trimmed, as in the log of a run.
 */
export const EMIT_FUNCTION = `
local function emit(key, event)
  local time = redis.call('TIME')
  event.at = time[1] * 1000 + math.floor(time[2] / 1000)
  local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)
  local number = last[1] and tonumber(string.match(last[1][1], '^%d+')) or 0
  redis.call('XADD', key, 'MAXLEN', '~', ${MOST_EVENTS}, string.format('%d-0', number + 1), 'event', cjson.encode(event))
end
local function emitRun(key, run, kind, more)
  local text = redis.call('HGET', run, 'run')
  if not text then return end
  local known = cjson.decode(text)
  local event = more or {}
  event.type = kind
  event.run = known.id
  event.app = known.app
  event.environment = known.environment
  event.step = known.step
  event.by = known.subject and known.subject.name or ''
  emit(key, event)
end
`

export const EMIT = `${EMIT_FUNCTION}
emit(KEYS[1], cjson.decode(ARGV[1]))
return 1
`

export const EMIT_OF_RUN = `${EMIT_FUNCTION}
for at = 2, #ARGV do emitRun(KEYS[2], KEYS[1], ARGV[1], cjson.decode(ARGV[at])) end
return 1
`

/**
 * An event where something is not what was seen last, by whichever server looks first. What is seen for
 * the first time is new, unless it is the first look at all.
 */
export const EMIT_CHANGED = `${EMIT_FUNCTION}
local before = redis.call('HGET', KEYS[2], ARGV[1])
if before == ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if not before and ARGV[4] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[4]) == 0 then return 0 end
emit(KEYS[1], cjson.decode(ARGV[3]))
return 1
`

export const eventKeys = (base: string) => ({
  events: `${base}api:events`,
  /** What was seen last of what the ledger has. */
  seen: `${base}api:seen`,
  tagKey: `${base}api:tag-key`,
})
