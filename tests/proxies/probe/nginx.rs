//! Faults in the configuration of nginx.

use super::{Seed, Seeds};

/// Where every server-wide rule of the example begins.
const SERVER: &str = "        if ($latchkey_strange_path) {";

pub const SEEDS: Seeds = Seeds {
    moved: ("server 127.0.0.1:9000;", "server 127.0.0.1:9001;"),
    running: &[
        Seed {
            fault: "a location without the question",
            changes: &[("            auth_request /_latchkey/billing;\n", "")],
            check: "no-key",
            line: "auth_request /_latchkey/billing;",
        },
        Seed {
            fault: "a refusal that becomes a 200",
            changes: &[("return 401;", "return 200;")],
            check: "no-key",
            line: "return 401;",
        },
        Seed {
            fault: "HEAD without the question",
            changes: &[(
                SERVER,
                "        error_page 418 = @unasked;\n        if ($request_method = HEAD) {\n            return 418;\n        }\n        \
                 location @unasked {\n            proxy_pass http://application;\n        }\n        if ($latchkey_strange_path) {",
            )],
            check: "head",
            line: "auth_request /_latchkey/billing;",
        },
        Seed {
            fault: "OPTIONS without the question",
            changes: &[(
                SERVER,
                "        error_page 418 = @unasked;\n        if ($request_method = OPTIONS) {\n            return 418;\n        }\n        \
                 location @unasked {\n            proxy_pass http://application;\n        }\n        if ($latchkey_strange_path) {",
            )],
            check: "options",
            line: "auth_request /_latchkey/billing;",
        },
        Seed {
            fault: "Remote-User of the client is passed on",
            changes: &[(
                "proxy_set_header Remote-User $latchkey_user;",
                "proxy_set_header Remote-User $http_remote_user;",
            )],
            check: "forged-identity",
            line: "proxy_set_header Remote-User $latchkey_user;",
        },
        Seed {
            fault: "names with underscores are passed on",
            changes: &[
                ("underscores_in_headers off;", "underscores_in_headers on;"),
                (
                    "proxy_pass_request_headers off;",
                    "proxy_pass_request_headers on;",
                ),
            ],
            check: "forged-underscore",
            line: "underscores_in_headers off;",
        },
        Seed {
            fault: "the application sees the key",
            changes: &[(
                "proxy_set_header Authorization \"\";",
                "proxy_set_header Authorization $http_authorization;",
            )],
            check: "key-kept",
            line: "proxy_set_header Authorization \"\";",
        },
        Seed {
            fault: "odd paths choose a location",
            changes: &[("return 400;", "set $latchkey_told 0;")],
            check: "path",
            line: "if ($latchkey_strange_path) {",
        },
        Seed {
            fault: "the question has another path",
            changes: &[(
                "proxy_set_header X-Original-URI $request_uri;",
                "proxy_set_header X-Original-URI /billing/invoices;",
            )],
            check: "closed-request",
            line: "proxy_set_header X-Original-URI $request_uri;",
        },
        Seed {
            fault: "the question has another method",
            changes: &[(
                "proxy_set_header X-Original-Method $request_method;",
                "proxy_set_header X-Original-Method GET;",
            )],
            check: "closed-request",
            line: "proxy_set_header X-Original-Method $request_method;",
        },
        Seed {
            fault: "the client's X-Original-URI is asked about",
            changes: &[
                (
                    "proxy_set_header X-Original-URI $request_uri;",
                    "proxy_set_header X-Original-URI $asked_uri;",
                ),
                (
                    "    access_log off;",
                    "    access_log off;\n    map $http_x_original_uri $asked_uri {\n        default $http_x_original_uri;\n        \"\" $request_uri;\n    }",
                ),
            ],
            check: "forged-request",
            line: "proxy_set_header X-Original-URI $request_uri;",
        },
        Seed {
            fault: "a limit is no 429",
            changes: &[("RATE_LIMITED 1;", "RATE_LIMITED 0;")],
            check: "limit",
            line: "RATE_LIMITED 1;",
        },
        Seed {
            fault: "a limit becomes a 200",
            changes: &[("return 429;", "return 200;")],
            check: "limit",
            line: "return 429;",
        },
        Seed {
            fault: "verdicts are cached",
            changes: &[
                (
                    "    access_log off;",
                    "    access_log off;\n    proxy_cache_path cache keys_zone=verdicts:1m;",
                ),
                (
                    "proxy_cache off;",
                    "proxy_cache verdicts;\nproxy_cache_valid 200 1m;\nproxy_cache_key $http_authorization;\nproxy_ignore_headers Cache-Control;",
                ),
            ],
            check: "deleted-key",
            line: "proxy_cache off;",
        },
        Seed {
            fault: "the client's X-Forwarded-For is believed",
            changes: &[(
                "proxy_set_header X-Forwarded-For $remote_addr;",
                "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
            )],
            check: "forged-address",
            line: "proxy_set_header X-Forwarded-For $remote_addr;",
        },
        Seed {
            fault: "every upgrade is passed on",
            changes: &[(
                "proxy_set_header Upgrade $latchkey_upgrade;",
                "proxy_set_header Upgrade $http_upgrade;",
            )],
            check: "upgrade",
            line: "proxy_set_header Upgrade $latchkey_upgrade;",
        },
    ],
    stopped: &[Seed {
        fault: "without Latchkey requests pass",
        changes: &[
            (
                "error_page 500 502 503 504 =503 @latchkey_unavailable;",
                "error_page 500 502 503 504 =200 /_open;",
            ),
            (
                SERVER,
                "        location = /_open {\n            internal;\n            return 200;\n        }\n        if ($latchkey_strange_path) {",
            ),
        ],
        check: "stopped",
        line: "error_page 500 502 503 504 =503 @latchkey_unavailable;",
    }],
};
