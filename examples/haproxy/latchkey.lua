-- Asks Latchkey about each request before HAProxy passes it on.
--
-- In haproxy.cfg:
--     http-request lua.latchkey /auth/haproxy?catalog=billing
--     http-request deny deny_status 503 unless { var(txn.latchkey) -m str allowed }
--
-- The action ends a refused request itself, with Latchkey's answer. It writes
-- `allowed` into txn.latchkey for nothing but a 200, so the second line denies
-- whatever went wrong here: an error in this file, a timeout, a strange answer.

local LATCHKEY = "http://127.0.0.1:8420"

-- HAProxy 2.6 repeats a call of its HTTP client three times after a failure
-- and offers no setting for that: four times 500 ms are the limit of 2 s.
-- (Newer versions: httpclient.retries and httpclient.timeout.connect in `global`.)
local TIMEOUT_MS = 500

-- Where clients may put a key. Add the header that a policy of yours names.
local CREDENTIALS = { "authorization", "x-api-key" }

-- What the application learns about the key: txn.latchkey_remote_user and so
-- on, set as headers in haproxy.cfg.
local IDENTITY = {
    "remote-user", "x-auth-subject", "x-auth-key-id", "x-auth-key-name", "x-auth-workspace",
    "x-auth-scopes", "x-auth-expires-in",
}

-- What the client of a refused request is told.
local PASSED_ON = { "www-authenticate", "retry-after", "x-auth-code" }
local REFUSALS = { [401] = true, [403] = true, [429] = true }

-- HAProxy counts the values of a header from 0.
local function first(headers, name)
    local values = headers and headers[name]
    return values and values[0] or ""
end

local function variable(name)
    return "txn.latchkey_" .. name:gsub("-", "_")
end

-- The question: only what Latchkey needs, and of that nothing but the
-- credentials comes from the client's own headers. A doubled credential stays
-- doubled, so that Latchkey can refuse it.
local function question(txn)
    local headers = {
        ["x-forwarded-method"] = { txn.sf:method() },
        ["x-forwarded-uri"] = { txn.sf:pathq() },
        ["x-forwarded-host"] = { txn.sf:req_fhdr("host") },
        ["x-forwarded-for"] = { txn.sf:src() },
    }
    local sent = txn.http:req_get_headers()
    for _, name in ipairs(CREDENTIALS) do
        local values = {}
        for i = 0, 1 do
            values[#values + 1] = sent[name] and sent[name][i]
        end
        if #values > 0 then
            headers[name] = values
        end
    end
    return headers
end

local function refuse(txn, status, headers)
    local reply = txn:reply { status = status }
    reply:add_header("cache-control", "no-store")
    for _, name in ipairs(PASSED_ON) do
        local value = first(headers, name)
        if value ~= "" then
            reply:add_header(name, value)
        end
    end
    txn:done(reply)
end

core.register_action("latchkey", { "http-req" }, function(txn, target)
    txn:unset_var("txn.latchkey")

    local answer = core.httpclient():get {
        url = LATCHKEY .. target,
        headers = question(txn),
        timeout = TIMEOUT_MS,
    }

    if answer and answer.status == 200 then
        for _, name in ipairs(IDENTITY) do
            txn:set_var(variable(name), first(answer.headers, name))
        end
        txn:set_var("txn.latchkey", "allowed")
    elseif answer and REFUSALS[answer.status] then
        refuse(txn, answer.status, answer.headers)
    else
        refuse(txn, 503)
    end
end, 1)
