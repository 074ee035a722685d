//! Paths that a proxy reads in one way, and Latchkey or the application in another.

use crate::Behaviour;
use crate::harness::client::{get, request};
use crate::harness::stage::Stage;

#[rustfmt::skip] // Columns are the point of this table.
pub const BEHAVIOURS: &[Behaviour] = &[
    ("no spelling of a path gets past a missing scope",      spellings),
    ("no spelling of a path gets past a missing key",        spellings_without_a_key),
    ("a query may contain what a path may not",              queries),
    ("every visible character of a query is passed on",      odd_queries),
];

/// Spellings of `/billing/invoices` that at least one application accepts.
/// 81, 83, 84, 85, 87.
const SPELLINGS: &[&[u8]] = &[
    b"/billing/../billing/invoices",
    b"/x/../billing/invoices",
    b"/x/..;/billing/invoices",
    b"/./billing/invoices",
    b"/billing/./invoices",
    b"/billing/invoices/.",
    b"/billing/invoices/x/..",
    b"/%2e/billing/invoices",
    b"/x/%2e%2e/billing/invoices",
    b"/x/%2E%2E/billing/invoices",
    b"/x/.%2e/billing/invoices",
    b"/x%2f..%2fbilling/invoices",
    b"/x/%252e%252e/billing/invoices",
    b"//billing/invoices",
    b"//x/billing/invoices",
    b"/billing//invoices",
    b"/billing/invoices//",
    b"/billing%2Finvoices",
    b"/billing%2finvoices",
    b"/%2fbilling/invoices",
    b"/billing%252Finvoices",
    b"/billing%25%32%66invoices",
    b"/billing%5Cinvoices",
    b"/billing\\invoices",
    b"/\\billing/invoices",
    b"\\billing\\invoices",
    b"/x\\..\\billing/invoices",
    b"/billing;x=1/invoices",
    b"/billing/invoices;x=1",
    b"/;/billing/invoices",
    b"/billing%3bx/invoices",
    b"/billing/invoices%00",
    b"/billing/invoices\x00",
    b"/%00/billing/invoices",
    b"/billing/invoices%0a",
    b"/billing/invoices%0d%0aX-Original-URI:%20/",
    b"/billing/invoices%20",
    b"/billing/invoices\t",
    b"/billing/invoices\x7f",
    b"/billing/invoices%3Fx",
    b"/billing/invoices?",
    b"/billing/invoices?x=/../../open",
    b"/billing/invoices#/open",
    b"/open#/../billing/invoices",
    b"/billing/invoices%23",
    b"/BILLING/invoices",
    b"/Billing/Invoices",
    b"/%62illing/invoices",
    b"/%42ILLING/invoices",
    b"/billin%67/invoices",
    b"/billing/%69nvoices",
    b"/billing/invoices/",
    b"/billing/invoices.",
    b"/billing/invoices%",
    b"/billing/invoices%2",
    b"/%u002e%u002e/billing/invoices",
    b"/billing%c0%afinvoices",
    b"/billing\xef\xbc\x8finvoices",
    b"/x/\xe2\x80\xa5/billing/invoices",
    // finding H11: characters that Windows removes, blanks, and characters that Unicode normalisation turns into these.
    b"/billing./invoices",
    b"/billing../invoices",
    b"/billing./",
    b"/billing.",
    b"/billing%20/invoices",
    b"/%20billing/invoices",
    b"/billing%20",
    b"/billing.%20/invoices",
    b"/billing%c2%a0/invoices",
    b"/%C2%A0billing/invoices",
    b"/billing%a0/invoices",
    b"/billing%c2%85/invoices",
    b"/billing%e2%80%8b/invoices",
    b"/billing%e3%80%80/invoices",
    b"/billing%ef%bb%bf/invoices",
    b"/billing%e2%80%a4/invoices",
    b"/x/%e2%80%a5/billing/invoices",
    b"/billing%e2%81%84invoices",
    b"/billing%e2%88%95invoices",
    b"/billing%ef%bc%8finvoices",
    b"/%EF%BC%8Fbilling/invoices",
    b"/billing%ef%bc%bcinvoices",
    b"/billing%ef%b9%a8invoices",
    b"/billing%ef%bc%852finvoices",
    b"/billing%ef%bc%9bx/invoices",
    b"/billing%cd%bex/invoices",
    b"/%ef%bd%82illing/invoices",
    b"/bi%e2%84%93ling/invoices",
    b"/bill%e2%85%b0ng/invoices",
    b"/%f0%9d%90%9billing/invoices",
    b"/%f0%9d%90%9billing/invoices",
    b"/%e2%93%91illing/invoices",
    b"billing/invoices",
    b"http://x//billing/invoices",
    b"http://x/open/../billing/invoices",
    b"*",
    b"",
];

fn spellings(stage: &mut Stage) {
    stage.passes(&get("/billing/invoices").bearer(&stage.reader.secret));
    for method in ["GET", "POST", "HEAD"] {
        for target in SPELLINGS {
            let request = request(method, target).bearer(&stage.bare.secret);
            println!("  {method} {}", target.escape_ascii());
            stage.stops(&request);
        }
    }
}

fn spellings_without_a_key(stage: &mut Stage) {
    for target in SPELLINGS {
        println!("  GET {}", target.escape_ascii());
        stage.stops(&request("GET", target));
    }
}

/// 85: the query begins at the first `?`, and has no effect.
fn queries(stage: &mut Stage) {
    let target = "/billing/invoices?next=/a/../b//c;d&e=%2e%2f%00%5c?f";
    stage.passes(&get(target).bearer(&stage.reader.secret));
    stage.refuses(
        &get(target).bearer(&stage.bare.secret),
        403,
        Some("INSUFFICIENT_SCOPE"),
    );
    for target in [
        "/open/caf%C3%A9?q=..//",
        "/open/voil%C3%A0/%C3%A9t%C3%A9",
        "/open/%E6%97%A5%E6%9C%AC",
        "/open/it%E2%80%99s",
        "/open/%F0%9F%98%80",
        "/open/a%20b",
        "/open/.well-known/v1.2",
        "/open/?q=a.&b=%20/&c=%c2%a0/%ef%bc%8f%a0",
    ] {
        stage.passes(&get(target).bearer(&stage.bare.secret));
    }
}

/// finding H6. Browsers do not encode these characters.
fn odd_queries(stage: &mut Stage) {
    for byte in "|^`\"{}<>[]\\'!$&()*+,;=:@/?~".chars() {
        let target = format!("/billing/invoices?q=a{byte}b");
        let request = get(&target).bearer(&stage.reader.secret);
        println!("  {target}");
        let reply = stage.send(&request);
        // A request that the proxy itself refuses never reaches Latchkey.
        let refused_by_proxy = reply.status == 400 && stage.name == "envoy";
        assert!(
            reply.status == 200 || refused_by_proxy,
            "{byte} {}",
            reply.text()
        );
        assert!(
            !refused_by_proxy || !"|^`\"{}".contains(byte),
            "{byte} {}",
            reply.text()
        );
    }
}
