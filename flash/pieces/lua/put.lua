-- ARGV: keep (ms), is_ended, version, then names and values of the terms, all of them or none.
if ARGV[2] == '1' then
    redis.call('HSET', KEYS[1], 'is_ended', '1')
end
if tonumber(ARGV[3]) > number('version') then
    redis.call('HSET', KEYS[1], 'version', ARGV[3], unpack(ARGV, 4))
end
keep(tonumber(ARGV[1]))
return 1
