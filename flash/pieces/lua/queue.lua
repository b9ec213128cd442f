-- KEYS: 5 its queue: a user's `place|turn (us)`, and in ` last`, which no user is called, the last turn.
-- ARGV: keep (ms), microseconds between two turns, places at most, then users.
-- Returns nothing for a sale that is not known; else each one's value, '' where the queue is full. As in places.py.
if number('version') == 0 then
    return {}
end
local keep_ms, between, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local last = tonumber(redis.call('HGET', KEYS[5], ' last') or '0')
local places = math.max(0, redis.call('HLEN', KEYS[5]) - 1)
local answers = {}
for i = 4, #ARGV do
    local value = redis.call('HGET', KEYS[5], ARGV[i])
    if not value and places < most then
        last = math.max(last + between, now * 1000, number('starts_at') * 1000)
        value = string.format('%d|%.0f', places, last)
        redis.call('HSET', KEYS[5], ARGV[i], value, ' last', string.format('%.0f', last))
        places = places + 1
    end
    answers[#answers + 1] = value or ''
end
redis.call('PEXPIREAT', KEYS[5], string.format('%d', math.max(number('ends_at'), now) + keep_ms))
return answers
