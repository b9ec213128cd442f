-- Returns 1, or 0 for a sale that is not known.
if number('version') == 0 then
    return 0
end
redis.call('HSET', KEYS[1], 'is_ready', '1')
return 1
