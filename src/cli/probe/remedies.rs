//! What to change when a check fails: for each fault a sentence, and the lines of each proxy's configuration that decide
//! about it. The lines are those of the files in `examples/`; a test compares them.

/// A fault of a proxy's configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remedy {
    AddressBelieved,
    CatalogNotAsked,
    CredentialHidden,
    FailOpen,
    GoodKeyRefused,
    IdentityMissing,
    IdentityPassed,
    KeyPassed,
    LimitMapped,
    MethodPassed,
    NamesPassed,
    OriginalPassed,
    PathPassed,
    PrefixPassed,
    QuestionForged,
    RefusalTurned,
    RequestMisread,
    TrailersPassed,
    Unguarded,
    UpgradePassed,
    VerdictKept,
}

/// The proxies whose lines are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Proxy {
    Nginx,
    Caddy,
    Haproxy,
    HaproxySpoe,
    Envoy,
    Traefik,
    GatewayApi,
}

/// A line of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub proxy: Proxy,
    pub file: &'static str,
    pub text: &'static str,
    /// Whether the line must be there; otherwise it must not.
    pub is_needed: bool,
}

use Proxy::{Caddy, Envoy, GatewayApi, Haproxy, HaproxySpoe, Nginx, Traefik};

impl Proxy {
    pub fn word(self) -> &'static str {
        match self {
            Nginx => "nginx",
            Caddy => "caddy",
            Haproxy => "haproxy",
            HaproxySpoe => "haproxy-spoe",
            Envoy => "envoy",
            Traefik => "traefik",
            GatewayApi => "gateway-api",
        }
    }

    /// The proxy that sends this value of `Server`.
    pub fn of_server(value: &str) -> Option<Proxy> {
        let value = value.to_ascii_lowercase();
        let known = [("nginx", Nginx), ("caddy", Caddy), ("envoy", Envoy)];
        let found = known.into_iter().find(|(name, _)| value.starts_with(name));
        found.map(|(_, proxy)| proxy)
    }
}

const fn need(proxy: Proxy, file: &'static str, text: &'static str) -> Line {
    Line {
        proxy,
        file,
        text,
        is_needed: true,
    }
}

const fn avoid(proxy: Proxy, file: &'static str, text: &'static str) -> Line {
    Line {
        is_needed: false,
        ..need(proxy, file, text)
    }
}

const NGINX: &str = "nginx.conf";
const QUESTION: &str = "latchkey-question.conf";
const APPLICATION: &str = "latchkey-application.conf";
const CADDY: &str = "Caddyfile";
const HAPROXY: &str = "haproxy.cfg";
const LUA: &str = "latchkey.lua";
const SPOE: &str = "spoe.conf";
const ENVOY: &str = "envoy.yaml";
const TRAEFIK: &str = "traefik.yaml";
const RULES: &str = "rules.yaml";
const ROUTE: &str = "HTTPRoute";

