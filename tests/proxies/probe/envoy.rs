//! Faults in the configuration of Envoy.

use super::{Seed, Seeds};

/// Before these lines every route is one that refuses.
const BILLING: &str = "                        # The catalog `billing` decides by method and path which scope a request takes. Without regard\n";
/// Before this line settings of the connection manager may be added.
const MANAGER: &str = "                upgrade_configs: [{ upgrade_type: websocket }]\n";

pub const SEEDS: Seeds = Seeds {
    moved: ("port_value: 9000", "port_value: 9001"),
    running: &[
        Seed {
            fault: "a route without the question",
            changes: &[(
                "                            envoy.filters.http.header_mutation:\n",
                "                            envoy.filters.http.ext_authz:\n                              \
                 \"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute\n                              \
                 disabled: true\n                            envoy.filters.http.header_mutation:\n",
            )],
            check: "no-key",
            line: "disabled: true (of ext_authz, on a route to the application)",
        },
        Seed {
            fault: "a refusal that becomes a 200",
            changes: &[(
                MANAGER,
                "                local_reply_config:\n                  mappers:\n                    \
                 - filter: { status_code_filter: { comparison: { op: EQ, value: { default_value: 401, runtime_key: none } } } }\n                      \
                 status_code: 200\n                upgrade_configs: [{ upgrade_type: websocket }]\n",
            )],
            check: "no-key",
            line: "local_reply_config (that maps the statuses of refusals)",
        },
        Seed {
            fault: "headers behind the body are passed on",
            changes: &[
                (
                    MANAGER,
                    "                http_protocol_options: { enable_trailers: true }\n                \
                     upgrade_configs: [{ upgrade_type: websocket }]\n",
                ),
                (
                    "      connect_timeout: 1s\n",
                    "      connect_timeout: 1s\n      typed_extension_protocol_options:\n        \
                     envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n          \
                     \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n          \
                     explicit_http_config: { http_protocol_options: { enable_trailers: true } }\n",
                ),
            ],
            check: "forged-trailers",
            line: "enable_trailers: true",
        },
        Seed {
            fault: "HEAD without the question",
            changes: &[(
                BILLING,
                "                        - match: { prefix: /, headers: [{ name: \":method\", string_match: { exact: HEAD } }] }\n                          \
                 route: { cluster: application }\n                          typed_per_filter_config: *unasked\n                        \
                 # The catalog `billing` decides by method and path which scope a request takes. Without regard\n",
            )],
            check: "head",
            line: "disabled: true (of ext_authz, on a route to the application)",
        },
        Seed {
            fault: "OPTIONS without the question",
            changes: &[(
                BILLING,
                "                        - match: { prefix: /, headers: [{ name: \":method\", string_match: { exact: OPTIONS } }] }\n                          \
                 route: { cluster: application }\n                          typed_per_filter_config: *unasked\n                        \
                 # The catalog `billing` decides by method and path which scope a request takes. Without regard\n",
            )],
            check: "options",
            line: "disabled: true (of ext_authz, on a route to the application)",
        },
        Seed {
            fault: "headers that begin with X-Auth- are passed on",
            changes: &[(
                "                          - remove_on_match: { key_matcher: { prefix: x-auth-, ignore_case: true } }\n",
                "",
            )],
            check: "forged-prefix",
            line: "- remove_on_match: { key_matcher: { prefix: x-auth-, ignore_case: true } }",
        },
        Seed {
            fault: "names with underscores are passed on",
            changes: &[(
                "headers_with_underscores_action: DROP_HEADER",
                "headers_with_underscores_action: ALLOW",
            )],
            check: "forged-underscore",
            line: "common_http_protocol_options: { headers_with_underscores_action: DROP_HEADER, max_headers_count: 200 }",
        },
        Seed {
            fault: "the application sees the key",
            changes: &[(
                "[authorization, x-api-key, x-latchkey-catalog]",
                "[x-latchkey-catalog]",
            )],
            check: "key-kept",
            line: "request_headers_to_remove: [authorization, x-api-key, x-latchkey-catalog]",
        },
        Seed {
            fault: "dots are removed from paths",
            changes: &[("normalize_path: false", "normalize_path: true")],
            check: "path",
            line: "normalize_path: false",
        },
        Seed {
            fault: "slashes are merged",
            changes: &[("merge_slashes: false", "merge_slashes: true")],
            check: "path",
            line: "merge_slashes: false",
        },
        Seed {
            fault: "the question has another path",
            changes: &[(
                "path_prefix: /auth/envoy",
                "path_prefix: \"/auth/envoy/billing/invoices?\"",
            )],
            check: "closed-request",
            line: "path_prefix: /auth/envoy",
        },
        Seed {
            fault: "the question does not name the catalog",
            changes: &[(
                "key: x-latchkey-catalog, value: billing",
                "key: x-catalog, value: billing",
            )],
            check: "missing-scope",
            line: "header: { key: x-latchkey-catalog, value: billing }",
        },
        Seed {
            fault: "a limit becomes a 200",
            changes: &[(
                MANAGER,
                "                local_reply_config:\n                  mappers:\n                    \
                 - filter: { status_code_filter: { comparison: { op: EQ, value: { default_value: 429, runtime_key: none } } } }\n                      \
                 status_code: 200\n                upgrade_configs: [{ upgrade_type: websocket }]\n",
            )],
            check: "limit",
            line: "local_reply_config (that maps the statuses of refusals)",
        },
        Seed {
            fault: "the client's X-Forwarded-For is believed",
            changes: &[
                // Otherwise Envoy adds an address of this machine for a client on loopback, if the machine has one.
                (
                    MANAGER,
                    "                skip_xff_append: true\n                upgrade_configs: [{ upgrade_type: websocket }]\n",
                ),
                (
                    "                          - remove_on_match: { key_matcher: { prefix: x-forwarded-, ignore_case: true } }\n",
                    "",
                ),
                (
                    "                              header: { key: x-forwarded-for, value: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\" }\n                              append_action: OVERWRITE_IF_EXISTS_OR_ADD\n",
                    "                              header: { key: x-forwarded-for, value: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\" }\n                              append_action: APPEND_IF_EXISTS_OR_ADD\n",
                ),
            ],
            check: "forged-address",
            line: "header: { key: x-forwarded-for, value: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\" }",
        },
        Seed {
            fault: "method overrides are passed on",
            changes: &[(
                "                          - remove_on_match: { key_matcher: { prefix: x-http-method, ignore_case: true } }\n",
                "",
            )],
            check: "forged-method",
            line: "- remove_on_match: { key_matcher: { prefix: x-http-method, ignore_case: true } }",
        },
    ],
    stopped: &[Seed {
        fault: "without Latchkey requests pass",
        changes: &[("failure_mode_allow: false", "failure_mode_allow: true")],
        check: "stopped",
        line: "failure_mode_allow: false",
    }],
};
