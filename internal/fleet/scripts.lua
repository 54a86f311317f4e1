-- What the members of a fleet share: see board.go. Each script is atomic.
-- KEYS: state, beats, marks, names (hashes) and log (a stream).
-- ARGV: the name of a new incarnation, should one begin; the highest generation
-- that the caller has seen; and what the script says.
--
-- An incarnation ends when its state is gone, and when another server answers,
-- or the same one started anew: either may have lost what was written last.
local state, beats, marks, names, log = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

-- Numbers of Lua print as 1e+15; they are exact up to 2^53.
local function text(n) return string.format('%.0f', n) end

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local known = redis.call('HMGET', state, 'incarnation', 'run', 'generation', 'position', 'settled')
local incarnation, generation = known[1], tonumber(known[3] or '0')
local position, settled = tonumber(known[4] or '0'), known[5] or '0'
if not incarnation or known[2] ~= run then
	incarnation, position, settled = ARGV[1], 0, '0'
	redis.call('DEL', beats, marks, names, log)
	redis.call('HSET', state, 'incarnation', incarnation, 'run', run, 'position', '0', 'settled', '0')
end
if tonumber(ARGV[2]) > generation then generation = tonumber(ARGV[2]) end
if text(generation) ~= known[3] then redis.call('HSET', state, 'generation', text(generation)) end

local function view()
	return {incarnation, settled, text(generation), text(position),
		redis.call('HGETALL', beats), redis.call('HGETALL', marks), redis.call('HGETALL', names)}
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
position = position + 1
redis.call('HSET', state, 'position', text(position))
redis.call('XADD', log, 'MAXLEN', '~', ARGV[6], text(position) .. '-0', 'g', ARGV[3], 'from', ARGV[4], 'order', ARGV[5])
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
