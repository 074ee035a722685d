//! Query strings and form bodies: names and values, each name at most once.

use crate::error::{Error, Result};
use crate::refusals;

/// The maximum number of pairs in a query.
const PAIRS_MAX: usize = 100;
/// How many characters of the name of a parameter are shown in an error message.
pub const NAME_CHARS_SHOWN: usize = 40;

/// Decoded pairs. Reading a parameter removes it; the parameters that remain at the end are unknown.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses `a=1&b=2`, percent-encoded, with `+` for a blank. A repeated name is refused (attacks 126).
    pub fn parse(text: &str) -> Result<Query> {
        Query::of(pairs(text)?)?.without_null()
    }

    /// Accepts pairs that are decoded already.
    pub fn of(pairs: Vec<(String, String)>) -> Result<Query> {
        for (position, (name, _)) in pairs.iter().enumerate() {
            if pairs[..position].iter().any(|(known, _)| known == name) {
                return Err(Error::Malformed(refusals::requests::parameter_twice(
                    shown(name),
                )));
            }
        }
        Ok(Query(pairs))
    }

    /// Refuses a value with the character U+0000: no name contains it, and not every database accepts it in
    /// a comparison.
    fn without_null(self) -> Result<Query> {
        match self.0.iter().find(|(_, value)| value.contains('\0')) {
            None => Ok(self),
            Some((name, _)) => Err(Error::Malformed(refusals::requests::parameter_null(shown(
                name,
            )))),
        }
    }

    /// Reads the parameters with these names, in any case, each at most once, and returns them under the name in the
    /// list. All other parameters are ignored, even malformed ones: for systems whose clients send parameters that this
    /// server does not know.
    pub fn only(text: &str, names: &[&str]) -> Result<Query> {
        let is_known = |pair: &&str| {
            let name = pair.split('=').next().unwrap_or("");
            let name = decode(name, true).unwrap_or_default();
            names.iter().any(|it| it.eq_ignore_ascii_case(&name))
        };
        let kept: Vec<&str> = text.split('&').filter(is_known).collect();
        Query::of_names(pairs(&kept.join("&"))?, names)?.without_null()
    }

    /// As [`Query::only`], for pairs that are already decoded.
    pub fn of_names(pairs: Vec<(String, String)>, names: &[&str]) -> Result<Query> {
        let named = |(name, value): (String, String)| {
            let known = names.iter().find(|it| it.eq_ignore_ascii_case(&name))?;
            Some(((*known).to_owned(), value))
        };
        Query::of(pairs.into_iter().filter_map(named).collect())
    }

    /// As [`Query::only`], for a query that is already read.
    pub fn with_names(self, names: &[&str]) -> Result<Query> {
        Query::of_names(self.0, names)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Removes a parameter and returns it.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let position = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(position).1)
    }

    /// Removes the parameters whose names begin with a prefix, and returns them without it, in order.
    pub fn take_beginning_with(&mut self, prefix: &str) -> Vec<(String, String)> {
        let mut taken = Vec::new();
        self.0
            .retain(|(name, value)| match name.strip_prefix(prefix) {
                None => true,
                Some(rest) => {
                    taken.push((rest.to_owned(), value.clone()));
                    false
                }
            });
        taken.sort();
        taken
    }

    /// Removes a parameter and returns it as a whole number.
    pub fn take_number(&mut self, name: &str) -> Result<Option<u64>> {
        self.take(name)
            .map(|text| {
                let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                let number = text.parse().ok().filter(|_| plain);
                number
                    .ok_or_else(|| Error::Malformed(refusals::requests::parameter_not_number(name)))
            })
            .transpose()
    }

    /// Refuses the parameters that were not read.
    pub fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::Malformed(refusals::requests::parameter_unknown(
                shown(name),
            ))),
        }
    }
}

/// The decoded pairs of `a=1&b=2` in their order, at most 100, for parameters that may be repeated.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = decode(name, true).zip(decode(value, true));
        let decoded = decoded
            .ok_or_else(|| Error::Malformed(refusals::requests::parameter_not_percent_encoded()))?;
        if pairs.len() == PAIRS_MAX {
            return Err(Error::Malformed(refusals::requests::parameters_too_many()));
        }
        pairs.push(decoded);
    }
    Ok(pairs)
}

