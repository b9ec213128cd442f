-- ARGV: the transaction's time (ms), within (ms), keep (ms). Returns its outcome, or 'open'.
local issued_at, within, keep_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local record = redis.call('GET', KEYS[5])
if record then
    return record
end
if math.abs(now - issued_at) < within then
    return 'open'
end
if now - issued_at > keep_ms then
    return 'expired'
end
redis.call('SET', KEYS[5], 'aborted', 'PX', keep_ms)
if number('version') > 0 then
    count('aborted', 1)
end
return 'aborted'
