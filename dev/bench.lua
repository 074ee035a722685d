-- What wrk sends: each request carries a random key, some of them unknown.
--
--   wrk ... -s dev/bench.lua URL -- header|json KEYS UNKNOWN SHARE SEED
--
-- KEYS and UNKNOWN are files of one key a line. All requests are built beforehand, so that
-- wrk spends its time on sending. The last line on stdout is the result as JSON.

local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

local function requests_from(path, kind)
    local list = {}
    for key in io.lines(path) do
        if kind == "json" then
            local headers = { ["Content-Type"] = "application/json", ["Latchkey-Local"] = "1" }
            list[#list + 1] = wrk.format("POST", nil, headers, '{"key":"' .. key .. '"}')
        else
            list[#list + 1] = wrk.format("GET", nil, { ["X-API-Key"] = key })
        end
    end
    return list
end

function init(args)
    local kind, share = args[1], tonumber(args[4])
    local good, bad = requests_from(args[2], kind), requests_from(args[3], kind)
    local random, goods, bads = math.random, #good, #bad
    math.randomseed(tonumber(args[5]) + number)
    request = function()
        if random() < share then return bad[random(bads)] end
        return good[random(goods)]
    end
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format(
        '\n{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"refused":%d,"broken":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.status, e.connect + e.read + e.write + e.timeout))
end
