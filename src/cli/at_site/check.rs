//! What `latchkey doctor` finds at a site: whether it gives verdicts, and for how long.

use crate::cli::client::{Server, Target};
use serde::Deserialize;

/// One finding in the words of `latchkey doctor`: `ok`, `warning` or `failed`, what was found, and advice.
pub type Found = (&'static str, String, &'static str);

#[derive(Deserialize)]
struct State {
    pack: u64,
    /// Of the pack, or of the last word over the link.
    age: String,
    until: Option<String>,
    fork: String,
    link: Option<Link>,
}

#[derive(Deserialize)]
struct Link {
    server: String,
    up: bool,
    left_s: f64,
    fault: Option<String>,
}

/// Looks at the site of a data folder; `None` if it is not one, or if it does not answer.
pub fn look(server: &Server) -> Option<Found> {
    let answer = server.get(&Target::of(&["site"])).ok()?;
    let state: State = answer.json().ok()?;
    Some(found(&state))
}

fn found(state: &State) -> Found {
    const PACK: &str = "bring a newer pack: latchkey pack apply FILE";
    const LINK: &str = "correct that, or look at the connection and at the server; see: latchkey site status";
    if state.fork == "seen" {
        return (
            "failed",
            "the server was restored from a backup, and what it signs does not follow what this site knows".to_owned(),
            "look at the server; if its state is the right one: latchkey site reset",
        );
    }
    let Some(link) = &state.link else {
        let (pack, until) = (state.pack, state.until.as_deref().unwrap_or_default());
        return match state.age.as_str() {
            "fresh" => ("ok", format!("pack {pack} counts until {until}"), ""),
            "aging" => ("warning", format!("pack {pack} counts until {until}"), PACK),
            "over" => ("failed", format!("pack {pack} counted until {until}"), PACK),
            _ => ("failed", "there is no pack that counts".to_owned(), PACK),
        };
    };
    let server = &link.server;
    let why = link.fault.as_deref().unwrap_or("it has not answered yet");
    let left_s = link.left_s;
    match state.age.as_str() {
        "fresh" | "aging" if link.up => ("ok", format!("it follows {server}"), ""),
        "fresh" | "aging" => (
            "warning",
            format!("it gives verdicts for {left_s:.0} s more: {why}"),
            LINK,
        ),
        _ => ("failed", format!("it gives no verdict: {why}"), LINK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(state: serde_json::Value, finding: &str, words: &str) {
        let (found, text, _) = found(&serde_json::from_value(state).unwrap());
        assert_eq!(found, finding, "{text}");
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn a_site_is_as_good_as_its_pack_or_its_link() {
        let site = |age: &str, link: serde_json::Value| serde_json::json!({ "pack": 7, "age": age, "until": "2026-12-05T22:00:00Z", "fork": "no", "link": link });
        let none = serde_json::Value::Null;
        check(
            site("fresh", none.clone()),
            "ok",
            "pack 7 counts until 2026",
        );
        check(site("aging", none.clone()), "warning", "pack 7");
        check(site("over", none.clone()), "failed", "counted until");
        check(site("none", none), "failed", "no pack");
        let link = |up: bool| serde_json::json!({ "server": "https://keys.example:443", "up": up, "left_s": 4.2, "fault": "cut" });
        check(site("fresh", link(true)), "ok", "https://keys.example");
        check(site("aging", link(false)), "warning", "4 s more: cut");
        check(site("over", link(false)), "failed", "no verdict: cut");
        let mut restored = site("fresh", link(true));
        restored["fork"] = "seen".into();
        check(restored, "failed", "restored");
    }
}
