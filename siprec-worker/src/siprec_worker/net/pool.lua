#!lua name=voicefork
-- The pool of SIPREC workers: who lives, who gets the next fork, and whose fork is whose.
--
-- Redis 7 and newer: a function library (FUNCTION LOAD REPLACE, without the file's first line
-- nothing loads), called by FCALL vf_pick 0 3 zone call-id.
-- Redis 6: the same file without its first line is a script; EVALSHA <sha> 0 vf_pick 3 zone call-id.
-- Workers load it when they start and whenever Redis has forgotten it. One Redis, no cluster: keys
-- are made here. An argument "-" is the same as an empty one, which a query of OpenSIPS cannot say.
--
--   vf_beat(worker_id, sip_uri, zone, load, capacity, draining [, control [, call-id ...]])
--       every 300 ms. `load`: calls now. The call-ids have arrived since the last beat: their
--       reservations end. -> {now in ms, forks stored, {lost call-ids}, {dead worker, control, ...},
--       ms until a worker that is late would be dead, 0: none is late}
--   vf_pick(n, zone, call_id [, ttl in ms]) -> "uri,uri,uri"; a place is kept on the first.
--       The same call_id again (a timed-out query is sent twice) gets the same answer. "" = nobody
--       has room.
--   vf_owner(dialog's Call-ID) -> SIP URI of the worker that has the dialog now, or ""
--   vf_leave(worker_id)       the worker ends
--   vf_put(worker_id, Call-ID, fence, state) -> the fence to use from now on; 0: it is another's.
--       A fence above the one that is stored is of a hand-over that Redis was not told of.
--   vf_end(worker_id, Call-ID, fence)         the fork has ended
--   vf_hand(worker_id, Call-ID, fence, to [, state]) -> {fence, state} of the new owner; {} if it is
--       not ours
--   vf_claim(worker_id, dead worker, n) -> {ms since its last beat, Call-ID, fence, state, ...} of
--       n of its forks at most, which are ours from then on
--   vf_heir(worker_id, zone, call_id) -> {worker, control} that has room for a fork of ours, or {}
--   vf_stays(peer [, seconds]) -> recording clients that follow no re-INVITE, with this one if it is
--       not ""
--   vf_workers() -> {worker, uri, zone, load, capacity, draining, control, ms since its beat, ...}
--
-- A fork belongs to who holds its fence, a number that grows with each change of owner: what an
-- earlier owner still writes is refused. All times are Redis' own.

local PREFIX = 'voicefork:pool:'
local WORKERS = PREFIX .. 'workers'    -- hash: worker id -> its last beat, packed
local PLACES = PREFIX .. 'places'      -- sorted set: call id -> when its reservation ends, ms
local PLACED = PREFIX .. 'placed'      -- hash: call id -> worker id, newline, the whole answer
local PENDING = PREFIX .. 'pending'    -- hash: worker id -> reservations on it
local STAYS = PREFIX .. 'stays'        -- sorted set: recording client -> until when, ms
local OWNER = 'fork:owner:'            -- string: SIP URI, also for a plain GET (cache_fetch)

local LIVE_MS = 2000           -- no beat for so long: gets no forks
local LEASE_MS = 1200          -- no beat for so long: its forks may be adopted
local LATE_MS = 600            -- two beats
local MAX_STAYS = 1000
local FORGET_MS = 3600 * 1000  -- a dead worker without forks
local PLACE_MS = 10000         -- a fork that has not come by then does not come
local KEEP_SECONDS = 6 * 3600  -- of a fork that nobody ends
local MAX_ID = 256

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function given(text)
  if text == nil or text == '-' then return '' end
  return string.sub(text, 1, MAX_ID)
end

local function fork_key(call_id) return PREFIX .. 'fork:' .. call_id end
local function forks_key(worker_id) return PREFIX .. 'forks:' .. worker_id end
local function lost_key(worker_id) return PREFIX .. 'lost:' .. worker_id end

-- {uri, zone, load, capacity, draining, control, beat in ms} by worker id
local function all_workers()
  local workers, flat = {}, redis.call('HGETALL', WORKERS)
  for i = 1, #flat, 2 do
    local uri, zone, load, capacity, draining, control, beat = cmsgpack.unpack(flat[i + 1])
    workers[flat[i]] = {
      uri = uri, zone = zone, load = load, capacity = capacity,
      draining = draining, control = control, beat = beat,
    }
  end
  return workers
end

local function one_worker(worker_id)
  local packed = redis.call('HGET', WORKERS, worker_id)
  if not packed then return nil end
  local uri, _, _, _, _, _, beat = cmsgpack.unpack(packed)
  return {uri = uri, beat = beat}
end

-- --- reservations ------------------------------------------------------------------------------

local function release(call_id)
  local placed = redis.call('HGET', PLACED, call_id)
  if not placed then return end
  local worker_id = string.match(placed, '^[^\n]*')
  redis.call('HDEL', PLACED, call_id)
  redis.call('ZREM', PLACES, call_id)
  if redis.call('HINCRBY', PENDING, worker_id, -1) <= 0 then
    redis.call('HDEL', PENDING, worker_id)
  end
end

local function release_expired(now)
  for _, call_id in ipairs(redis.call('ZRANGEBYSCORE', PLACES, '-inf', now, 'LIMIT', 0, 1000)) do
    release(call_id)
  end
end

local function reserve(call_id, worker_id, answer, now, ttl)
  redis.call('HSET', PLACED, call_id, worker_id .. '\n' .. answer)
  redis.call('ZADD', PLACES, now + ttl, call_id)
  redis.call('HINCRBY', PENDING, worker_id, 1)
end

-- --- the pool ----------------------------------------------------------------------------------

local function takes_forks(worker, now)
  return worker ~= nil and worker.draining == 0 and now - worker.beat < LIVE_MS
end

-- Workers with room, best first: those of the zone, then by how full they are.
local function ranked(workers, zone, now)
  local pending, flat = {}, redis.call('HGETALL', PENDING)
  for i = 1, #flat, 2 do pending[flat[i]] = tonumber(flat[i + 1]) end
  local found = {}
  for id, worker in pairs(workers) do
    local busy = worker.load + (pending[id] or 0)
    if takes_forks(worker, now) and busy < worker.capacity then
      local near = (zone == '' or worker.zone == zone) and 0 or 1
      found[#found + 1] = {id = id, uri = worker.uri, near = near, full = busy / worker.capacity}
    end
  end
  table.sort(found, function(a, b)
    if a.near ~= b.near then return a.near < b.near end
    if a.full ~= b.full then return a.full < b.full end
    return a.id < b.id
  end)
  return found
end

-- The best worker but `worker_id`, with a place on it.
local function vf_heir(keys, args)
  local now, workers = now_ms(), all_workers()
  workers[args[1]] = nil
  release_expired(now)
  release(args[3])
  local found = ranked(workers, given(args[2]), now)
  if #found == 0 then return {} end
  reserve(args[3], found[1].id, found[1].uri, now, PLACE_MS)
  return {found[1].id, workers[found[1].id].control}
end

local function vf_workers(keys, args)
  local now, listed = now_ms(), {}
  for id, w in pairs(all_workers()) do
    for _, value in ipairs({id, w.uri, w.zone, w.load, w.capacity, w.draining, w.control,
                            now - w.beat}) do
      listed[#listed + 1] = value
    end
  end
  return listed
end

local function vf_pick(keys, args)
  local n = math.max(tonumber(args[1]) or 1, 1)
  local zone, call_id = given(args[2]), given(args[3])
  local ttl = tonumber(args[4]) or PLACE_MS
  local now, workers = now_ms(), all_workers()
  release_expired(now)
  local placed = call_id ~= '' and redis.call('HGET', PLACED, call_id)
  if placed then
    local worker_id, answer = string.match(placed, '^([^\n]*)\n(.*)$')
    if takes_forks(workers[worker_id], now) then return answer end
    release(call_id)
  end
  local found, uris = ranked(workers, zone, now), {}
  for i = 1, math.min(n, #found) do uris[i] = found[i].uri end
  local answer = table.concat(uris, ',')
  if call_id ~= '' and #found > 0 then reserve(call_id, found[1].id, answer, now, ttl) end
  return answer
end

local function vf_beat(keys, args)
  local worker_id, now = args[1], now_ms()
  redis.call('HSET', WORKERS, worker_id, cmsgpack.pack(
    args[2], given(args[3]), tonumber(args[4]), tonumber(args[5]), tonumber(args[6]) or 0,
    given(args[7]), now))
  for i = 8, #args do release(given(args[i])) end
  release_expired(now)
  local dead, left = {}, LEASE_MS
  for id, worker in pairs(all_workers()) do
    local silent = now - worker.beat
    if silent >= LATE_MS and silent < LEASE_MS then left = math.min(left, LEASE_MS - silent) end
    if silent >= LEASE_MS and id ~= worker_id then
      if redis.call('EXISTS', forks_key(id)) == 1 then
        dead[#dead + 1] = id
        dead[#dead + 1] = worker.control
      elseif now - worker.beat >= FORGET_MS then
        redis.call('HDEL', WORKERS, id)
      end
    end
  end
  local forks = redis.call('SCARD', forks_key(worker_id))
  local lost = redis.call('SMEMBERS', lost_key(worker_id))
  return {now, forks, lost, dead, left < LEASE_MS and left or 0}
end

local function vf_leave(keys, args)
  redis.call('DEL', lost_key(args[1]))
  return redis.call('HDEL', WORKERS, args[1])
end

-- --- forks and their owners ----------------------------------------------------------------------

local function give(call_id, worker_id, fence, uri)
  redis.call('HSET', fork_key(call_id), 'worker', worker_id, 'fence', fence)
  redis.call('EXPIRE', fork_key(call_id), KEEP_SECONDS)
  redis.call('SADD', forks_key(worker_id), call_id)
  redis.call('EXPIRE', forks_key(worker_id), KEEP_SECONDS)
  -- Who gave it away before and has it again has not lost it.
  redis.call('SREM', lost_key(worker_id), call_id)
  if uri ~= nil then redis.call('SET', OWNER .. call_id, uri, 'EX', KEEP_SECONDS) end
end

local function move(call_id, from, to, uri)
  local fence = redis.call('HINCRBY', fork_key(call_id), 'fence', 1)
  redis.call('SREM', forks_key(from), call_id)
  redis.call('SADD', lost_key(from), call_id)
  redis.call('EXPIRE', lost_key(from), KEEP_SECONDS)
  give(call_id, to, fence, uri)
  return fence, redis.call('HGET', fork_key(call_id), 'state')
end

local function is_owner(worker_id, call_id, fence)
  local stored = redis.call('HMGET', fork_key(call_id), 'worker', 'fence')
  return stored[1] == worker_id and stored[2] == fence, stored[1], stored[2]
end

local function vf_put(keys, args)
  local worker_id, call_id, fence, state = args[1], args[2], args[3], args[4]
  local ours, owner, held = is_owner(worker_id, call_id, fence)
  if owner and not ours then
    if tonumber(fence) <= tonumber(held) then return 0 end
    -- Its owner handed it over while we were away: with its word went the next fence.
    redis.call('SREM', forks_key(owner), call_id)
  end
  if fence == '0' then fence = '1' end
  redis.call('HSET', fork_key(call_id), 'state', state)
  local worker = one_worker(worker_id)
  give(call_id, worker_id, fence, worker and worker.uri)
  return tonumber(fence)
end

local function vf_end(keys, args)
  local worker_id, call_id, fence = args[1], args[2], args[3]
  redis.call('SREM', lost_key(worker_id), call_id)
  if not is_owner(worker_id, call_id, fence) then return 0 end
  redis.call('SREM', forks_key(worker_id), call_id)
  redis.call('DEL', fork_key(call_id), OWNER .. call_id)
  return 1
end

local function vf_hand(keys, args)
  local worker_id, call_id, fence, to = args[1], args[2], args[3], args[4]
  local heir = one_worker(to)
  if not heir or not is_owner(worker_id, call_id, fence) then return {} end
  if args[5] then redis.call('HSET', fork_key(call_id), 'state', args[5]) end
  return {move(call_id, worker_id, to, heir.uri)}
end

local function vf_claim(keys, args)
  local worker_id, dead_id, n = args[1], args[2], tonumber(args[3])
  local dead, heir = one_worker(dead_id), one_worker(worker_id)
  local now, claimed = now_ms(), {}
  if not heir or now - heir.beat >= LEASE_MS then return {0} end
  if dead and now - dead.beat < LEASE_MS then return {0} end
  claimed[1] = dead and now - dead.beat or LIVE_MS
  for _, call_id in ipairs(redis.call('SRANDMEMBER', forks_key(dead_id), n)) do
    if redis.call('HGET', fork_key(call_id), 'worker') == dead_id then
      local fence, state = move(call_id, dead_id, worker_id, heir.uri)
      for _, value in ipairs({call_id, fence, state or ''}) do claimed[#claimed + 1] = value end
    else
      redis.call('SREM', forks_key(dead_id), call_id)  -- it has expired
    end
  end
  return claimed
end

local function vf_stays(keys, args)
  local now = now_ms()
  if given(args[1]) ~= '' then
    redis.call('ZADD', STAYS, now + (tonumber(args[2]) or 86400) * 1000, given(args[1]))
    redis.call('ZREMRANGEBYRANK', STAYS, 0, -MAX_STAYS - 1)
  end
  redis.call('ZREMRANGEBYSCORE', STAYS, '-inf', now)
  return redis.call('ZRANGE', STAYS, 0, -1)
end

local function vf_owner(keys, args)
  return redis.call('GET', OWNER .. args[1]) or ''
end

-- --- both ways to be called ------------------------------------------------------------------------

if redis.register_function then  -- a library; while it loads there is no `pairs`
  redis.register_function('vf_beat', vf_beat)
  redis.register_function('vf_pick', vf_pick)
  redis.register_function('vf_leave', vf_leave)
  redis.register_function('vf_put', vf_put)
  redis.register_function('vf_end', vf_end)
  redis.register_function('vf_hand', vf_hand)
  redis.register_function('vf_claim', vf_claim)
  redis.register_function('vf_heir', vf_heir)
  redis.register_function('vf_workers', vf_workers)
  redis.register_function('vf_stays', vf_stays)
  redis.register_function{function_name = 'vf_owner', callback = vf_owner, flags = {'no-writes'}}
  return
end

local functions = {
  vf_beat = vf_beat, vf_pick = vf_pick, vf_leave = vf_leave, vf_owner = vf_owner,
  vf_put = vf_put, vf_end = vf_end, vf_hand = vf_hand, vf_claim = vf_claim,
  vf_heir = vf_heir, vf_workers = vf_workers,
  vf_stays = vf_stays,
}
local called = functions[ARGV[1]]
if not called then return redis.error_reply('ERR no function ' .. tostring(ARGV[1])) end
return called(KEYS, {unpack(ARGV, 2)})
