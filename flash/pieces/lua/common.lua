-- Before each script. KEYS: 1 the sale, 2 its purchases, 3 its buyers, 4 its open purchases; 5 a transaction's record.
-- A purchase is `state|quantity|transaction|user`, its state t(aken), h(eld) or r(eturned); a buyer `pieces|first purchase`.
-- Ids stay text: Lua's numbers are exact to 2^53 only.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function number(field)
    return tonumber(redis.call('HGET', KEYS[1], field) or '0')
end

local function phase()
    if redis.call('HGET', KEYS[1], 'is_ended') == '1' or now >= number('ends_at') then
        return 'ended'
    end
    return now < number('starts_at') and 'not-started' or 'on'
end

local function count(field, change)
    if change ~= 0 then
        redis.call('HINCRBY', KEYS[1], field, change)
    end
end

local function purchase(value)
    local state, quantity, tx, user = string.match(value, '^(%a)|(%d+)|(%d+)|(.*)$')
    return { state = state, quantity = tonumber(quantity), tx = tx, user = user }
end

local function write(id, one)
    local value = one.state .. '|' .. string.format('%d', one.quantity) .. '|' .. one.tx .. '|' .. one.user
    redis.call('HSET', KEYS[2], id, value)
end

local function had(user)
    local pieces, first = string.match(redis.call('HGET', KEYS[3], user) or '', '^(%d+)|(%d+)$')
    return tonumber(pieces or '0'), first
end

local function give(user, quantity, id)
    local pieces, first = had(user)
    pieces = pieces + quantity
    count('pieces', quantity)
    if pieces > 0 then
        redis.call('HSET', KEYS[3], user, string.format('%d', pieces) .. '|' .. (first or id))
    else
        redis.call('HDEL', KEYS[3], user)
    end
end

-- All keys of a sale go at once. Redis forgets by itself; a key that is written later must not stay for ever.
local function keep(for_ms)
    local till = string.format('%d', math.max(number('ends_at'), now) + for_ms)
    for i = 1, 4 do
        redis.call('PEXPIREAT', KEYS[i], till)
    end
end
