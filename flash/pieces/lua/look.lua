-- ARGV: users. Returns nothing for a sale that is not known; else phase, left, is_ready, and each one's first purchase or ''.
if number('version') == 0 then
    return {}
end
local left = math.max(0, number('quantity') - number('pieces'))
local answers = { phase(), left, redis.call('HGET', KEYS[1], 'is_ready') == '1' and 1 or 0 }
for i = 1, #ARGV do
    local _, first = had(ARGV[i])
    answers[#answers + 1] = first or ''
end
return answers
