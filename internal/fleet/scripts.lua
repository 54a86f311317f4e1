-- What the members of a fleet share: see board.go. Each script is atomic.
-- KEYS: state, beats, marks, names (hashes), log (a stream), orders, owners, keys
-- (hashes), done (a list), replicas and gone (hashes).
-- ARGV: the name of a new incarnation, should one begin; the highest generation
-- and the highest token that the sender has seen, with a colon between; and what
-- the script says.
--
-- An incarnation ends when its state is gone, and when another server answers,
-- or the same one started anew: either may have lost what was written last.
local state, beats, marks, names, log = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local orders, owners, keys, done, replicas, gone = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]

-- Numbers of Lua print as 1e+15; they are exact up to 2^53.
local function text(n) return string.format('%.0f', n) end

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local known = redis.call('HMGET', state, 'incarnation', 'run', 'generation', 'position', 'settled', 'token', 'caller')
local incarnation, generation = known[1], tonumber(known[3] or '0')
local position, settled = tonumber(known[4] or '0'), known[5] or '0'
local token, caller = tonumber(known[6] or '0'), known[7] or ''
if not incarnation or known[2] ~= run then
	incarnation, position, settled, caller = ARGV[1], 0, '0', ''
	redis.call('DEL', beats, marks, names, log)
	redis.call('HDEL', state, 'caller')
	redis.call('HSET', state, 'incarnation', incarnation, 'run', run, 'position', '0', 'settled', '0')
end
local floor, seen = string.match(ARGV[2], '^(%d+):(%d+)$')
if tonumber(floor) > generation then generation = tonumber(floor) end
if text(generation) ~= known[3] then redis.call('HSET', state, 'generation', text(generation)) end
-- A token that is higher than any known here: who has a lower one has none.
if tonumber(seen) > token then
	token, caller = tonumber(seen), ''
	redis.call('HSET', state, 'token', text(token))
	redis.call('HDEL', state, 'caller')
end
if redis.call('HEXISTS', beats, caller) == 0 then caller = '' end

local function view()
	return {incarnation, settled, text(generation), text(position),
		redis.call('HGETALL', beats), redis.call('HGETALL', marks), redis.call('HGETALL', names),
		text(token), caller}
end
local function append(keep, g, from, order)
	position = position + 1
	redis.call('HSET', state, 'position', text(position))
	redis.call('XADD', log, 'MAXLEN', '~', keep, text(position) .. '-0', 'g', g, 'from', from, 'order', order)
end
local function memberOf(hold) return string.match(hold or '', '^[^:]*') end
local function holdFor(member) return member .. ':' .. redis.call('HINCRBY', state, 'claims', 1) end
local function mayWrite(order, hold)
	if redis.call('HGET', owners, order) == hold then return nil end
	return redis.call('HEXISTS', orders, order) == 1 and 'taken' or 'lost'
end

-- script join
-- ARGV: id, name, lease in milliseconds.
local lease = redis.call('HGET', state, 'lease')
local others = redis.call('HLEN', beats) - redis.call('HEXISTS', beats, ARGV[3])
if lease and lease ~= ARGV[5] and others > 0 then return {'lease', lease} end
local term = redis.call('HINCRBY', state, 'terms', 1)
redis.call('HSET', state, 'lease', ARGV[5])
redis.call('HSET', beats, ARGV[3], term .. ':0')
redis.call('HSET', marks, ARGV[3], '0:0')
redis.call('HSET', names, ARGV[3], ARGV[4])
return {tostring(term), view()}

-- script renew
-- ARGV: incarnation, id, term, applied, drained.
local beat = redis.call('HGET', beats, ARGV[4])
local term, count = string.match(beat or '', '^(%d+):(%d+)$')
if incarnation ~= ARGV[3] or term ~= ARGV[5] then return {'gone'} end
redis.call('HSET', beats, ARGV[4], term .. ':' .. text(tonumber(count) + 1))
redis.call('HSET', marks, ARGV[4], ARGV[6] .. ':' .. ARGV[7])
return {'member', view()}

-- script look
return view()

-- script next
if settled ~= '1' then return {text(generation), settled} end
generation = generation + 1
redis.call('HSET', state, 'generation', text(generation))
return {text(generation), settled}

-- script announce
-- ARGV: generation, id, order, how many orders to keep.
append(ARGV[6], ARGV[3], ARGV[4], ARGV[5])
return {incarnation, text(position)}

-- script evict
-- ARGV: incarnation, id, beat.
if incarnation ~= ARGV[3] or redis.call('HGET', beats, ARGV[4]) ~= ARGV[5] then return 0 end
redis.call('HDEL', beats, ARGV[4])
redis.call('HDEL', marks, ARGV[4])
redis.call('HDEL', names, ARGV[4])
return 1

