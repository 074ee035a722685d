-- Asks Latchkey about each request before HAProxy passes it on.
--
-- In haproxy.cfg:
--     lua-load-per-thread latchkey.lua
--     http-request lua.latchkey /auth/haproxy?catalog=billing
--     http-request deny deny_status 503 unless { var(txn.latchkey) -m str allowed }
--
-- The action ends a refused request itself, with Latchkey's answer. It writes
-- `allowed` into txn.latchkey for nothing but a 200, so the last line denies
-- whatever went wrong here: an error in this file, a timeout, a strange answer.
--
-- HAProxy's own HTTP client for Lua needs more processor time for a question,
-- so this file speaks HTTP/1.1 itself, over connections that stay open.

-- Where Latchkey listens: the address of this server in haproxy.cfg.
local BACKEND, SERVER = "latchkey", "latchkey"

-- For an answer, and for a connection, which HAProxy tries four times.
local TIMEOUT_S = 1

-- How many connections each thread of HAProxy keeps while it has no question.
-- One that is not used for TIMEOUT_S is closed.
local IDLE_MAX = 64

-- Where clients may put a key. Add the header that a policy of yours names.
local CREDENTIALS = { "authorization", "x-api-key" }

-- What the application learns about the key, set as headers in haproxy.cfg.
local IDENTITY = {
    ["remote-user"] = "txn.latchkey_remote_user",
    ["x-auth-subject"] = "txn.latchkey_x_auth_subject",
    ["x-auth-key-id"] = "txn.latchkey_x_auth_key_id",
    ["x-auth-key-name"] = "txn.latchkey_x_auth_key_name",
    ["x-auth-workspace"] = "txn.latchkey_x_auth_workspace",
    ["x-auth-scopes"] = "txn.latchkey_x_auth_scopes",
    ["x-auth-expires-in"] = "txn.latchkey_x_auth_expires_in",
}

-- The headers of Latchkey's answer that a refused client gets, and the statuses.
local PASSED_ON = { "www-authenticate", "retry-after", "x-auth-code" }
local REFUSALS = { [401] = true, [403] = true, [429] = true }

-- Limits of an answer. Those of Latchkey are smaller.
local HEADERS_MAX = 100
local HEAD_BYTES_MAX = 16384
local BODY_BYTES_MAX = 65536

-- Open connections whose last answer has been read to its end. Each thread has
-- its own: HAProxy binds a connection to the thread that has opened it.
local idle = {}

-- The question: only what Latchkey needs, and of that nothing but the
-- credentials comes from the client's own headers. A doubled credential stays
-- doubled, so that Latchkey can refuse it.
local function question(txn, target)
    local headers = {
        "x-forwarded-method: " .. txn.sf:method(),
        "x-forwarded-uri: " .. txn.sf:pathq(),
        "x-forwarded-host: " .. txn.sf:req_fhdr("host"),
        "x-forwarded-for: " .. txn.sf:src(),
    }
    local sent = txn.http:req_get_headers()
    for _, name in ipairs(CREDENTIALS) do
        local values = sent[name]
        -- HAProxy counts the values of a header from 0.
        for i = 0, values and 1 or -1 do
            headers[#headers + 1] = values[i] and name .. ": " .. values[i]
        end
    end
    -- HAProxy lets none of these through. If it did, they would end a header.
    for _, header in ipairs(headers) do
        if header:find("[\r\n\0]") then
            return nil
        end
    end
    return "GET " .. target .. " HTTP/1.1\r\nhost: latchkey\r\n" .. table.concat(headers, "\r\n") .. "\r\n\r\n"
end

-- All lines of an answer's head after the first, with their line breaks.
-- Latchkey announces their length in the second line, because HAProxy reads a
-- block much faster than lines. They are read one by one if it does not.
local function read_headers(socket)
    local line = socket:receive("*l")
    local length = line and tonumber(line:match("^x%-head%-bytes: (%d+)$"))
    if length then
        local block = length <= HEAD_BYTES_MAX and socket:receive(length) or ""
        -- The only empty line must be at the end.
        return #block == length and block:find("\r\n\r\n", 1, true) == length - 3 and block
    end
    local lines = {}
    while line and line ~= "" and #lines < HEADERS_MAX do
        lines[#lines + 1] = line
        line = socket:receive("*l")
    end
    return line == "" and table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- One whole answer: its status and headers. Nothing if it has no certain end.
local function read_answer(socket)
    local line = socket:receive("*l")
    local status = line and line:match("^HTTP/1%.1 (%d%d%d) ")
    local text = status and read_headers(socket)
    if not text then
        return nil
    end
    local headers = {}
    for name, value in text:gmatch("([^:\r\n]+):[ \t]*([^\r\n]*)\r\n") do
        name = name:lower()
        headers[name] = headers[name] or value
    end
    local length = tonumber((headers["content-length"] or ""):match("^%d+$"))
    if not length or length > BODY_BYTES_MAX or headers["transfer-encoding"] then
        return nil
    end
    if length > 0 and #(socket:receive(length) or "") ~= length then
        return nil
    end
    return { status = tonumber(status), headers = headers }
end

-- An open connection that no question uses. Its timeout is set again because of
-- a fault of HAProxy 2.6: if the old timeout ends while an answer arrives, the
-- answer is read only when the next timeout ends.
local function kept()
    while #idle > 0 do
        local socket = table.remove(idle)
        if pcall(socket.settimeout, socket, TIMEOUT_S) then
            return socket
        end
    end
    return nil
end

-- A connection is kept only if its answer was read to its end: the rest of one
-- would be taken for the answer to another client's question.
local function ask_over(socket, text)
    local answer = socket:send(text) == #text and read_answer(socket)
    if not answer or answer.headers.connection or #idle >= IDLE_MAX then
        socket:close()
    else
        idle[#idle + 1] = socket
    end
    return answer or nil
end

local function ask(text)
    local socket = kept()
    local answer = socket and ask_over(socket, text)
    if answer then
        return answer
    end
    -- There was none, or Latchkey has closed it meanwhile.
    socket = core.tcp()
    socket:settimeout(TIMEOUT_S)
    if not socket:connect(core.backends[BACKEND].servers[SERVER]:get_addr()) then
        socket:close()
        return nil
    end
    return ask_over(socket, text)
end

local function refuse(txn, status, headers)
    local reply = txn:reply { status = status }
    reply:add_header("cache-control", "no-store")
    for _, name in ipairs(PASSED_ON) do
        local value = headers and headers[name] or ""
        if value ~= "" then
            reply:add_header(name, value)
        end
    end
    txn:done(reply)
end

core.register_action("latchkey", { "http-req" }, function(txn, target)
    txn:unset_var("txn.latchkey")

    local text = question(txn, target)
    local answer = text and ask(text)

    if answer and answer.status == 200 then
        for name, variable in pairs(IDENTITY) do
            txn:set_var(variable, answer.headers[name] or "")
        end
        txn:set_var("txn.latchkey", "allowed")
    elseif answer and REFUSALS[answer.status] then
        refuse(txn, answer.status, answer.headers)
    else
        refuse(txn, 503)
    end
end, 1)
