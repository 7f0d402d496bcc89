import { RedisScript } from './script.ts';

/**
 * What Redis holds of a turn's stream: entries with the ids 1-0, 2-0, 3-0 …, and beside them a hash:
 *   g              the stream's name, made anew with each stream and each `open`
 *   n              number of the last entry
 *   before, until  the name that it had up to entry `until`
 *   epoch          of the newest owner
 *   ended          once the last entry was told
 *   bytes          told so far; each entry carries what was told before it, so those of what is kept are known
 * An entry has the fields e (its text), b (bytes told before it) and v (its version), in this order.
 * A reader sees from an id alone whether something in front of it was trimmed, and from the name whether the entries are
 * those that he has begun to read.
 */

/** Whoever can write to Redis can write anything here: what none of these scripts has left counts as not there. */
const reading = `
local function count(text)
  if not text or #text == 0 or #text > 12 or string.find(text, '%D') then return 0 end
  return tonumber(text)
end
local function name(text)
  if not text or #text ~= 12 or string.find(text, '[^0-9a-f]') then return '' end
  return text
end
-- The fields of the hash, or nothing of a key that is none of ours.
local function fields(meta, ...)
  local found = redis.pcall('HMGET', meta, ...)
  if found.err then return nil end
  return found
end
`;

/**
 * Appends under a fence, all or nothing. One script, hence one decision: epoch, place, numbers, entries, end and notification.
 * `where`: 'any', 'anew' (in place of whatever is there), 'open' (appends nothing, gives the stream a new name), or the
 * name of the stream, whose last entry must then have the number `at`. Returns the last number and the name; -1 to an
 * older epoch, -2 when the stream does not stand there, the unchanged number once it has ended.
 * KEYS: entries, hash, channel. ARGV: epoch, max length, max bytes, time to live in ms, "end" or "", where, at, a name
 * that nobody has used, version, entries…
 */
export const appendScript = new RedisScript(
  'turnsAppend',
  3,
  `${reading}
local stream, meta = KEYS[1], KEYS[2]
local where, fresh = ARGV[6], ARGV[8]
local held = fields(meta, 'epoch', 'g', 'n', 'ended', 'bytes')
local newest = redis.pcall('XREVRANGE', stream, '+', '-', 'COUNT', 1)
if not held or newest.err then
  redis.call('DEL', stream, meta)
  held, newest = {}, {}
end
if count(held[1]) > tonumber(ARGV[1]) then return {-1, ''} end
local g, n, bytes = name(held[2]), count(held[3]), count(held[5])
-- Its last entry is another one: somebody else has added or taken some.
if (newest[1] and newest[1][1] or '0-0') ~= n .. '-0' then g = '' end
if g ~= '' and held[4] then return {n, g} end
local stands = where == 'open' or where == 'anew' or where == 'any' or (where == g and tonumber(ARGV[7]) == n)
if not stands then return {-2, ''} end
local begins = where == 'open' or where == 'anew' or g == ''
if begins then
  -- The first write of the script must be one that a full Redis refuses: after another one it would let all of them pass.
  redis.call('HSET', meta, 'epoch', ARGV[1])
  if where == 'open' and g ~= '' then
    redis.call('HSET', meta, 'before', g, 'until', n)
  else
    redis.call('DEL', stream, meta)
    n, bytes = 0, 0
  end
  g = fresh
end
local first = n + 1
for i = 10, #ARGV do
  n = n + 1
  redis.call('XADD', stream, 'MAXLEN', ARGV[2], n .. '-0', 'e', ARGV[i], 'b', bytes, 'v', ARGV[9])
  bytes = bytes + #ARGV[i]
end
while bytes > tonumber(ARGV[3]) and #ARGV > 9 do
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not oldest or oldest[1] == n .. '-0' or bytes - count(oldest[2][4]) <= tonumber(ARGV[3]) then break end
  redis.call('XDEL', stream, oldest[1])
end
local ends = ARGV[5] == 'end'
redis.call('HSET', meta, 'g', g, 'epoch', ARGV[1], 'n', n, 'bytes', bytes, unpack(ends and { 'ended', 1 } or {}))
redis.call('PEXPIRE', meta, ARGV[4])
-- That of the entries is far enough off to be set now and then: at the beginning, at the end, at each entry n * 64.
if begins or ends or math.floor(n / 64) > math.floor((first - 1) / 64) then redis.call('PEXPIRE', stream, ARGV[4]) end
redis.call('PUBLISH', KEYS[3], ends and 'end' or n)
return {n, g}
`,
);

/**
 * Reads what comes behind a place: at most `count` entries, and no more once they hold `bytes`, but one at least.
 * Returns the stream's name ('' for none), the number of its last entry, 1 when the place is in it (or in front of it)
 * and 0 when it is of another one, then id, text and version ('' for none) of each entry.
 * KEYS: entries, hash. ARGV: name and number of the place, count, bytes.
 */
export const readScript = new RedisScript(
  'turnsRead',
  2,
  `${reading}
local at = tonumber(ARGV[2])
local meta = fields(KEYS[2], 'g', 'n', 'before', 'until')
if not meta then return {'', 0, ARGV[1] == '' and at == 0 and 1 or 0} end
local g, n = name(meta[1]), count(meta[2])
if g == '' then n = 0 end
local known = (ARGV[1] == '' and at == 0)
  or (ARGV[1] ~= '' and ARGV[1] == g and at <= n)
  or (ARGV[1] ~= '' and ARGV[1] == name(meta[3]) and at <= count(meta[4]))
if not known then return {g, n, 0} end
local answer = {g, n, 1}
local left, room = tonumber(ARGV[3]), tonumber(ARGV[4])
while g ~= '' and at < n and left > 0 and room > 0 do
  local rows = redis.pcall('XRANGE', KEYS[1], (at + 1) .. '-0', n .. '-0', 'COUNT', math.min(left, 8))
  if rows.err then return {'', 0, ARGV[1] == '' and tonumber(ARGV[2]) == 0 and 1 or 0} end
  if #rows == 0 then break end
  for _, row in ipairs(rows) do
    if room <= 0 then break end
    at = tonumber(string.match(row[1], '^%d+'))
    left = left - 1
    room = room - #row[2][2]
    table.insert(answer, row[1])
    table.insert(answer, row[2][2])
    table.insert(answer, row[2][5] == 'v' and row[2][6] or '')
  end
end
return answer
`,
);
