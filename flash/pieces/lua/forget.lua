-- KEYS: 5 when the sale was forgotten last (ms). ARGV: keep (ms): as long as the records of what was taken until then.
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('SET', KEYS[5], string.format('%d', now), 'PX', ARGV[1])
return 1
