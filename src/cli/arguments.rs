//! Types of arguments: time spans, rates, roles, and the members of a request.

use crate::domain::keys::quota::{RateLimit, USES_MAX};
use crate::domain::time::{Timestamp, span_s};
use crate::http::numbers;
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// A time span such as `30s`, `15m`, `12h` or `14d`, in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span(pub u64);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let refused = "a span is a whole number with s, m, h or d, such as 14d";
        span_s(text).map(Span).ok_or_else(|| refused.to_owned())
    }
}

/// A span after which something is done again: at least a second.
pub fn period(text: &str) -> Result<Span, String> {
    let refused = "a period is a whole number with s, m, h or d, at least 1s, such as 5s";
    let span = span_s(text).filter(|span| *span > 0);
    span.map(Span).ok_or_else(|| refused.to_owned())
}

/// The number of uses that a key has left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Uses(pub u64);

impl FromStr for Uses {
    type Err = String;

    fn from_str(text: &str) -> Result<Uses, String> {
        let is_plain = text.bytes().all(|b| b.is_ascii_digit());
        let uses = text
            .parse()
            .ok()
            .filter(|uses| *uses <= USES_MAX && is_plain);
        uses.map(Uses).ok_or_else(|| {
            format!("the number of uses that are left is a whole number from 0 to {USES_MAX}")
        })
    }
}

/// The end of something. A date alone means the end of that day in UTC; the server parses all other values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Until(pub String);

impl FromStr for Until {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Until, Self::Err> {
        let end = Timestamp::end_of_date(text).map(|end| end.to_string());
        Ok(Until(end.unwrap_or_else(|| text.to_owned())))
    }
}

/// A rate limit such as `60/1m`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate(RateLimit);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let refused =
            "a rate is a number of requests and a span, such as 60/1m, 1000/1h or 60/1m/exact";
        RateLimit::parse(text)
            .map(Rate)
            .ok_or_else(|| refused.to_owned())
    }
}

impl Rate {
    pub fn body(self) -> Value {
        let RateLimit {
            limit,
            window_s,
            exact,
        } = self.0;
        match exact {
            true => json!({"limit": limit, "window_s": window_s, "exact": true}),
            false => json!({"limit": limit, "window_s": window_s}),
        }
    }
}

/// A role in a workspace, such as `key_manager@emea`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoleAt {
    pub role: String,
    pub workspace: String,
}

impl FromStr for RoleAt {
    type Err = String;

    fn from_str(text: &str) -> Result<RoleAt, String> {
        match text.split_once('@') {
            Some((role, workspace)) if !role.is_empty() && !workspace.is_empty() => Ok(RoleAt {
                role: role.to_owned(),
                workspace: workspace.to_owned(),
            }),
            _ => Err("a role is given with its workspace, such as key_manager@emea".to_owned()),
        }
    }
}

impl RoleAt {
    pub fn body(roles: &[RoleAt]) -> Value {
        roles
            .iter()
            .map(|it| json!({"role": it.role, "workspace": it.workspace}))
            .collect()
    }
}

/// An argument that sets a value or, with `none`, removes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OrNone<T> {
    None,
    Some(T),
}

impl<T: FromStr<Err: ToString>> FromStr for OrNone<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<OrNone<T>, String> {
        if text == "none" {
            return Ok(OrNone::None);
        }
        let value = text.parse();
        value
            .map(OrNone::Some)
            .map_err(|err: T::Err| format!("{} (or the word none)", err.to_string()))
    }
}

impl<T> OrNone<T> {
    pub fn body(&self, value: impl FnOnce(&T) -> Value) -> Value {
        match self {
            OrNone::None => Value::Null,
            OrNone::Some(it) => value(it),
        }
    }
}

/// A JSON object, as text.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonObject(pub Value);

impl FromStr for JsonObject {
    type Err = String;

    fn from_str(text: &str) -> Result<JsonObject, String> {
        let members: Map<String, Value> =
            serde_json::from_str(text).map_err(|err| format!("this is no JSON object: {err}"))?;
        numbers::check_whole(text.as_bytes(), "").map_err(|err| err.to_string())?;
        Ok(JsonObject(Value::Object(members)))
    }
}

/// The body of a request, with the members that have a value.
#[derive(Debug, Default)]
pub struct Body(Map<String, Value>);

impl Body {
    /// Sets a member if there is a value.
    pub fn with(mut self, member: &str, value: Option<impl Into<Value>>) -> Body {
        if let Some(value) = value {
            self.0.insert(member.to_owned(), value.into());
        }
        self
    }

    /// Sets a member to true if the flag is set.
    pub fn flag(self, member: &str, given: bool) -> Body {
        self.with(member, given.then_some(true))
    }

    /// Sets a list if it has entries.
    pub fn list(self, member: &str, values: &[String]) -> Body {
        self.with(member, (!values.is_empty()).then(|| values.to_vec()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn value(self) -> Value {
        Value::Object(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        for (text, seconds) in [
            ("30s", 30),
            ("15m", 900),
            ("12h", 43_200),
            ("14d", 1_209_600),
            ("0d", 0),
        ] {
            assert_eq!(text.parse(), Ok(Span(seconds)), "{text}");
        }
        for bad in [
            "",
            "d",
            "14",
            "14 d",
            "-1d",
            "+1d",
            "1.5h",
            "1w",
            "1é",
            "99999999999999999999d",
            "999999999999999999d",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn uses_are_a_whole_number() {
        for (text, uses) in [("0", 0), ("250", 250), ("9007199254740992", USES_MAX)] {
            assert_eq!(text.parse(), Ok(Uses(uses)));
        }
        for bad in ["", "-1", "+1", "1.5", "many", "9007199254740993"] {
            let why = bad.parse::<OrNone<Uses>>().unwrap_err();
            assert!(why.contains("from 0 to"), "{bad}: {why}");
            assert!(why.ends_with("(or the word none)"), "{bad}: {why}");
        }
        assert_eq!("none".parse(), Ok(OrNone::<Uses>::None));
    }

    #[test]
    fn rates_and_roles_have_two_parts() {
        let rate: Rate = "60/1m".parse().unwrap();
        assert_eq!((rate.0.limit, rate.0.window_s), (60, 60));
        for bad in ["60", "/1m", "60/", "x/1m"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
        assert!("auditor@root".parse::<RoleAt>().is_ok());
        for bad in ["auditor", "@root", "auditor@"] {
            assert!(bad.parse::<RoleAt>().is_err(), "{bad}");
        }
        assert_eq!("none".parse(), Ok(OrNone::<Span>::None));
        let until = |text: &str| text.parse::<Until>().unwrap().0;
        assert_eq!(until("2027-01-31"), "2027-02-01T00:00:00Z");
        assert_eq!(until("soon"), "soon");
        assert_eq!("1d".parse(), Ok(OrNone::Some(Span(86_400))));
    }
}