/// Decodes percent-escapes; `None` if they are invalid or the result is not UTF-8.
pub fn decode(text: &str, plus_is_blank: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                (high << 4 | low) as u8
            }
            b'+' if plus_is_blank => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Encodes a value so that [`decode`] restores it, in a path or in a query: all characters but the unreserved ones are
/// escaped (RFC 3986, section 2.3).
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A name from the client, shortened and made visible, for use in an error message.
fn shown(name: &str) -> String {
    refusals::quoted(name, NAME_CHARS_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_once_and_taken_out() {
        let mut query = Query::parse("a=1%2B1&b=x+y&c&d=%C3%A9&&n=007").unwrap();
        assert_eq!(query.take("a").as_deref(), Some("1+1"));
        assert_eq!(query.take("b").as_deref(), Some("x y"));
        assert_eq!(query.take("c").as_deref(), Some(""));
        assert_eq!(query.take("d").as_deref(), Some("é"));
        assert_eq!(query.take_number("n").unwrap(), Some(7));
        assert_eq!(query.take("a"), None);
        assert!(query.finish().is_ok());
        let mut query = Query::parse("m.b=2&x=1&m.a.c=%20&m=0").unwrap();
        let taken = query.take_beginning_with("m.");
        assert_eq!(
            taken,
            [("a.c".into(), " ".into()), ("b".into(), "2".into())]
        );
        assert_eq!(query.take("m").as_deref(), Some("0"));
        assert!(query.finish().is_err());
    }

    #[test]
    fn what_is_encoded_is_decoded_to_the_same() {
        let text = "a b/c?d=e&f+g%h é~";
        assert_eq!(decode(&encode(text), true).as_deref(), Some(text));
        assert_eq!(encode("a/b"), "a%2Fb");
    }

    #[test]
    fn known_names_count_in_any_case_and_once_and_no_others_count() {
        let read = |text: &str| Query::only(text, &["readOnly", "limit"]);
        let mut query = read("READ%4fnly=true&x=1&x=2&y=%zz&&limit=5").unwrap();
        assert_eq!(query.take("readOnly").as_deref(), Some("true"));
        assert_eq!(query.take("limit").as_deref(), Some("5"));
        assert_eq!(query.take("x"), None);
        assert!(read("readOnly=true&readonly=false").is_err());
        assert!(read("limit=1&limit=1").is_err());
        assert!(read("limit=%zz").is_err());
    }

    #[test]
    fn unknown_parameters_are_ignored_and_known_ones_are_checked() {
        let names = ["id", "page"];
        let mut query = Query::only("x=1&x=2&%69d=7&y=%zz&&page", &names).unwrap();
        assert_eq!(query.take("id").as_deref(), Some("7"));
        assert_eq!(query.take("page").as_deref(), Some(""));
        assert!(query.finish().is_ok());
        for bad in ["id=1&id=2", "id=1&%69d=2", "id=%zz", "id=%00"] {
            assert!(Query::only(bad, &names).is_err(), "{bad}");
        }
    }

    // attacks 126
    #[test]
    fn repeated_unknown_and_malformed_parameters_are_refused() {
        for bad in ["a=1&a=2", "a=1&%61=2", "a=%", "a=%zz", "a=%ff", "a=b%00c"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
        let unknown = |text: &str| Query::parse(text).unwrap().finish().unwrap_err();
        assert_eq!(unknown("%00=1").to_string(), "there is no parameter \\u{0}");
        assert_eq!(
            unknown("a%1B%0Ab=1").to_string(),
            "there is no parameter a\\u{1b}\\u{a}b"
        );
        for bad in ["n=", "n=-1", "n=+1", "n=1.0", "n=99999999999999999999"] {
            assert!(
                Query::parse(bad).unwrap().take_number("n").is_err(),
                "{bad}"
            );
        }
    }
}
