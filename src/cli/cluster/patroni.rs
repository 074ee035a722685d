//! What a Patroni answers about itself over its REST API (Patroni's documentation, "Patroni REST API").

use crate::cli::doctor::Check;
use crate::cli::probe::address::Url;
use crate::cli::probe::exchange::{Connection, Peer, get};
use crate::http1::tls::client::Authorities;
use serde_json::Value;
use std::net::ToSocketAddrs;

/// Below this, a primary whose network is cut for a time loses changes that its successor has acknowledged: it takes the
/// leadership back without a comparison (Patroni, pull requests 2689 and 2693).
const SAFE_SINCE: [u64; 3] = [3, 0, 3];
/// What Patroni does where its settings do not say, in seconds: how long a primary stays one without renewing that, and how often it
/// does (Patroni's documentation, "Dynamic configuration settings").
const TTL_S: i64 = 30;
const LOOP_WAIT_S: i64 = 10;
/// What the documentation recommends, and what the tests run with.
const RECOMMENDED: [u64; 3] = [4, 1, 0];

/// The checks of one Patroni. Nodes refuse verdicts after so long without the database; `None` for never.
pub fn checks(url: &str, refuse_after_ms: Option<i64>) -> Vec<Check> {
    let state = match ask(url, "/patroni") {
        Ok(state) => state,
        Err(why) => {
            let advice = "check the address and whether a Patroni answers there";
            return vec![Check::failed("Patroni", &format!("{url}: {why}"), advice)];
        }
    };
    let mut found = vec![version(url, &state)];
    match ask(url, "/config") {
        Ok(config) => {
            found.push(strictness(url, &config));
            found.push(failover(url, &config, refuse_after_ms));
        }
        Err(why) => found.push(Check::failed(
            "Patroni's mode",
            &format!("{url}: {why}"),
            "see the log of Patroni",
        )),
    }
    found
}

/// Whether nodes give verdicts for long enough without the database: for a failover, and for one that goes wrong at first.
fn failover(url: &str, config: &Value, refuse_after_ms: Option<i64>) -> Check {
    let name = "failover";
    let seconds = |setting: &str, default: i64| config[setting].as_i64().unwrap_or(default);
    let (ttl_s, wait_s) = (seconds("ttl", TTL_S), seconds("loop_wait", LOOP_WAIT_S));
    let longest_s = ttl_s.saturating_add(wait_s);
    let takes =
        format!("{url}: a failover takes up to {longest_s} s (ttl {ttl_s}, loop_wait {wait_s})");
    let Some(refuse_after_s) = refuse_after_ms.map(|ms| ms / 1_000) else {
        return Check::ok(name, &format!("{takes}; nodes never refuse verdicts"));
    };
    let text =
        format!("{takes}; nodes refuse verdicts after {refuse_after_s} s without the database");
    let enough_s = longest_s.saturating_mul(2);
    let advice = format!(
        "set database_refuse_after to {enough_s}s or longer on every node, or shorten ttl and loop_wait: patronictl edit-config -s ttl=20 \
         -s loop_wait=5"
    );
    match refuse_after_s {
        after if after < longest_s => Check::failed(name, &text, &advice),
        after if after < enough_s => Check::warning(name, &text, &advice),
        _ => Check::ok(name, &text),
    }
}

fn version(url: &str, state: &Value) -> Check {
    let name = "Patroni";
    let text = state["patroni"]["version"].as_str().unwrap_or_default();
    let Some(version) = parsed(text) else {
        let text = format!("{url} does not say which version it is");
        return Check::failed(name, &text, "is this the address of a Patroni?");
    };
    let text = format!("{url} is version {text}");
    let recommended = "install 4.1 or later on every machine of the database";
    if version < SAFE_SINCE {
        let text = format!(
            "{text}; below 3.0.3, a primary that was cut off and comes back loses changes that were acknowledged meanwhile"
        );
        return Check::failed(name, &text, recommended);
    }
    match version < RECOMMENDED {
        true => Check::warning(
            name,
            &format!("{text}; 4.1 is what Latchkey is tested with"),
            recommended,
        ),
        false => Check::ok(name, &text),
    }
}