-- script settle
-- ARGV: incarnation.
if incarnation == ARGV[3] then redis.call('HSET', state, 'settled', '1') end
return 1

-- script leave
-- ARGV: incarnation, id, term.
local term = string.match(redis.call('HGET', beats, ARGV[4]) or '', '^(%d+):')
if incarnation ~= ARGV[3] or term ~= ARGV[5] then return 0 end
redis.call('HDEL', beats, ARGV[4])
redis.call('HDEL', marks, ARGV[4])
redis.call('HDEL', names, ARGV[4])
return 1

-- script lead
-- ARGV: incarnation, id, term. An incarnation may have forgotten the last tokens
-- of the one before: it begins well above all that are known.
local term = string.match(redis.call('HGET', beats, ARGV[4]) or '', '^(%d+):')
if incarnation ~= ARGV[3] or term ~= ARGV[5] then return {'gone'} end
if settled == '1' and caller == '' then
	if redis.call('HGET', state, 'led') ~= incarnation and token > 0 then token = token + 99 end
	token, caller = token + 1, ARGV[4]
	redis.call('HSET', state, 'token', text(token), 'caller', caller, 'led', incarnation)
end
return {'member', view()}

-- script calling
-- ARGV: id, token, target, what is left of its limits.
if caller ~= ARGV[3] or text(token) ~= ARGV[4] then return {'0'} end
local now = redis.call('TIME')
redis.call('HSET', state, 'budget:' .. ARGV[5], incarnation .. ' ' .. text(now[1] * 1000 + math.floor(now[2] / 1000)) .. ' ' .. ARGV[6])
return {'1'}

-- script budget
-- ARGV: target. How long ago it was noted is told by the clock of this server
-- alone, and by none if it may have been another.
local noted, at, left = string.match(redis.call('HGET', state, 'budget:' .. ARGV[3]) or '', '^(%S+) (%d+) (.*)$')
if not noted then return {'', '0'} end
local now = redis.call('TIME')
local passed = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(at)
if noted ~= incarnation or passed < 0 then passed = 0 end
return {left, text(passed)}

-- script offer
-- ARGV: order, id, key, the oldest order that a key still means, text.
local order, member, key = ARGV[3], ARGV[4], ARGV[5]
local there = redis.call('HGET', orders, order)
if there then
	local hold = redis.call('HGET', owners, order)
	if memberOf(hold) == member then return {hold, ''} end
	return {'', there}
end
local first = key ~= '' and redis.call('HGET', keys, key)
if first and first >= ARGV[6] then
	local known = redis.call('HGET', orders, first)
	if known then return {'', known} end
end
local hold = holdFor(member)
redis.call('HSET', orders, order, ARGV[7])
redis.call('HSET', owners, order, hold)
if key ~= '' then redis.call('HSET', keys, key, order) end
return {hold, ''}

-- script keep
-- ARGV: order, hold, key, text, 1 for a state that is the last, how many
-- finished ones to keep.
local order, key = ARGV[3], ARGV[5]
local refused = mayWrite(order, ARGV[4])
if refused then return {refused} end
local verdict = redis.call('HEXISTS', orders, order .. ':cancel') == 1 and 'cancel' or 'kept'
redis.call('HSET', orders, order, ARGV[6])
if ARGV[7] == '1' then
	redis.call('HDEL', owners, order)
	redis.call('HDEL', orders, order .. ':cancel')
	redis.call('RPUSH', done, order .. ' ' .. key)
	while redis.call('LLEN', done) > tonumber(ARGV[8]) do
		local old, its = string.match(redis.call('LPOP', done), '^(%S+) (.*)$')
		redis.call('HDEL', orders, old)
		if redis.call('HGET', keys, its) == old then redis.call('HDEL', keys, its) end
	end
end
return {verdict}

-- script hand
-- ARGV: order, hold, text.
local refused = mayWrite(ARGV[3], ARGV[4])
if refused then return {refused} end
if caller == '' then return {'nobody'} end
if memberOf(ARGV[4]) == caller then return {'mine'} end
redis.call('HSET', orders, ARGV[3], ARGV[5])
redis.call('HSET', owners, ARGV[3], holdFor(caller))
return {'handed'}

-- script find
-- ARGV: order, id.
local there = redis.call('HGET', orders, ARGV[3])
if not there then return {'', ''} end
local hold = redis.call('HGET', owners, ARGV[3])
return {there, memberOf(hold) == ARGV[4] and hold or ''}

