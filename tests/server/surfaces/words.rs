//! Recognises which dialect has rendered an answer.

use crate::support::Response;
use serde_json::Value;

/// Checks that an answer is an error in the format of this dialect: the members of its body, and no others.
#[track_caller]
pub fn check(dialect: &str, answer: &Response) {
    assert!(
        (400..600).contains(&answer.status),
        "no refusal\n{}",
        answer.exchange()
    );
    let media_type = answer.header("content-type").unwrap_or_default();
    let wanted = match dialect {
        "native" => "application/problem+json",
        _ => "application/json",
    };
    assert!(
        media_type.split(';').next() == Some(wanted),
        "not in the words of {dialect}\n{}",
        answer.exchange()
    );
    let body = answer.json();
    let fits = match dialect {
        "adverity" => is_text(&body["detail"]),
        "aware" => is_text(&body["error"]) && is_text(&body["message"]),
        "awaretrain" => {
            is_text(&body["message"])
                && body
                    .as_object()
                    .unwrap()
                    .keys()
                    .all(|key| matches!(key.as_str(), "message" | "errors"))
        }
        "native" => is_text(&body["code"]) && body["status"] == answer.status,
        "vspc" => {
            let first = &body["errors"][0];
            is_text(&first["message"]) && is_text(&first["type"]) && first["code"].is_number()
        }
        other => panic!("what are the words of {other}?"),
    };
    assert!(fits, "not in the words of {dialect}\n{}", answer.exchange());
    for trace in ["panicked", "src/", "rusqlite", "tokio"] {
        assert!(!answer.text().contains(trace), "{}", answer.exchange());
    }
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}
