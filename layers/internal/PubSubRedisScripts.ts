/**
 * What Redis does in one step for PubSub: the Lua scripts, and where everything is kept. Text only.
 *
 * Under the prefix: `t:<topic>` and `p:<process>` are channels, `h:<topic>` a history (stream), `d` what is delayed
 * (sorted by due time), `a` the processes with presences (sorted by expiry), `m:<process>` their entries, `l:<topic>`
 * and `k:<topic>` the keys of a topic and what each process says of them. No Cluster: scripts find keys by themselves.
 *
 * Histories expire. What is delayed and the presences of processes that died stay until a process of the prefix runs.
 *
 * They are sent whole each time (EVAL): a server that was restarted or flushed knows them, and none overtakes another.
 */

/** Hands a message to its topic; `keep` above 0 adds it to the history first, and the id goes with it. */
const emit = `
local function emit(prefix, topic, keep, ttl, before, after)
  local id = ''
  if tonumber(keep) > 0 then
    local key = prefix .. 'h:' .. topic
    id = redis.call('XADD', key, 'MAXLEN', keep, '*', 'm', before .. after)
    redis.call('PEXPIRE', key, ttl)
  end
  redis.call('PUBLISH', prefix .. 't:' .. topic, before .. id .. after)
end`

/** prefix, topic, keep, ttl (ms), before, after. In one step, so that the order of ids is the order of delivery. */
export const publish = `${emit}
emit(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])`

/**
 * prefix, due (ms), limit, a name that sorts what is due together, then the message: what `publish` takes after the
 * prefix, or a channel and what to send there. 0 when the limit is reached.
 */
export const later = `
local key = ARGV[1] .. 'd'
if redis.call('ZCARD', key) >= tonumber(ARGV[3]) then return 0 end
local message = {}
for i = 5, #ARGV do message[i - 4] = ARGV[i] end
redis.call('ZADD', key, ARGV[2], ARGV[4] .. ' ' .. cmsgpack.pack(message))
return 1`

/**
 * prefix, now (ms), process, time to live of a process (ms), whether it has presences, a mark for its inbox. Sends what
 * is due, at most 100; whoever comes first does. Says when the next is due (-1: none is), whether Redis lost, or begins
 * to forget, the presences of the process, and whether a process is dead.
 *
 * The mark comes first, and what is due one by one, the history left out where it cannot be written: nothing that stands
 * in Redis hinders the rest. A script that has begun to write goes on when there is no memory left, so it begins with a
 * write: nobody is to be dead for that.
 */
export const tick = `${emit}
local function send(named, keep)
  local message = cmsgpack.unpack(string.sub(named, string.find(named, ' ', 1, true) + 1))
  if #message == 2 then redis.call('PUBLISH', message[1], message[2])
  else emit(ARGV[1], message[1], keep or message[2], message[3], message[4], message[5]) end
end
local prefix, now, process = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local delayed = prefix .. 'd'
redis.call('PUBLISH', prefix .. 'p:' .. process, ARGV[6])
redis.call('ZREM', delayed, '')
for _, named in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', delayed, named)
  if not pcall(send, named, nil) then pcall(send, named, '0') end
end
local next = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2] or '-1'
local isLost = 0
if ARGV[5] == '1' then
  local expiry = tonumber(redis.call('ZSCORE', prefix .. 'a', process) or now)
  if expiry <= now then isLost = 1 end
  if expiry - now <= tonumber(ARGV[4]) * 2 / 3 then
    redis.call('ZADD', prefix .. 'a', now + tonumber(ARGV[4]), process)
  end
end
return {next, isLost, #redis.call('ZRANGEBYSCORE', prefix .. 'a', '-inf', now, 'LIMIT', 0, 1)}`

/** Sets what a process says of a key, or takes it back. What was said last stands last. */
const say = `
local function say(prefix, process, topic, key, value)
  local said, known = {}, redis.call('HGET', prefix .. 'k:' .. topic, key)
  for _, one in ipairs(known and cmsgpack.unpack(known) or {}) do
    if one[1] ~= process then said[#said + 1] = one end
  end
  if value then said[#said + 1] = {process, value} end
  if #said > 0 then
    redis.call('HSET', prefix .. 'k:' .. topic, key, cmsgpack.pack(said))
    redis.call('ZADD', prefix .. 'l:' .. topic, 0, key)
  else
    redis.call('HDEL', prefix .. 'k:' .. topic, key)
    redis.call('ZREM', prefix .. 'l:' .. topic, key)
  end
end`

/** prefix, now, process, time to live, then topic, key, `1` or `0`, value for each entry. 1: the others are lost. */
export const track = `${say}
local prefix, now, process = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local expiry = tonumber(redis.call('ZSCORE', prefix .. 'a', process) or now)
for i = 5, #ARGV, 4 do
  local place = ARGV[i] .. '\\n' .. ARGV[i + 1]
  if ARGV[i + 2] == '1' then
    say(prefix, process, ARGV[i], ARGV[i + 1], ARGV[i + 3])
    redis.call('SADD', prefix .. 'm:' .. process, place)
  else
    say(prefix, process, ARGV[i], ARGV[i + 1], nil)
    redis.call('SREM', prefix .. 'm:' .. process, place)
  end
end
if expiry > now then return 0 end
redis.call('ZADD', prefix .. 'a', now + tonumber(ARGV[4]), process)
return 1`

/** prefix, process: it is as good as dead. */
export const leave = `
if redis.call('EXISTS', ARGV[1] .. 'm:' .. ARGV[2]) == 0 then return redis.call('ZREM', ARGV[1] .. 'a', ARGV[2]) end
return redis.call('ZADD', ARGV[1] .. 'a', '-inf', ARGV[2])`

/** prefix, now: takes back at most 200 entries of a process that is dead. 0 when there is none. */
export const bury = `${say}
local prefix = ARGV[1]
local dead = redis.call('ZRANGEBYSCORE', prefix .. 'a', '-inf', ARGV[2], 'LIMIT', 0, 1)[1]
if not dead then return 0 end
local places = redis.call('SPOP', prefix .. 'm:' .. dead, 200)
for _, place in ipairs(places) do
  local at = string.find(place, '\\n', 1, true)
  say(prefix, dead, string.sub(place, 1, at - 1), string.sub(place, at + 1), nil)
end
if #places < 200 then redis.call('ZREM', prefix .. 'a', dead) end
return 1`

const ifNobodyDied = `
local prefix = ARGV[1]
if redis.call('ZRANGEBYSCORE', prefix .. 'a', '-inf', ARGV[2], 'LIMIT', 0, 1)[1] then return -1 end`

/** prefix, now, topic. -1: somebody has to be buried first. */
export const count = `${ifNobodyDied}
return redis.call('ZCARD', prefix .. 'l:' .. ARGV[3])`

/** prefix, now, topic, from (`-` or `(` and a key), how many. Keys, each before its value. -1 as in `count`. */
export const page = `${ifNobodyDied}
local keys = redis.call('ZRANGEBYLEX', prefix .. 'l:' .. ARGV[3], ARGV[4], '+', 'LIMIT', 0, ARGV[5])
local found = {}
for _, key in ipairs(keys) do
  local said = redis.call('HGET', prefix .. 'k:' .. ARGV[3], key)
  local last = said and cmsgpack.unpack(said)
  found[#found + 1] = key
  found[#found + 1] = last and last[#last][2] or ''
end
return found`