-- script list
-- ARGV: how many. The newest of those that are finished, and all that are not.
local found = {}
for _, entry in ipairs(redis.call('LRANGE', done, -tonumber(ARGV[3]), -1)) do
	found[#found + 1] = string.match(entry, '^%S+')
end
for _, order in ipairs(redis.call('HKEYS', owners)) do found[#found + 1] = order end
if #found == 0 then return {} end
local texts = {}
for _, order in ipairs(found) do texts[#texts + 1] = redis.call('HGET', orders, order) or '' end
return texts

-- script claim
-- ARGV: id. All orders that it has to carry out. The caller has those too whose
-- member is gone.
local found, all = {}, redis.call('HGETALL', owners)
for i = 1, #all, 2 do
	local order, hold = all[i], all[i + 1]
	local member = memberOf(hold)
	if member ~= ARGV[3] and caller == ARGV[3] and redis.call('HEXISTS', beats, member) == 0 then
		hold, member = holdFor(caller), caller
		redis.call('HSET', owners, order, hold)
	end
	if member == ARGV[3] then
		found[#found + 1] = order
		found[#found + 1] = hold
	end
end
return found

-- script cancel
-- ARGV: order.
if redis.call('HEXISTS', owners, ARGV[3]) == 0 then return {'0'} end
redis.call('HSET', orders, ARGV[3] .. ':cancel', '1')
return {'1'}

-- script withdraw
-- ARGV: order, hold, key.
if redis.call('HGET', owners, ARGV[3]) ~= ARGV[4] then return {'0'} end
redis.call('HDEL', owners, ARGV[3])
redis.call('HDEL', orders, ARGV[3])
if redis.call('HGET', keys, ARGV[5]) == ARGV[3] then redis.call('HDEL', keys, ARGV[5]) end
return {'1'}

-- script enroll
-- ARGV: id, pool and address, lease in milliseconds, how many orders to keep. The
-- log tells of what is new; a renewal is found in time.
local _, count, _, aside = string.match(redis.call('HGET', replicas, ARGV[4]) or '', '^(%d+):(%d+):([^:]*):(%d)$')
redis.call('HSET', replicas, ARGV[4], ARGV[5] .. ':' .. text(tonumber(count or '0') + 1) .. ':' .. ARGV[3] .. ':0')
redis.call('HDEL', gone, ARGV[4])
if aside ~= '0' then append(ARGV[6], '0', ARGV[3], '!roster') end
return {'1'}

-- script aside
-- ARGV: id, pool and address, 1 for aside and 0 for back, how many orders to keep,
-- for how long that is known of one that has not registered: 2 and 3 say so there.
local lease, count, flag = string.match(redis.call('HGET', replicas, ARGV[4]) or '', '^(%d+):(%d+):[^:]*:(%d)$')
local now = ARGV[5]
if flag ~= '0' and flag ~= '1' then lease, now = ARGV[7], now == '1' and '2' or '3' end
redis.call('HSET', replicas, ARGV[4], lease .. ':' .. text(tonumber(count or '0') + 1) .. ':' .. ARGV[3] .. ':' .. now)
redis.call('HDEL', gone, ARGV[4])
append(ARGV[6], '0', ARGV[3], '!roster')
return {'1'}

-- script hold
-- ARGV: id, pool and address, for how long.
local count, flag = string.match(redis.call('HGET', replicas, ARGV[4]) or '', '^%d+:(%d+):[^:]*:(%d)$')
if flag and flag ~= '2' then return {'0'} end
redis.call('HSET', replicas, ARGV[4], ARGV[5] .. ':' .. text(tonumber(count or '0') + 1) .. ':' .. ARGV[3] .. ':2')
redis.call('HDEL', gone, ARGV[4])
return {'1'}

-- script dismiss
-- ARGV: id, pool and address, how many orders to keep, for how long a member that
-- is away now is told of one whose lease is not known here. 4 says that it is gone.
local lease = string.match(redis.call('HGET', replicas, ARGV[4]) or '', '^(%d+):') or ARGV[6]
redis.call('HDEL', replicas, ARGV[4])
redis.call('HSET', gone, ARGV[4], lease .. ':' .. redis.call('HINCRBY', state, 'gone', 1) .. ':' .. ARGV[3] .. ':4')
append(ARGV[5], '0', ARGV[3], '!dismiss ' .. ARGV[4])
return {'1'}

-- script roster
local found = redis.call('HGETALL', replicas)
for _, part in ipairs(redis.call('HGETALL', gone)) do table.insert(found, part) end
return found

-- script expire
-- ARGV: pool and address, what was last seen of it.
for _, list in ipairs({replicas, gone}) do
	if redis.call('HGET', list, ARGV[3]) == ARGV[4] then redis.call('HDEL', list, ARGV[3]) end
end
return {'1'}
