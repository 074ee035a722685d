//! Faults in the configuration of Traefik.

use super::{Seed, Seeds};

/// Before this line further routers may be added.
const ROUTERS: &str = "    # Anything else passes if its key is good.\n";
/// The middlewares of the path that a catalog decides about.
const BILLING: &str = "middlewares: [no-upgrade, latchkey-billing, keep-key]";
/// Before this line further middlewares may be added.
const MIDDLEWARES: &str = "    # Only a WebSocket may leave HTTP:";

pub const SEEDS: Seeds = Seeds {
    moved: ("http://127.0.0.1:9000", "http://127.0.0.1:9001"),
    running: &[
        Seed {
            fault: "a path without the question",
            changes: &[(BILLING, "middlewares: [no-upgrade, keep-key]")],
            check: "no-key",
            line: BILLING,
        },
        Seed {
            fault: "a refusal that becomes a 200",
            changes: &[
                (
                    BILLING,
                    "middlewares: [denied, no-upgrade, latchkey-billing, keep-key]",
                ),
                (
                    MIDDLEWARES,
                    "    denied:\n      errors:\n        status: [\"401\"]\n        statusRewrites:\n          \"401\": 200\n        \
                     service: application\n        query: /\n    # Only a WebSocket may leave HTTP:",
                ),
            ],
            check: "no-key",
            line: BILLING,
        },
        Seed {
            fault: "HEAD without the question",
            changes: &[(
                ROUTERS,
                "    head:\n      entryPoints: [api]\n      rule: Method(`HEAD`)\n      priority: 40\n      \
                 middlewares: [no-upgrade, keep-key]\n      service: application\n    # Anything else passes if its key is good.\n",
            )],
            check: "head",
            line: BILLING,
        },
        Seed {
            fault: "OPTIONS without the question",
            changes: &[(
                ROUTERS,
                "    options:\n      entryPoints: [api]\n      rule: Method(`OPTIONS`)\n      priority: 40\n      \
                 middlewares: [no-upgrade, keep-key]\n      service: application\n    # Anything else passes if its key is good.\n",
            )],
            check: "options",
            line: BILLING,
        },
        Seed {
            fault: "headers that begin with X-Auth- are passed on",
            changes: &[("(remote|auth|original|", "(remote|original|")],
            check: "forged-prefix",
            line: REGEX,
        },
        Seed {
            fault: "names with underscores are passed on",
            changes: &[("aliasHeadersStrategy: delete", "aliasHeadersStrategy: keep")],
            check: "forged-underscore",
            line: "aliasHeadersStrategy: delete",
        },
        Seed {
            fault: "the application sees the key",
            changes: &[("          Authorization: \"\"\n", "")],
            check: "key-kept",
            line: "Authorization: \"\"",
        },
        Seed {
            fault: "odd paths choose a router",
            changes: &[
                ("[\\\\;#%", "[\\\\#%"),
                (
                    "allowEncodedSemicolon: false",
                    "allowEncodedSemicolon: true",
                ),
            ],
            check: "path",
            line: "rule: PathRegexp(`^[^/]|[\\\\;#%\\x00-\\x1f\\x7f-\\x{9f}]|//`)",
        },
        Seed {
            fault: "the question does not name the catalog",
            changes: &[("traefik?catalog=billing", "traefik")],
            check: "missing-scope",
            line: "address: http://127.0.0.1:8420/auth/traefik?catalog=billing",
        },
        Seed {
            fault: "the client's X-Forwarded-Uri is asked about",
            changes: &[
                ("insecure: false", "insecure: true"),
                (
                    "        maxResponseBodySize: 8191\n",
                    "        maxResponseBodySize: 8191\n        trustForwardHeader: true\n",
                ),
            ],
            check: "forged-request",
            line: "trustForwardHeader: true",
        },
        Seed {
            fault: "the client's X-Forwarded-For is believed",
            changes: &[
                ("insecure: false", "insecure: true"),
                (
                    "        maxResponseBodySize: 8191\n",
                    "        maxResponseBodySize: 8191\n        trustForwardHeader: true\n",
                ),
            ],
            check: "forged-address",
            line: "insecure: false",
        },
        Seed {
            fault: "a limit becomes a 200",
            changes: &[
                (
                    BILLING,
                    "middlewares: [limited, no-upgrade, latchkey-billing, keep-key]",
                ),
                (
                    MIDDLEWARES,
                    "    limited:\n      errors:\n        status: [\"429\"]\n        statusRewrites:\n          \"429\": 200\n        \
                     service: application\n        query: /\n    # Only a WebSocket may leave HTTP:",
                ),
            ],
            check: "limit",
            line: "errors: (a middleware that answers in the place of Latchkey)",
        },
        Seed {
            fault: "method overrides are passed on",
            changes: &[("|x-http-method|", "|")],
            check: "forged-method",
            line: REGEX,
        },
        Seed {
            fault: "every upgrade is passed on",
            changes: &[(BILLING, "middlewares: [latchkey-billing, keep-key]")],
            check: "upgrade",
            line: BILLING,
        },
    ],
    stopped: &[Seed {
        fault: "without Latchkey requests pass",
        changes: &[
            (
                BILLING,
                "middlewares: [failed, no-upgrade, latchkey-billing, keep-key]",
            ),
            (
                MIDDLEWARES,
                "    failed:\n      errors:\n        status: [\"500-599\"]\n        statusRewrites:\n          \"500-599\": 200\n        \
                 service: application\n        query: /\n    # Only a WebSocket may leave HTTP:",
            ),
        ],
        check: "stopped",
        line: "errors: (a middleware that answers in the place of Latchkey)",
    }],
};

const REGEX: &str = "authResponseHeadersRegex: (?i)^((x-)?(remote|auth|original|rewrite|client|latchkey)-|forwarded$|x-forwarded|x-http-method|x-method-override$|true-client-|http2-settings$)";
