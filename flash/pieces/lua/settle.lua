-- ARGV: h or r, keep (ms), then purchase, user, quantity of each. Returns 1 or 0 for each, see `Pieces.hold`, `give_back`.
local to, keep_ms = ARGV[1], tonumber(ARGV[2])
local names = { t = 'taken', h = 'held', r = 'returned' }
local answers = {}
for i = 3, #ARGV, 3 do
    local id, told = ARGV[i], 0
    local value = redis.call('HGET', KEYS[2], id)
    if not value then
        write(id, { state = to, quantity = tonumber(ARGV[i + 2]), tx = '0', user = ARGV[i + 1] })
        count(names[to], 1)
        if to == 'h' then
            give(ARGV[i + 1], tonumber(ARGV[i + 2]), id)
            told = 1
        end
    else
        local one = purchase(value)
        if one.state == 't' or (one.state == 'h' and to == 'r') then
            count(names[one.state], -1)
            count(names[to], 1)
            one.state = to
            write(id, one)
            redis.call('ZREM', KEYS[4], id)
            if to == 'r' then
                give(one.user, -one.quantity, id)
                told = 1
            end
        end
    end
    answers[#answers + 1] = told
end
keep(keep_ms)
return answers
