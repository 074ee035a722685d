//! Faults in the configuration of Caddy.

use super::{Seed, Seeds};

/// Before this line every request passes that is not asked about.
const BILLING: &str = "		@billing path /billing /billing/*\n";
/// Within each question.
const COPY: &str = "	copy_headers Remote-User X-Auth-Subject";

pub const SEEDS: Seeds = Seeds {
    moved: ("127.0.0.1:9000", "127.0.0.1:9001"),
    running: &[
        Seed {
            fault: "a path without the question",
            changes: &[(
                "			forward_auth 127.0.0.1:8420 {\n				uri /auth/caddy?catalog=billing\n				import latchkey\n			}\n",
                "",
            )],
            check: "no-key",
            line: "forward_auth 127.0.0.1:8420 {",
        },
        Seed {
            fault: "a refusal that becomes a 200",
            changes: &[(
                COPY,
                "	@denied status 401\n	handle_response @denied {\n		respond 200\n	}\n	copy_headers Remote-User X-Auth-Subject",
            )],
            check: "no-key",
            line: "handle_response (in the block of forward_auth)",
        },
        Seed {
            fault: "HEAD without the question",
            changes: &[(
                BILLING,
                "		@head method HEAD\n		handle @head {\n			reverse_proxy 127.0.0.1:9001\n		}\n		@billing path /billing /billing/*\n",
            )],
            check: "head",
            line: "forward_auth 127.0.0.1:8420 {",
        },
        Seed {
            fault: "OPTIONS without the question",
            changes: &[(
                BILLING,
                "		@options method OPTIONS\n		handle @options {\n			reverse_proxy 127.0.0.1:9001\n		}\n		@billing path /billing /billing/*\n",
            )],
            check: "options",
            line: "forward_auth 127.0.0.1:8420 {",
        },
        Seed {
            fault: "headers that begin with X-Auth- are passed on",
            changes: &[("		request_header -X-Auth-*\n", "")],
            check: "forged-prefix",
            line: "request_header -X-Auth-*",
        },
        Seed {
            fault: "names with underscores are passed on",
            changes: &[("		request_header -*_*\n", "")],
            check: "forged-underscore",
            line: "request_header -*_*",
        },
        Seed {
            fault: "the application sees the key",
            changes: &[("		header_up -Authorization\n", "")],
            check: "key-kept",
            line: "header_up -Authorization",
        },
        Seed {
            fault: "odd paths choose a rule",
            changes: &[("		respond @strange 400\n", "")],
            check: "path",
            line: "respond @strange 400",
        },
        Seed {
            fault: "the question has another path",
            changes: &[(
                COPY,
                "	header_up X-Forwarded-Uri /billing/invoices\n	copy_headers Remote-User X-Auth-Subject",
            )],
            check: "closed-request",
            line: "header_up X-Forwarded-Uri (Caddy itself sets it)",
        },
        Seed {
            fault: "a limit becomes a 200",
            changes: &[(
                COPY,
                "	@limited status 429\n	handle_response @limited {\n		respond 200\n	}\n	copy_headers Remote-User X-Auth-Subject",
            )],
            check: "limit",
            line: "handle_response (in the block of forward_auth)",
        },
        Seed {
            fault: "the client's X-Forwarded-For is believed",
            changes: &[
                (
                    COPY,
                    "	trusted_proxies 127.0.0.0/8\n	copy_headers Remote-User X-Auth-Subject",
                ),
                ("		request_header -X-Forwarded*\n", ""),
            ],
            check: "forged-address",
            line: "trusted_proxies",
        },
        Seed {
            fault: "a client removes the identity",
            changes: &[(
                "		header_up X-Auth-Subject {http.request.header.X-Auth-Subject}\n",
                "",
            )],
            check: "connection",
            line: "header_up X-Auth-Subject {http.request.header.X-Auth-Subject}",
        },
        Seed {
            fault: "method overrides are passed on",
            changes: &[("		request_header -X-HTTP-Method*\n", "")],
            check: "forged-method",
            line: "request_header -X-HTTP-Method*",
        },
        Seed {
            fault: "every upgrade is passed on",
            changes: &[("		request_header @tunnel -Upgrade\n", "")],
            check: "upgrade",
            line: "request_header @tunnel -Upgrade",
        },
    ],
    stopped: &[Seed {
        fault: "without Latchkey requests pass",
        changes: &[(
            "	bind 127.0.0.1\n",
            "	bind 127.0.0.1\n	handle_errors {\n		reverse_proxy 127.0.0.1:9001\n	}\n",
        )],
        check: "stopped",
        line: "handle_errors",
    }],
};
