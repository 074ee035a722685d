//! Faults in the configuration of HAProxy with Latchkey as its agent.

use super::{Seed, Seeds};

/// Before this line no question has been asked.
const BEFORE: &str = "    http-request unset-var(txn.latchkey.allowed)\n";

pub const SEEDS: Seeds = Seeds {
    moved: ("127.0.0.1:9000", "127.0.0.1:9001"),
    running: &[
        Seed {
            fault: "a path without the question",
            changes: &[(
                BEFORE,
                "    http-request allow if billing\n    http-request unset-var(txn.latchkey.allowed)\n",
            )],
            check: "no-key",
            line: "http-request send-spoe-group latchkey check",
        },
        Seed {
            fault: "a path without its catalog",
            changes: &[(
                "    http-request set-var(txn.latchkey.target) str(/auth/haproxy?catalog=billing) if billing\n    http-request set-var(txn.latchkey.target) str(/auth/haproxy) unless billing\n",
                "    http-request set-var(txn.latchkey.target) str(/auth/haproxy)\n",
            )],
            check: "missing-scope",
            line: "http-request set-var(txn.latchkey.target) str(/auth/haproxy?catalog=billing) if billing",
        },
        Seed {
            fault: "a refusal that becomes a 200",
            changes: &[(
                "http-request return status 401 hdr",
                "http-request return status 200 hdr",
            )],
            check: "no-key",
            line: "http-request return status 401 hdr Cache-Control no-store if { var(txn.latchkey.status) -m int 401 }",
        },
        Seed {
            fault: "HEAD without the question",
            changes: &[(
                BEFORE,
                "    http-request allow if METH_HEAD\n    http-request unset-var(txn.latchkey.allowed)\n",
            )],
            check: "head",
            line: "http-request allow (before the question)",
        },
        Seed {
            fault: "OPTIONS without the question",
            changes: &[(
                BEFORE,
                "    http-request allow if METH_OPTIONS\n    http-request unset-var(txn.latchkey.allowed)\n",
            )],
            check: "options",
            line: "http-request allow (before the question)",
        },
        Seed {
            fault: "headers that begin with X-Auth- are passed on",
            changes: &[("(remote|auth|original|", "(remote|original|")],
            check: "forged-prefix",
            line: "http-request del-header '^(x-)?(remote|auth|original|rewrite|real|client|latchkey)-' -m reg",
        },
        Seed {
            fault: "names with underscores are passed on",
            changes: &[("    option http-restrict-req-hdr-names delete\n", "")],
            check: "forged-underscore",
            line: "option http-restrict-req-hdr-names delete",
        },
        Seed {
            fault: "the application sees the key",
            changes: &[("    http-request del-header Authorization\n", "")],
            check: "key-kept",
            line: "http-request del-header Authorization",
        },
        Seed {
            fault: "odd paths choose a rule",
            changes: &[(
                "    http-request deny deny_status 400 if !rooted or !plain or strange or blank or disguised\n",
                "",
            )],
            check: "path",
            line: "http-request deny deny_status 400 if !rooted or !plain or strange or blank or disguised",
        },
        Seed {
            fault: "the question has another path",
            changes: &[("args uri=pathq", "args uri=str(/billing/invoices)")],
            check: "closed-request",
            line: "args uri=pathq",
        },
        Seed {
            fault: "the question has another method",
            changes: &[("args method=method", "args method=str(GET)")],
            check: "closed-request",
            line: "args method=method",
        },
        Seed {
            fault: "the client's X-Forwarded-Uri is asked about",
            changes: &[
                (
                    "(forwarded$|x-forwarded|x-http-method|",
                    "(forwarded$|x-http-method|",
                ),
                ("args uri=pathq", "args uri=var(txn.asked)"),
                (
                    BEFORE,
                    "    http-request unset-var(txn.latchkey.allowed)\n    http-request set-var(txn.asked) pathq\n    \
                     http-request set-var(txn.asked) req.fhdr(x-forwarded-uri) if { req.fhdr(x-forwarded-uri) -m found }\n",
                ),
            ],
            check: "forged-request",
            line: "args uri=pathq",
        },
        Seed {
            fault: "a limit becomes a 200",
            changes: &[(
                "http-request return status 429 hdr",
                "http-request return status 200 hdr",
            )],
            check: "limit",
            line: "http-request return status 429 hdr Cache-Control no-store if { var(txn.latchkey.status) -m int 429 }",
        },
        Seed {
            fault: "the client's X-Forwarded-For is believed",
            changes: &[
                (
                    "(forwarded$|x-forwarded|x-http-method|",
                    "(forwarded$|x-http-method|",
                ),
                ("args client=src", "args client=var(txn.from)"),
                (
                    BEFORE,
                    "    http-request unset-var(txn.latchkey.allowed)\n    http-request set-var(txn.from) src\n    \
                     http-request set-var(txn.from) req.fhdr(x-forwarded-for) if { req.fhdr(x-forwarded-for) -m found }\n",
                ),
            ],
            check: "forged-address",
            line: "args client=src",
        },
        Seed {
            fault: "one of two credentials is not shown to Latchkey",
            changes: &[(
                "    args x-api-key=req.fhdr(x-api-key) x-api-key.count=req.fhdr_cnt(x-api-key)\n",
                "",
            )],
            check: "two-credentials",
            line: "args x-api-key=req.fhdr(x-api-key) x-api-key.count=req.fhdr_cnt(x-api-key)",
        },
    ],
    stopped: &[Seed {
        fault: "without Latchkey requests pass",
        changes: &[(
            "http-request deny deny_status 503 unless { var(txn.latchkey.allowed) -m str allowed }",
            "http-request deny deny_status 503 if { var(txn.latchkey.status) -m int 503 }",
        )],
        check: "stopped",
        line: "http-request deny deny_status 503 unless { var(txn.latchkey.allowed) -m str allowed }",
    }],
};
