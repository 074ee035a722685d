//! Handlers for reports of leaked secrets: `/v1/leaks`, and the form in which GitHub delivers them.

use crate::domain::hex::hex;
use crate::domain::keys::scheme::Scheme;
use crate::domain::users::permissions::Permission::LeaksReport;
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::describe::bodies::{Requested, answer, request};
use crate::http::fields;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::leaks::{
    self, Delivery, Report, SECRET_BYTES_MAX, SOURCE_CHARS_MAX, URL_CHARS_MAX,
};
use crate::refusals;
use serde_json::{Value, json};

/// The headers of a delivery: which key has signed it, and the signature.
const IDENTIFIER: &str = "github-public-key-identifier";
const SIGNATURE: &str = "github-public-key-signature";

request! {
    /// A secret that was found where it should not be.
    struct LeakBody as "Leak" {
        /// The text that was found.
        secret: String [maxLength = SECRET_BYTES_MAX] = "lk_k3J9aQ0xZbv7Qm2XoT5cYw8RkLp1Ns4Hd6Gf9Jb3Va0Ue7Iy2Wq5Zx8CkE1A9fQ2",
        /// Where. A query, a fragment, credentials and secrets are not kept.
        url: Option<String> [maxLength = URL_CHARS_MAX] = "https://wiki.example.com/build",
        /// Who or what found it.
        source: Option<String> [maxLength = SOURCE_CHARS_MAX] = "wiki search",
    }
}

answer! {
    /// What a text is, for its finder.
    struct LabelBody as "LeakLabel" {
        /// SHA-256 of the text in hexadecimal digits.
        token_hash: String = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        token_type: String = "latchkey_key",
        /// `true_positive`: it is a secret of a key, or was one.
        label: &'static str [enum = ["true_positive", "false_positive"]] = "true_positive",
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document.group(
        "leaks",
        "Reports of secrets that were found where they should not be.",
    );
    document
        .add("post /v1/leaks", "reportLeak", "Report a leaked secret")
        .about(
            "If it is a secret of a key, or was one, the audit log has an event `key.leaked` about the key, and its policy \
             decides what follows (`on_leak`). The answer is the same for every text. A caller reports at most 600 secrets \
             in a minute.",
        )
        .needs(&[LeaksReport])
        .body::<LeakBody>()
        .ends(204, "Received.");
    let header = |name: &str, about: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": about, "schema": { "type": "string" },
        })
    };
    document
        .add("post /v1/leaks/github", "deliverLeaks", "Report leaked secrets as GitHub does")
        .about(
            "As GitHub's secret scanning partner program delivers them: a JSON array of objects with `token`, `type`, `url` \
             and `source`. It needs no credential but the signature of a key in the file of the setting `leak_report_keys`; \
             without that setting there is no such route. What follows is the same as for `POST /v1/leaks`.",
        )
        .security(json!([]))
        .parameter(header(IDENTIFIER, "Which key has signed the body."))
        .parameter(header(SIGNATURE, "ECDSA with P-256 and SHA-256 over the body, as ASN.1 in Base64."))
        .text("application/json", r#"[{"token":"lk_nothing","type":"latchkey_key","url":"","source":"content"}]"#)
        .answers::<Vec<LabelBody>>(200, "One label for each secret, in the same order.")
        .refuses(401, "unauthenticated")
        .refuses(429, "too-many-requests")
        .may_not_find();
}

/// `POST /v1/leaks`: the answer is the same for every text.
pub fn report(call: &Call<'_>) -> Result<Reply> {
    let body = LeakBody::of(call.request)?;
    let report = Report {
        secret: body.secret,
        url: body.url.unwrap_or_default(),
        source: body.source.unwrap_or_default(),
    };
    leaks::report(call.app, call.caller()?, &report)?;
    Ok(Reply::new(204))
}

/// `POST /v1/leaks/github`
pub fn take_delivery(call: &Call<'_>) -> Result<Reply> {
    let header = |name: &str| match call.request.header(name) {
        Ok(Some(text)) => text,
        // A header that is missing, doubled or unreadable signs nothing.
        Ok(None) | Err(_) => "",
    };
    let delivery = Delivery {
        identifier: header(IDENTIFIER),
        signature: header(SIGNATURE),
        body: &call.request.body,
    };
    let origin = call.trust.origin(call.request);
    leaks::admit(call.app, &origin, &delivery)?;
    let Value::Array(items) = fields::value(delivery.body)? else {
        return Err(Error::Malformed(refusals::requests::body_not_array()));
    };
    let text = |item: &Value, member: &str| {
        let text = item.get(member).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    // What is too long to be a secret, or is no text, is none; it must not stop the others.
    let reports: Vec<Report> = items
        .iter()
        .map(|item| Report {
            secret: Some(text(item, "token"))
                .filter(|token| token.len() <= SECRET_BYTES_MAX)
                .unwrap_or_default(),
            url: text(item, "url"),
            source: format!("github {}", text(item, "source")),
        })
        .collect();
    let known = leaks::delivered(call.app, &origin, &reports)?;
    let labels: Vec<LabelBody> = items
        .iter()
        .zip(known)
        .map(|(item, is_known)| LabelBody {
            token_hash: hex(&Scheme::Sha256
                .digest(&text(item, "token"))
                .unwrap_or_default()),
            token_type: text(item, "type"),
            label: if is_known {
                "true_positive"
            } else {
                "false_positive"
            },
        })
        .collect();
    Ok(Reply::json(200, &labels))
}