fn strictness(url: &str, config: &Value) -> Check {
    let name = "Patroni's mode";
    let is_on = |setting: &str| match &config[setting] {
        Value::Bool(on) => *on,
        Value::String(text) => ["on", "quorum", "true"].contains(&text.as_str()),
        _ => false,
    };
    let off: Vec<&str> = ["synchronous_mode", "synchronous_mode_strict"]
        .into_iter()
        .filter(|setting| !is_on(setting))
        .collect();
    match off.is_empty() {
        true => Check::ok(name, &format!("{url}: synchronous and strict")),
        false => {
            let text = format!(
                "{url}: switched off: {}; a change can then be acknowledged that only the primary has",
                off.join(", ")
            );
            let set: Vec<String> = off
                .iter()
                .map(|setting| format!("-s {setting}=true"))
                .collect();
            Check::failed(
                name,
                &text,
                &format!("patronictl edit-config {}", set.join(" ")),
            )
        }
    }
}

/// Three numbers of a version such as `4.1.5`.
fn parsed(text: &str) -> Option<[u64; 3]> {
    let mut numbers = text.split('.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    let first = numbers.next().flatten()?;
    let mut next = || numbers.next().flatten().unwrap_or(0);
    Some([first, next(), next()])
}

/// The JSON of an answer; an answer of any status counts, because a standby has one of its own.
fn ask(url: &str, path: &str) -> Result<Value, String> {
    let url = Url::parse(url).ok_or("this is no URL; write http://HOST:8008")?;
    let address = (url.name.as_str(), url.port).to_socket_addrs();
    let address = address.ok().and_then(|mut found| found.next());
    let tls = match url.is_tls {
        true => Some(Authorities::read(None).map_err(|err| err.to_string())?),
        false => None,
    };
    let peer = Peer {
        address: address.ok_or("the name has no address")?,
        host: url.host.clone(),
        name: url.name.clone(),
        tls,
    };
    let mut connection = Connection::open(&peer).map_err(|err| err.to_string())?;
    let answer = connection.exchange(&get(path), "latchkey");
    let answer = answer.map_err(|_| "there is no answer that can be read")?;
    serde_json::from_str(&answer.text()).map_err(|_| "the answer is no JSON".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_version_that_loses_acknowledged_changes_is_refused() {
        for (text, finding) in [
            ("3.0.2", "failed"),
            ("2.1.4", "failed"),
            ("3.0.3", "warning"),
            ("4.0.7", "warning"),
            ("4.1.0", "ok"),
            ("4.1.5", "ok"),
            ("5.0", "ok"),
            ("4.1rc1", "ok"),
            ("", "failed"),
            ("new", "failed"),
        ] {
            let state = json!({ "patroni": { "version": text } });
            assert_eq!(
                version("http://db1:8008", &state).finding,
                finding,
                "{text}"
            );
        }
        assert_eq!(version("http://db1:8008", &json!([])).finding, "failed");
    }

    #[test]
    fn nodes_must_outlast_two_failovers() {
        for (config, refuse_after_ms, finding) in [
            (json!({ "ttl": 20, "loop_wait": 5 }), Some(60_000), "ok"),
            (json!({ "ttl": 20, "loop_wait": 5 }), Some(50_000), "ok"),
            (
                json!({ "ttl": 20, "loop_wait": 5 }),
                Some(49_000),
                "warning",
            ),
            (json!({ "ttl": 20, "loop_wait": 5 }), Some(24_000), "failed"),
            (json!({ "ttl": 300, "loop_wait": 10 }), None, "ok"),
            // Patroni's own values.
            (json!({}), Some(60_000), "warning"),
            (json!({}), Some(80_000), "ok"),
        ] {
            let found = failover("http://db1:8008", &config, refuse_after_ms);
            assert_eq!(found.finding, finding, "{config} {refuse_after_ms:?}");
        }
    }

    #[test]
    fn both_settings_of_the_mode_must_be_on() {
        for (config, finding) in [
            (
                json!({ "synchronous_mode": true, "synchronous_mode_strict": true }),
                "ok",
            ),
            (
                json!({ "synchronous_mode": "quorum", "synchronous_mode_strict": true }),
                "ok",
            ),
            (
                json!({ "synchronous_mode": "on", "synchronous_mode_strict": "on" }),
                "ok",
            ),
            (json!({ "synchronous_mode": true }), "failed"),
            (
                json!({ "synchronous_mode": "off", "synchronous_mode_strict": true }),
                "failed",
            ),
            (json!({}), "failed"),
        ] {
            assert_eq!(
                strictness("http://db1:8008", &config).finding,
                finding,
                "{config}"
            );
        }
    }
}
