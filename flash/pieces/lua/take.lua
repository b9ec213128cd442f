-- ARGV: transaction, its time (ms), within (ms), keep (ms), then purchase, user, quantity of each buyer.
-- Returns a verdict and the user's first purchase (or '') for each. The same rules as in taking.py.
local tx, issued_at, within, keep_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ids = {}
for i = 5, #ARGV, 3 do
    ids[#ids + 1] = ARGV[i]
end
local known = redis.call('HMGET', KEYS[2], unpack(ids))
local answers = {}
local function answer(verdict, first)
    answers[#answers + 1] = verdict
    answers[#answers + 1] = first or ''
end

local record = redis.call('GET', KEYS[5])
if record == 'committed' then
    for i = 1, #ids do
        answer(known[i] and purchase(known[i]).state ~= 'r' and 'taken' or 'aborted')
    end
    return answers
end
local refused
if record or math.abs(now - issued_at) >= within then
    refused = 'aborted'
elseif redis.call('HGET', KEYS[1], 'is_ready') ~= '1' or number('version') == 0 then
    refused = 'unknown-sale'
end
local at = phase()
local left = number('quantity') - number('pieces')
local per_user = number('per_user')
local taken = 0
for i = 1, #ids do
    local id, user, quantity = ids[i], ARGV[2 + 3 * i + 1], tonumber(ARGV[2 + 3 * i + 2])
    local pieces, first = had(user)
    if refused then
        answer(refused)
    elseif redis.call('HEXISTS', KEYS[2], id) == 1 then
        answer('aborted')
    elseif at ~= 'on' then
        answer(at)
    elseif pieces + quantity > per_user then
        answer(pieces > 0 and 'already-bought' or 'over-limit', first)
    elseif quantity > left then
        answer('sold-out')
    else
        left = left - quantity
        taken = taken + 1
        write(id, { state = 't', quantity = quantity, tx = tx, user = user })
        redis.call('ZADD', KEYS[4], 0, id)
        give(user, quantity, id)
        answer('taken')
    end
end
if taken > 0 then
    count('taken', taken)
    redis.call('SET', KEYS[5], 'committed', 'PX', keep_ms)
    keep(keep_ms)
end
return answers
