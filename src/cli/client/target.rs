//! Request targets, encoded so that no argument can become part of another one.

use crate::http::query::encode;

/// A path with its query.
#[derive(Clone, Debug)]
pub struct Target {
    text: String,
    has_query: bool,
}

impl Target {
    /// `/v1` followed by these segments.
    pub fn of(segments: &[&str]) -> Target {
        let mut text = String::from("/v1");
        for segment in segments {
            text.push('/');
            text.push_str(&encode(segment));
        }
        Target {
            text,
            has_query: false,
        }
    }

    /// A target that the server has sent.
    pub fn named(text: &str) -> Target {
        Target {
            text: text.to_owned(),
            has_query: text.contains('?'),
        }
    }

    /// Adds a parameter if it has a value.
    pub fn with(mut self, name: &str, value: Option<&str>) -> Target {
        if let Some(value) = value {
            self.text.push(if self.has_query { '&' } else { '?' });
            self.has_query = true;
            self.text
                .push_str(&format!("{}={}", encode(name), encode(value)));
        }
        self
    }

    /// Adds a number if there is one.
    pub fn with_number(self, name: &str, value: Option<u64>) -> Target {
        self.with(name, value.map(|number| number.to_string()).as_deref())
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// For messages.
    pub fn path(&self) -> &str {
        self.text.split('?').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_stays_one_segment_or_one_value() {
        let target = Target::of(&["users", "../keys?x=1"])
            .with("q", Some("a&b=c"))
            .with("none", None)
            .with_number("limit", Some(5));
        assert_eq!(
            target.as_str(),
            "/v1/users/..%2Fkeys%3Fx%3D1?q=a%26b%3Dc&limit=5"
        );
        assert_eq!(
            Target::named("/v1/a?b=1").with("c", Some("2")).as_str(),
            "/v1/a?b=1&c=2"
        );
    }
}