#[rustfmt::skip] // Columns are the point of these tables.
impl Remedy {
    /// What is wrong, and what to do.
    pub fn sentence(self) -> &'static str {
        match self {
            Remedy::AddressBelieved => "The client's own X-Forwarded-For, X-Real-IP or Forwarded is believed: keys that are bound to addresses open for everybody. Replace these headers with the address of the connection.",
            Remedy::CatalogNotAsked => "A key without the scope passes: the question does not name the catalog for this path, or Latchkey is not asked.",
            Remedy::CredentialHidden => "Latchkey sees only one of two credentials. Pass all of them on to it; it refuses such a request.",
            Remedy::FailOpen => "Without Latchkey, requests pass or look successful. Every answer but a 200 of Latchkey must end the request with a 5xx.",
            Remedy::GoodKeyRefused => "A good key does not get an answer 2xx, so most other results mean nothing. Does the proxy ask the Latchkey of --data? Does the key have what the question demands (--catalog, --scope, --workspace)? Does the application answer 2xx to this path?",
            Remedy::IdentityMissing => "The application does not learn who called, or can be made not to. Set the identity headers from Latchkey's answer.",
            Remedy::IdentityPassed => "The application gets identity headers that the client forged. Replace them with those of Latchkey's answer, also where the answer lacks one.",
            Remedy::KeyPassed => "The application sees the key. Remove the header, or accept it with --accept key-kept if the application needs the key.",
            Remedy::LimitMapped => "A limited key must get 429 with Retry-After, so that its client waits. (nginx gets 403 with X-Auth-Code from Latchkey, and makes a 429 of it.)",
            Remedy::MethodPassed => "The application gets a header that replaces the method, which Latchkey has not judged. Remove it.",
            Remedy::NamesPassed => "Header names with an underscore arrive; many applications read them as names with a hyphen, so they forge identities. Drop such headers.",
            Remedy::OriginalPassed => "The application gets a header of the client that names another path, host or client address. Remove it.",
            Remedy::PathPassed => "A path that programs read in different ways passes, or chooses another rule. End such requests with 400 before the question.",
            Remedy::PrefixPassed => "Headers that begin like those of Latchkey arrive, such as X-Auth-Groups or X-Remote-User. Remove them by the beginning of their names.",
            Remedy::QuestionForged => "The client decides which request Latchkey judges. Set the headers of the question yourself, and pass none of the client's on.",
            Remedy::RefusalTurned => "Latchkey's refusal becomes another status, which clients, caches and monitors misread. Pass 401, 403 and 429 on as they are.",
            Remedy::RequestMisread => "Latchkey does not judge the request that the client has sent. Send method and path unchanged.",
            Remedy::TrailersPassed => "The application gets headers behind the body that nobody has judged. Some programs treat them like those before it, so they can forge identities. Remove them; HAProxy can do this since 3.2. With an older HAProxy, find out whether the application reads them, and if not, use --accept forged-trailers.",
            Remedy::Unguarded => "A request passes without the question. Ask Latchkey in every location, route and method.",
            Remedy::UpgradePassed => "A client can leave HTTP for another protocol, and is not judged any more. Let only `websocket` pass.",
            Remedy::VerdictKept => "An answer of Latchkey is used again, so a deleted key or a request without a key passes. Cache nothing of the question.",
        }
    }

    /// The lines that decide.
    pub fn lines(self) -> &'static [Line] {
        match self {
            Remedy::AddressBelieved => const { &[
                need(Nginx, QUESTION, "proxy_set_header X-Forwarded-For $remote_addr;"),
                need(Caddy, CADDY, "request_header -X-Forwarded*"),
                avoid(Caddy, CADDY, "trusted_proxies"),
                need(Haproxy, LUA, "\"x-forwarded-for: \" .. txn.sf:src(),"),
                need(HaproxySpoe, SPOE, "args client=src"),
                need(Envoy, ENVOY, "header: { key: x-forwarded-for, value: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\" }"),
                need(Envoy, ENVOY, "use_remote_address: true"),
                need(Traefik, TRAEFIK, "insecure: false"),
                avoid(Traefik, RULES, "trustForwardHeader: true"),
                need(GatewayApi, "the gateway's settings", "the number of trusted hops before the gateway, 0 if clients reach it directly"),
            ] },
            Remedy::CatalogNotAsked => const { &[
                need(Nginx, NGINX, "proxy_pass http://latchkey/auth/nginx?catalog=billing;"),
                need(Nginx, NGINX, "auth_request /_latchkey/billing;"),
                need(Caddy, CADDY, "uri /auth/caddy?catalog=billing"),
                need(Haproxy, HAPROXY, "http-request lua.latchkey /auth/haproxy?catalog=billing if billing"),
                need(HaproxySpoe, HAPROXY, "http-request set-var(txn.latchkey.target) str(/auth/haproxy?catalog=billing) if billing"),
                need(Envoy, ENVOY, "header: { key: x-latchkey-catalog, value: billing }"),
                need(Traefik, RULES, "address: http://127.0.0.1:8420/auth/traefik?catalog=billing"),
                need(GatewayApi, ROUTE, "path: /auth/gateway/CATALOG/-"),
            ] },
            Remedy::CredentialHidden => const { &[
                need(Nginx, QUESTION, "proxy_set_header Authorization $http_authorization;"),
                need(Nginx, QUESTION, "proxy_set_header X-API-Key $http_x_api_key;"),
                avoid(Caddy, CADDY, "header_up -Authorization (in the block of forward_auth)"),
                need(Haproxy, LUA, "local CREDENTIALS = { \"authorization\", \"x-api-key\" }"),
                need(HaproxySpoe, SPOE, "args authorization=req.fhdr(authorization) authorization.count=req.fhdr_cnt(authorization)"),
                need(HaproxySpoe, SPOE, "args x-api-key=req.fhdr(x-api-key) x-api-key.count=req.fhdr_cnt(x-api-key)"),
                need(Envoy, ENVOY, "- exact: x-api-key"),
                need(Traefik, RULES, "authRequestHeaders: [Authorization, X-API-Key]"),
                need(GatewayApi, ROUTE, "allowedHeaders: [authorization, x-api-key]"),
            ] },
            Remedy::FailOpen => const { &[
                need(Nginx, QUESTION, "error_page 500 502 503 504 =503 @latchkey_unavailable;"),
                need(Nginx, APPLICATION, "error_page 500 =503 @latchkey_unavailable;"),
                avoid(Caddy, CADDY, "handle_errors"),
                need(Haproxy, HAPROXY, "http-request deny deny_status 503 unless { var(txn.latchkey) -m str allowed }"),
                need(Haproxy, LUA, "refuse(txn, 503)"),
                need(HaproxySpoe, HAPROXY, "http-request deny deny_status 503 unless { var(txn.latchkey.allowed) -m str allowed }"),
                need(Envoy, ENVOY, "failure_mode_allow: false"),
                avoid(Traefik, RULES, "errors: (a middleware that answers in the place of Latchkey)"),
                avoid(GatewayApi, "the gateway's settings", "failOpen: true"),
            ] },
            Remedy::GoodKeyRefused => const { &[
                need(Nginx, QUESTION, "proxy_set_header Host 127.0.0.1:8420;"),
                need(Caddy, CADDY, "header_up Host {upstream_hostport}"),
                need(Haproxy, HAPROXY, "server latchkey 127.0.0.1:8420"),
                need(HaproxySpoe, HAPROXY, "server latchkey 127.0.0.1:8422"),
                need(HaproxySpoe, SPOE, "use-backend latchkey"),
                need(Envoy, ENVOY, "server_uri: { uri: \"http://127.0.0.1:8420\", cluster: latchkey, timeout: 2s }"),
                need(Traefik, RULES, "address: http://127.0.0.1:8420/auth/traefik"),
                need(GatewayApi, ROUTE, "backendRef: (the Service of Latchkey)"),
            ] },
            Remedy::IdentityMissing => const { &[
                need(Nginx, APPLICATION, "proxy_set_header X-Auth-Subject $latchkey_subject;"),
                need(Caddy, CADDY, "copy_headers Remote-User X-Auth-Subject X-Auth-Key-Id X-Auth-Key-Name X-Auth-Workspace X-Auth-Scopes X-Auth-Expires-In"),
                need(Caddy, CADDY, "header_up X-Auth-Subject {http.request.header.X-Auth-Subject}"),
                need(Haproxy, HAPROXY, "http-request set-header X-Auth-Subject %[var(txn.latchkey_x_auth_subject)]"),
                need(HaproxySpoe, HAPROXY, "http-request set-header X-Auth-Subject %[var(txn.latchkey.x_auth_subject)]"),
                need(Envoy, ENVOY, "- exact: remote-user"),
                need(Envoy, ENVOY, "- prefix: x-auth-"),
                need(Traefik, RULES, "authResponseHeaders: [Remote-User, X-Auth-Subject, X-Auth-Key-Id, X-Auth-Key-Name, X-Auth-Workspace, X-Auth-Scopes, X-Auth-Expires-In]"),
                need(GatewayApi, ROUTE, "allowedResponseHeaders: [remote-user, x-auth-subject, x-auth-key-id]"),
            ] },
            Remedy::IdentityPassed => const { &[
                need(Nginx, APPLICATION, "proxy_set_header Remote-User $latchkey_user;"),
                need(Nginx, APPLICATION, "proxy_set_header X-Auth-Subject $latchkey_subject;"),
                need(Nginx, APPLICATION, "proxy_pass_request_headers off;"),
                need(Caddy, CADDY, "request_header -Remote-*"),
                need(Caddy, CADDY, "request_header -X-Auth-*"),
                need(Haproxy, HAPROXY, "http-request set-header Remote-User %[var(txn.latchkey_remote_user)]"),
                need(HaproxySpoe, HAPROXY, "http-request set-header Remote-User %[var(txn.latchkey.remote_user)]"),
                need(Haproxy, HAPROXY, "http-request del-header '^(x-)?(remote|auth|original|rewrite|real|client|latchkey)-' -m reg"),
                need(HaproxySpoe, HAPROXY, "http-request del-header '^(x-)?(remote|auth|original|rewrite|real|client|latchkey)-' -m reg"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: remote-, ignore_case: true } }"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: x-auth-, ignore_case: true } }"),
                need(Traefik, RULES, "authResponseHeaders: [Remote-User, X-Auth-Subject, X-Auth-Key-Id, X-Auth-Key-Name, X-Auth-Workspace, X-Auth-Scopes, X-Auth-Expires-In]"),
                need(GatewayApi, ROUTE, "remove: [remote-user, x-auth-subject, x-auth-key-id] (RequestHeaderModifier)"),
            ] },
            Remedy::KeyPassed => const { &[
                need(Nginx, APPLICATION, "proxy_set_header Authorization \"\";"),
                need(Nginx, APPLICATION, "proxy_set_header X-API-Key \"\";"),
                need(Caddy, CADDY, "header_up -Authorization"),
                need(Caddy, CADDY, "header_up -X-API-Key"),
                need(Haproxy, HAPROXY, "http-request del-header Authorization"),
                need(HaproxySpoe, HAPROXY, "http-request del-header Authorization"),
                need(Haproxy, HAPROXY, "http-request del-header X-API-Key"),
                need(HaproxySpoe, HAPROXY, "http-request del-header X-API-Key"),
                need(Envoy, ENVOY, "request_headers_to_remove: [authorization, x-api-key, x-latchkey-catalog]"),
                need(Traefik, RULES, "Authorization: \"\""),
                need(Traefik, RULES, "X-API-Key: \"\""),
                need(GatewayApi, ROUTE, "remove: [authorization, x-api-key] (RequestHeaderModifier)"),
            ] },
            Remedy::LimitMapped => const { &[
                need(Nginx, NGINX, "RATE_LIMITED 1;"),
                need(Nginx, NGINX, "return 429;"),
                avoid(Caddy, CADDY, "handle_response (in the block of forward_auth)"),
                need(Haproxy, LUA, "local REFUSALS = { [401] = true, [403] = true, [429] = true }"),
                need(Haproxy, LUA, "refuse(txn, answer.status, answer.headers)"),
                need(HaproxySpoe, HAPROXY, "http-request return status 429 hdr Cache-Control no-store if { var(txn.latchkey.status) -m int 429 }"),
                avoid(Envoy, ENVOY, "local_reply_config (that maps the statuses of refusals)"),
                avoid(Traefik, RULES, "errors: (a middleware that answers in the place of Latchkey)"),
            ] },
            Remedy::MethodPassed => const { &[
                need(Nginx, APPLICATION, "proxy_pass_request_headers off;"),
                need(Caddy, CADDY, "request_header -X-HTTP-Method*"),
                need(Caddy, CADDY, "request_header -X-Method-Override"),
                need(Haproxy, HAPROXY, "http-request del-header '^(forwarded$|x-forwarded|x-http-method|x-method-override$|true-client-)' -m reg"),
                need(HaproxySpoe, HAPROXY, "http-request del-header '^(forwarded$|x-forwarded|x-http-method|x-method-override$|true-client-)' -m reg"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: x-http-method, ignore_case: true } }"),
                need(Envoy, ENVOY, "- remove: x-method-override"),
                need(Traefik, RULES, "authResponseHeadersRegex: (?i)^((x-)?(remote|auth|original|rewrite|client|latchkey)-|forwarded$|x-forwarded|x-http-method|x-method-override$|true-client-|http2-settings$)"),
                need(GatewayApi, ROUTE, "remove: [x-http-method, x-http-method-override, x-method-override] (RequestHeaderModifier)"),
            ] },
            Remedy::NamesPassed => const { &[
                need(Nginx, NGINX, "underscores_in_headers off;"),
                need(Nginx, APPLICATION, "proxy_pass_request_headers off;"),
                need(Caddy, CADDY, "request_header -*_*"),
                need(Haproxy, HAPROXY, "option http-restrict-req-hdr-names delete"),
                need(HaproxySpoe, HAPROXY, "option http-restrict-req-hdr-names delete"),
                need(Envoy, ENVOY, "common_http_protocol_options: { headers_with_underscores_action: DROP_HEADER, max_headers_count: 200 }"),
                need(Traefik, TRAEFIK, "aliasHeadersStrategy: delete"),
                need(GatewayApi, "the gateway's settings", "headers with underscores: dropped or refused"),
            ] },
            Remedy::OriginalPassed => const { &[
                need(Nginx, APPLICATION, "proxy_pass_request_headers off;"),
                need(Nginx, APPLICATION, "proxy_set_header X-Forwarded-For $remote_addr;"),
                need(Caddy, CADDY, "request_header -X-Original-*"),
                need(Caddy, CADDY, "request_header -X-Rewrite-*"),
                need(Caddy, CADDY, "request_header -X-Forwarded*"),
                need(Caddy, CADDY, "request_header -X-Real-*"),
                need(Caddy, CADDY, "request_header -Forwarded"),
                need(Haproxy, HAPROXY, "http-request del-header '^(x-)?(remote|auth|original|rewrite|real|client|latchkey)-' -m reg"),
                need(HaproxySpoe, HAPROXY, "http-request del-header '^(x-)?(remote|auth|original|rewrite|real|client|latchkey)-' -m reg"),
                need(Haproxy, HAPROXY, "http-request del-header '^(forwarded$|x-forwarded|x-http-method|x-method-override$|true-client-)' -m reg"),
                need(HaproxySpoe, HAPROXY, "http-request del-header '^(forwarded$|x-forwarded|x-http-method|x-method-override$|true-client-)' -m reg"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: x-original-, ignore_case: true } }"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: x-rewrite-, ignore_case: true } }"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: x-forwarded-, ignore_case: true } }"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: x-real-, ignore_case: true } }"),
                need(Envoy, ENVOY, "- remove: forwarded"),
                need(Traefik, RULES, "authResponseHeadersRegex: (?i)^((x-)?(remote|auth|original|rewrite|client|latchkey)-|forwarded$|x-forwarded|x-http-method|x-method-override$|true-client-|http2-settings$)"),
                need(Traefik, TRAEFIK, "insecure: false"),
                need(GatewayApi, ROUTE, "remove: [x-original-url, x-original-uri, x-rewrite-url, x-real-ip, forwarded] (RequestHeaderModifier)"),
            ] },
            Remedy::PathPassed => const { &[
                need(Nginx, NGINX, "if ($latchkey_strange_path) {"),
                need(Nginx, NGINX, "return 400;"),
                need(Caddy, CADDY, "respond @strange 400"),
                need(Caddy, CADDY, "respond @blank 400"),
                need(Haproxy, HAPROXY, "http-request deny deny_status 400 if !rooted or !plain or strange or blank or disguised"),
                need(HaproxySpoe, HAPROXY, "http-request deny deny_status 400 if !rooted or !plain or strange or blank or disguised"),
                need(Envoy, ENVOY, "direct_response: &refused { status: 400 }"),
                need(Envoy, ENVOY, "normalize_path: false"),
                need(Envoy, ENVOY, "merge_slashes: false"),
                need(Envoy, ENVOY, "path_with_escaped_slashes_action: REJECT_REQUEST"),
                need(Traefik, RULES, "rule: PathRegexp(`^[^/]|[\\\\;#%\\x00-\\x1f\\x7f-\\x{9f}]|//`)"),
                need(Traefik, RULES, "middlewares: [refuse]"),
                need(Traefik, TRAEFIK, "sanitizePath: false"),
                need(Traefik, TRAEFIK, "allowEncodedSlash: false"),
                need(GatewayApi, "the gateway's settings", "paths that are neither normalised nor merged, and escaped slashes refused"),
            ] },
            Remedy::PrefixPassed => const { &[
                need(Nginx, APPLICATION, "proxy_pass_request_headers off;"),
                need(Caddy, CADDY, "request_header -X-Auth-*"),
                need(Caddy, CADDY, "request_header -Remote-*"),
                need(Caddy, CADDY, "request_header -X-Remote-*"),
                need(Caddy, CADDY, "request_header -X-Latchkey-*"),
                need(Haproxy, HAPROXY, "http-request del-header '^(x-)?(remote|auth|original|rewrite|real|client|latchkey)-' -m reg"),
                need(HaproxySpoe, HAPROXY, "http-request del-header '^(x-)?(remote|auth|original|rewrite|real|client|latchkey)-' -m reg"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: x-auth-, ignore_case: true } }"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: remote-, ignore_case: true } }"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: x-remote-, ignore_case: true } }"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: x-latchkey-, ignore_case: true } }"),
                need(Traefik, RULES, "authResponseHeadersRegex: (?i)^((x-)?(remote|auth|original|rewrite|client|latchkey)-|forwarded$|x-forwarded|x-http-method|x-method-override$|true-client-|http2-settings$)"),
                need(GatewayApi, ROUTE, "remove: [x-remote-user, remote-groups, x-auth-groups] (RequestHeaderModifier; it knows no prefixes)"),
            ] },
            Remedy::QuestionForged => const { &[
                need(Nginx, QUESTION, "proxy_pass_request_headers off;"),
                need(Nginx, QUESTION, "proxy_set_header X-Original-URI $request_uri;"),
                need(Nginx, QUESTION, "proxy_set_header X-Original-Method $request_method;"),
                avoid(Caddy, CADDY, "trusted_proxies"),
                avoid(Caddy, CADDY, "header_up X-Forwarded-Uri (Caddy itself sets it)"),
                need(Haproxy, LUA, "\"x-forwarded-uri: \" .. txn.sf:pathq(),"),
                need(Haproxy, LUA, "\"x-forwarded-method: \" .. txn.sf:method(),"),
                need(HaproxySpoe, SPOE, "args method=method"),
                need(HaproxySpoe, SPOE, "args uri=pathq"),
                need(Envoy, ENVOY, "path_prefix: /auth/envoy"),
                need(Envoy, ENVOY, "- remove_on_match: { key_matcher: { prefix: x-latchkey-, ignore_case: true } }"),
                avoid(Traefik, RULES, "trustForwardHeader: true"),
                need(Traefik, TRAEFIK, "insecure: false"),
                need(GatewayApi, ROUTE, "path: /auth/gateway/CATALOG/-"),
            ] },
            Remedy::RefusalTurned => const { &[
                need(Nginx, APPLICATION, "error_page 401 = @latchkey_unauthenticated;"),
                need(Nginx, APPLICATION, "error_page 403 = @latchkey_refused;"),
                need(Nginx, NGINX, "return 401;"),
                avoid(Caddy, CADDY, "handle_response (in the block of forward_auth)"),
                need(Haproxy, LUA, "local reply = txn:reply { status = status }"),
                need(HaproxySpoe, HAPROXY, "http-request return status 401 hdr Cache-Control no-store if { var(txn.latchkey.status) -m int 401 }"),
                need(HaproxySpoe, HAPROXY, "http-request return status 403 hdr Cache-Control no-store if { var(txn.latchkey.status) -m int 403 }"),
                avoid(Envoy, ENVOY, "local_reply_config (that maps the statuses of refusals)"),
                avoid(Traefik, RULES, "errors: (a middleware that answers in the place of Latchkey)"),
            ] },
            Remedy::RequestMisread => const { &[
                need(Nginx, QUESTION, "proxy_set_header X-Original-URI $request_uri;"),
                need(Nginx, QUESTION, "proxy_set_header X-Original-Method $request_method;"),
                avoid(Caddy, CADDY, "header_up X-Forwarded-Uri (Caddy itself sets it)"),
                avoid(Caddy, CADDY, "header_up X-Forwarded-Method (Caddy itself sets it)"),
                need(Haproxy, LUA, "\"x-forwarded-uri: \" .. txn.sf:pathq(),"),
                need(Haproxy, LUA, "\"x-forwarded-method: \" .. txn.sf:method(),"),
                need(HaproxySpoe, SPOE, "args method=method"),
                need(HaproxySpoe, SPOE, "args uri=pathq"),
                need(Envoy, ENVOY, "path_prefix: /auth/envoy"),
                avoid(Traefik, RULES, "replacePath, stripPrefix and addPrefix before forwardAuth"),
                need(Traefik, RULES, "address: http://127.0.0.1:8420/auth/traefik?catalog=billing"),
                avoid(GatewayApi, ROUTE, "URLRewrite before ExternalAuth"),
            ] },
            // The other proxies pass none on.
            Remedy::TrailersPassed => const { &[
                need(Haproxy, HAPROXY, "option http-drop-request-trailers"),
                need(HaproxySpoe, HAPROXY, "option http-drop-request-trailers"),
                avoid(Envoy, ENVOY, "enable_trailers: true"),
            ] },
            Remedy::Unguarded => const { &[
                need(Nginx, NGINX, "auth_request /_latchkey/billing;"),
                need(Nginx, NGINX, "auth_request /_latchkey/any;"),
                need(Nginx, APPLICATION, "satisfy all;"),
                need(Caddy, CADDY, "forward_auth 127.0.0.1:8420 {"),
                need(Haproxy, HAPROXY, "http-request lua.latchkey /auth/haproxy?catalog=billing if billing"),
                need(Haproxy, HAPROXY, "http-request lua.latchkey /auth/haproxy unless billing"),
                need(HaproxySpoe, HAPROXY, "http-request set-var(txn.latchkey.target) str(/auth/haproxy?catalog=billing) if billing"),
                need(HaproxySpoe, HAPROXY, "http-request set-var(txn.latchkey.target) str(/auth/haproxy) unless billing"),
                need(HaproxySpoe, HAPROXY, "http-request send-spoe-group latchkey check"),
                avoid(Haproxy, HAPROXY, "http-request allow (before the question)"),
                avoid(HaproxySpoe, HAPROXY, "http-request allow (before the question)"),
                need(Envoy, ENVOY, "- name: envoy.filters.http.ext_authz"),
                avoid(Envoy, ENVOY, "disabled: true (of ext_authz, on a route to the application)"),
                need(Traefik, RULES, "middlewares: [no-upgrade, latchkey-billing, keep-key]"),
                need(Traefik, RULES, "middlewares: [no-upgrade, latchkey, keep-key]"),
                need(GatewayApi, ROUTE, "- type: ExternalAuth (in the filters of every rule)"),
            ] },
            Remedy::UpgradePassed => const { &[
                need(Nginx, APPLICATION, "proxy_set_header Upgrade $latchkey_upgrade;"),
                need(Nginx, APPLICATION, "proxy_set_header Connection $latchkey_connection;"),
                need(Caddy, CADDY, "request_header @tunnel -Upgrade"),
                need(Caddy, CADDY, "request_header -HTTP2-Settings"),
                need(Haproxy, HAPROXY, "http-request del-header Upgrade unless websocket one_upgrade"),
                need(HaproxySpoe, HAPROXY, "http-request del-header Upgrade unless websocket one_upgrade"),
                need(Haproxy, HAPROXY, "http-request del-header HTTP2-Settings"),
                need(HaproxySpoe, HAPROXY, "http-request del-header HTTP2-Settings"),
                need(Envoy, ENVOY, "upgrade_configs: [{ upgrade_type: websocket }]"),
                need(Envoy, ENVOY, "- remove: http2-settings"),
                need(Traefik, RULES, "middlewares: [no-upgrade, latchkey-billing, keep-key]"),
                need(Traefik, RULES, "Upgrade: \"\""),
            ] },
            Remedy::VerdictKept => const { &[
                need(Nginx, QUESTION, "proxy_cache off;"),
                avoid(Caddy, CADDY, "cache (of a module, around forward_auth)"),
                avoid(Haproxy, HAPROXY, "http-request cache-use (before the question)"),
                avoid(HaproxySpoe, HAPROXY, "http-request cache-use (before the question)"),
                avoid(Envoy, ENVOY, "envoy.filters.http.cache (before ext_authz)"),
                avoid(Traefik, RULES, "a caching plugin before forwardAuth"),
                avoid(GatewayApi, "the gateway's settings", "a cache of answers of the authorization service"),
            ] },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Remedy] = &[
        Remedy::AddressBelieved,
        Remedy::CatalogNotAsked,
        Remedy::CredentialHidden,
        Remedy::FailOpen,
        Remedy::GoodKeyRefused,
        Remedy::IdentityMissing,
        Remedy::IdentityPassed,
        Remedy::KeyPassed,
        Remedy::LimitMapped,
        Remedy::MethodPassed,
        Remedy::NamesPassed,
        Remedy::OriginalPassed,
        Remedy::PathPassed,
        Remedy::PrefixPassed,
        Remedy::QuestionForged,
        Remedy::RefusalTurned,
        Remedy::RequestMisread,
        Remedy::TrailersPassed,
        Remedy::Unguarded,
        Remedy::UpgradePassed,
        Remedy::VerdictKept,
    ];

    fn example(proxy: Proxy, file: &str) -> String {
        let path = format!("examples/{}/{file}", proxy.word());
        std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{path}: {err}"))
    }

    /// The configuration without its comments.
    fn code(proxy: Proxy, file: &str) -> Vec<String> {
        let mark = if file == LUA { "--" } else { "#" };
        let text = example(proxy, file);
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with(mark));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn the_lines_are_those_of_the_examples() {
        for remedy in ALL {
            assert!(!remedy.sentence().is_empty());
            for line in remedy
                .lines()
                .iter()
                .filter(|line| line.proxy != GatewayApi)
            {
                // A line with an explanation is wrong in one place only.
                if !line.is_needed && line.text.contains(" (") {
                    continue;
                }
                let lines = code(line.proxy, line.file);
                let is_there = lines.iter().any(|it| match line.is_needed {
                    true => it == line.text,
                    false => it.contains(line.text),
                });
                assert_eq!(is_there, line.is_needed, "{remedy:?}: {line:?}");
            }
        }
    }

    #[test]
    fn every_fault_has_lines_for_each_proxy() {
        for remedy in ALL.iter().filter(|it| **it != Remedy::TrailersPassed) {
            for proxy in [Nginx, Caddy, Haproxy, HaproxySpoe, Envoy, Traefik] {
                let has = remedy.lines().iter().any(|line| line.proxy == proxy);
                assert!(has, "{remedy:?} {proxy:?}");
            }
        }
    }
}
