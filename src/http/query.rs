//! Query strings and form bodies: names and values, each name at most once.

use crate::error::{Error, Result};

/// Pairs of a form that may be there.
const PAIRS_MAX: usize = 100;

/// Decoded pairs; what is taken out is gone, and what is left is unknown.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`, percent-encoded, `+` for a blank. A repeated name is refused (attacks 126).
    pub fn parse(text: &str) -> Result<Query> {
        Query::of(pairs(text)?)
    }

    /// Takes pairs that were decoded elsewhere.
    pub fn of(pairs: Vec<(String, String)>) -> Result<Query> {
        for (position, (name, _)) in pairs.iter().enumerate() {
            if pairs[..position].iter().any(|(known, _)| known == name) {
                return Err(Error::Malformed(format!(
                    "the parameter {} is there twice",
                    shown(name)
                )));
            }
        }
        Ok(Query(pairs))
    }

    /// Takes a parameter out.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let position = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(position).1)
    }

    /// Takes out the parameters whose names begin like this; their names without it, in order.
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

    /// Takes a whole number out.
    pub fn take_number(&mut self, name: &str) -> Result<Option<u64>> {
        self.take(name)
            .map(|text| {
                let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                let number = text.parse().ok().filter(|_| plain);
                number.ok_or_else(|| {
                    Error::Malformed(format!("the parameter {name} must be a whole number"))
                })
            })
            .transpose()
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::Malformed(format!(
                "there is no parameter {}",
                shown(name)
            ))),
        }
    }
}

/// The decoded pairs of `a=1&b=2` as they come, at most 100, for where a name may be repeated.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = decode(name, true).zip(decode(value, true));
        let decoded = decoded.ok_or_else(|| {
            Error::Malformed("a parameter is not UTF-8 in percent-encoding".to_owned())
        })?;
        if pairs.len() == PAIRS_MAX {
            return Err(Error::Malformed("there are too many parameters".to_owned()));
        }
        pairs.push(decoded);
    }
    Ok(pairs)
}

/// Decodes percent-escapes; `None` if they are bad or the result is no UTF-8.
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

/// Writes a value so that [`decode`] reads it back, in a path as in a query: all but unreserved characters escaped
/// (RFC 3986, section 2.3).
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

/// A name from the client, short enough and harmless in a sentence.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(40).collect()
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

    // attacks 126
    #[test]
    fn repeated_unknown_and_malformed_parameters_are_refused() {
        for bad in ["a=1&a=2", "a=1&%61=2", "a=%", "a=%zz", "a=%ff"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
        assert!(Query::parse("x=1").unwrap().finish().is_err());
        for bad in ["n=", "n=-1", "n=+1", "n=1.0", "n=99999999999999999999"] {
            assert!(
                Query::parse(bad).unwrap().take_number("n").is_err(),
                "{bad}"
            );
        }
    }
}
