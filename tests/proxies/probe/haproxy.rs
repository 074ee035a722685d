//! Faults in the configuration of HAProxy and in its Lua action.

use super::{Seed, Seeds};

/// Before this line no question has been asked.
const BEFORE: &str = "    http-request unset-var(txn.latchkey)\n";

/// Faults in lines that the configuration with an agent has, too.
pub const PREFIXES: Seed = Seed {
    fault: "headers that begin with X-Auth- are passed on",
    changes: &[("(remote|auth|original|", "(remote|original|")],
    check: "forged-prefix",
    line: "http-request del-header '^(x-)?(remote|auth|original|rewrite|real|client|latchkey)-' -m reg",
};

pub const UNDERSCORES: Seed = Seed {
    fault: "names with underscores are passed on",
    changes: &[("    option http-restrict-req-hdr-names delete\n", "")],
    check: "forged-underscore",
    line: "option http-restrict-req-hdr-names delete",
};

pub const KEY_KEPT: Seed = Seed {
    fault: "the application sees the key",
    changes: &[("    http-request del-header Authorization\n", "")],
    check: "key-kept",
    line: "http-request del-header Authorization",
};

pub const ODD_PATHS: Seed = Seed {
    fault: "odd paths choose a rule",
    changes: &[(
        "    http-request deny deny_status 400 if !rooted or !plain or strange or blank or disguised\n",
        "",
    )],
    check: "path",
    line: "http-request deny deny_status 400 if !rooted or !plain or strange or blank or disguised",
};

pub const SEEDS: Seeds = Seeds {
    moved: ("127.0.0.1:9000", "127.0.0.1:9001"),
    running: &[
        Seed {
            fault: "a path without the question",
            changes: &[(
                "    http-request lua.latchkey /auth/haproxy?catalog=billing if billing\n",
                "    http-request allow if billing\n",
            )],
            check: "no-key",
            line: "http-request lua.latchkey /auth/haproxy?catalog=billing if billing",
        },
        Seed {
            fault: "a refusal that becomes a 200",
            changes: &[(
                "local reply = txn:reply { status = status }",
                "local reply = txn:reply { status = status == 401 and 200 or status }",
            )],
            check: "no-key",
            line: "local reply = txn:reply { status = status }",
        },
        Seed {
            fault: "HEAD without the question",
            changes: &[(
                BEFORE,
                "    http-request allow if METH_HEAD\n    http-request unset-var(txn.latchkey)\n",
            )],
            check: "head",
            line: "http-request allow (before the question)",
        },
        Seed {
            fault: "OPTIONS without the question",
            changes: &[(
                BEFORE,
                "    http-request allow if METH_OPTIONS\n    http-request unset-var(txn.latchkey)\n",
            )],
            check: "options",
            line: "http-request allow (before the question)",
        },
        PREFIXES,
        UNDERSCORES,
        KEY_KEPT,
        ODD_PATHS,
        Seed {
            fault: "the question has another path",
            changes: &[("txn.sf:pathq(),", "\"/billing/invoices\",")],
            check: "closed-request",
            line: "\"x-forwarded-uri: \" .. txn.sf:pathq(),",
        },
        Seed {
            fault: "the question has another method",
            changes: &[("txn.sf:method(),", "\"GET\",")],
            check: "closed-request",
            line: "\"x-forwarded-method: \" .. txn.sf:method(),",
        },
        Seed {
            fault: "the client's X-Forwarded-Uri is asked about",
            changes: &[
                (
                    "(forwarded$|x-forwarded|x-http-method|",
                    "(forwarded$|x-http-method|",
                ),
                (
                    "txn.sf:pathq(),",
                    "(txn.sf:req_fhdr(\"x-forwarded-uri\") ~= \"\" and txn.sf:req_fhdr(\"x-forwarded-uri\") or txn.sf:pathq()),",
                ),
            ],
            check: "forged-request",
            line: "\"x-forwarded-uri: \" .. txn.sf:pathq(),",
        },
        Seed {
            fault: "a limit becomes a 200",
            changes: &[(
                "refuse(txn, answer.status, answer.headers)",
                "refuse(txn, answer.status == 429 and 200 or answer.status, answer.headers)",
            )],
            check: "limit",
            line: "refuse(txn, answer.status, answer.headers)",
        },
        Seed {
            fault: "the client's X-Forwarded-For is believed",
            changes: &[
                (
                    "(forwarded$|x-forwarded|x-http-method|",
                    "(forwarded$|x-http-method|",
                ),
                (
                    "txn.sf:src(),",
                    "(txn.sf:req_fhdr(\"x-forwarded-for\") ~= \"\" and txn.sf:req_fhdr(\"x-forwarded-for\") or txn.sf:src()),",
                ),
            ],
            check: "forged-address",
            line: "\"x-forwarded-for: \" .. txn.sf:src(),",
        },
        Seed {
            fault: "one of two credentials is not shown to Latchkey",
            changes: &[(
                "{ \"authorization\", \"x-api-key\" }",
                "{ \"authorization\" }",
            )],
            check: "two-credentials",
            line: "local CREDENTIALS = { \"authorization\", \"x-api-key\" }",
        },
    ],
    stopped: &[Seed {
        fault: "without Latchkey requests pass",
        changes: &[(
            "refuse(txn, 503)",
            "txn:set_var(\"txn.latchkey\", \"allowed\")",
        )],
        check: "stopped",
        line: "refuse(txn, 503)",
    }],
};
