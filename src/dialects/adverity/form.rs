//! Parses the request that creates a key with user name and password, in all formats that clients send.
//!
//! These are a form, JSON, multipart, and the body of the documented `curl` command, which has the content type of a
//! form but contains braces around `"name"="value"` and `"name":"value"` (1C-8).

use crate::error::{Error, Result};
use crate::http::fields::{self, Fields};
use crate::http::query::{self, Query};
use crate::http::request::{HeaderFault, Request};
use crate::refusals;

const FORM: &str = "application/x-www-form-urlencoded";
/// The fault of a missing member (1C-41).
pub const REQUIRED: &str = "This field is required.";
const BLANK: &str = "This field may not be blank.";
/// The fault of a name that resembles `expires_in`: if the server ignored it, the key would never expire.
const MISSPELT: &str =
    "A field of the request resembles this one; write expires_in, or leave it out.";
const INTEGER: &str = "A valid integer is required.";
const LEAST: &str = "Ensure this value is greater than or equal to 1.";
/// The maximum number of parts in a multipart body.
const PARTS_MAX: usize = 100;

/// The members of the request; other members are ignored. It is not `Debug`, so that the password cannot reach a log.
pub struct KeyRequest {
    pub username: String,
    pub password: String,
    /// At least 1; `None` for a key that does not expire (1C-7, 1C-39).
    pub expires_in_s: Option<u64>,
}

/// The three members as unchecked text, or what is wrong with their type.
type Members = [std::result::Result<Option<String>, &'static str>; 3];

/// All members at fault, each with the reason.
pub type Faults = Vec<(&'static str, &'static str)>;

const NAMES: [&str; 3] = ["username", "password", "expires_in"];

impl KeyRequest {
    /// Parses the members, or returns all that are at fault.
    pub fn read(request: &Request) -> Result<std::result::Result<KeyRequest, Faults>> {
        let mut beside = request.query().split('&').filter_map(|pair| {
            let name = pair.split('=').next().unwrap_or("");
            query::decode(name, true)
        });
        if beside.any(|name| {
            NAMES.iter().any(|it| it.eq_ignore_ascii_case(&name)) || resembles_life(&name)
        }) {
            return Err(malformed("the members belong into the body"));
        }
        let content_type = match request.header("content-type") {
            Ok(content_type) => content_type.unwrap_or(FORM),
            Err(HeaderFault::Repeated) => return Err(malformed("there are two content types")),
            Err(HeaderFault::NotText) => return Err(malformed("the content type is not text")),
        };
        let media_type = content_type.split(';').next().unwrap_or("").trim();
        let members = match media_type.to_ascii_lowercase().as_str() {
            FORM => form(&request.body)?,
            "application/json" => json(&request.body)?,
            "multipart/form-data" => multipart(content_type, &request.body)?,
            _ => return Err(Error::UnsupportedMediaType(FORM)),
        };
        let [username, password, expires_in] = members;
        let needed = |member: std::result::Result<Option<String>, &'static str>| match member? {
            None => Err(REQUIRED),
            Some(text) if text.is_empty() => Err(BLANK),
            Some(text) => Ok(text),
        };
        let life = expires_in.and_then(|text| text.map_or(Ok(None), |text| seconds(&text)));
        Ok(match (needed(username), needed(password), life) {
            (Ok(username), Ok(password), Ok(expires_in_s)) => Ok(KeyRequest {
                username,
                password,
                expires_in_s,
            }),
            (username, password, life) => {
                let faults = [username.err(), password.err(), life.err()];
                let named = NAMES.into_iter().zip(faults);
                Err(named.filter_map(|(name, why)| Some((name, why?))).collect())
            }
        })
    }
}

/// Whether an unknown name resembles `expires_in`, or is a usual word for the life of a key: ignoring it would make a key
/// without an end.
fn resembles_life(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let folded: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    let words = ["expir", "exipr", "lifetime", "validfor", "maxage"];
    name != NAMES[2] && (folded == "ttl" || words.iter().any(|word| folded.contains(word)))
}

/// The members, with a fault if one of the unknown names resembles `expires_in`.
fn with_others<'a>(mut members: Members, mut names: impl Iterator<Item = &'a str>) -> Members {
    if names.any(resembles_life) {
        members[2] = Err(MISSPELT);
    }
    members
}

/// Parses a number of seconds from 1 to 2^64; an empty text means that the key does not expire.
fn seconds(text: &str) -> std::result::Result<Option<u64>, &'static str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if text.is_empty() {
        return Ok(None);
    }
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(INTEGER);
    }
    match text.parse() {
        Ok(0) => Err(LEAST),
        Ok(seconds) => Ok(Some(seconds)),
        Err(_) if text.starts_with('-') => Err(LEAST),
        Err(_) => Err(INTEGER),
    }
}

/// Parses a form, or an object in braces instead of a form. Nothing between braces is percent-decoded.
fn form(body: &[u8]) -> Result<Members> {
    let text = utf8(body)?;
    if text.trim_start().starts_with('{') {
        return json(body).or_else(|err| match err {
            Error::Malformed(_) => json(with_colons(text).as_bytes()).map_err(|_| err),
            other => Err(other),
        });
    }
    let mut form = Query::only(text, &NAMES)?;
    let pairs = text
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or(""));
    let names: Vec<String> = pairs.filter_map(|name| query::decode(name, true)).collect();
    let members = NAMES.map(|name| Ok(form.take(name)));
    Ok(with_others(members, names.iter().map(String::as_str)))
}

fn json(body: &[u8]) -> Result<Members> {
    let mut fields = Fields::parse(body)?;
    let members = NAMES.map(|name| match name {
        "expires_in" => fields.text_or_number(name).map_err(|_| INTEGER),
        _ => fields.text(name).map_err(|_| "Not a valid string."),
    });
    let whole = fields::value(body)?;
    let names = whole
        .as_object()
        .into_iter()
        .flat_map(|members| members.keys());
    Ok(with_others(members, names.map(String::as_str)))
}

/// Replaces each `=` outside strings with `:`. JSON has no `=` there, so this does not change valid JSON.
fn with_colons(text: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let one = |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = in_string,
            '"' => in_string = !in_string,
            '=' if !in_string => return ':',
            _ => {}
        }
        c
    };
    text.chars().map(one).collect()
}

/// Parses the named parts of a multipart body (RFC 7578). Files are ignored.
fn multipart(content_type: &str, body: &[u8]) -> Result<Members> {
    let refused = || malformed("the multipart body cannot be read");
    let boundary = parameter(content_type, "boundary").ok_or_else(refused)?;
    let text = utf8(body)?;
    let delimiter = format!("\r\n--{boundary}");
    // The body may start with the first delimiter.
    let text = format!("\r\n{text}");
    let mut pieces = text.split(delimiter.as_str()).skip(1);
    let mut members: Members = [Ok(None), Ok(None), Ok(None)];
    let mut names: Vec<String> = Vec::new();
    for piece in pieces.by_ref().take(PARTS_MAX) {
        if piece.starts_with("--") {
            return Ok(with_others(members, names.iter().map(String::as_str)));
        }
        let piece = piece.trim_start_matches([' ', '\t']);
        let part = piece.strip_prefix("\r\n").ok_or_else(refused)?;
        let (head, value) = part.split_once("\r\n\r\n").ok_or_else(refused)?;
        let disposition = head.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-disposition")
                .then_some(value)
        });
        let name = parameter(disposition.ok_or_else(refused)?, "name").ok_or_else(refused)?;
        if let Some(position) = NAMES.iter().position(|known| *known == name) {
            if members[position] != Ok(None) {
                return Err(Error::Malformed(refusals::requests::parameter_twice(name)));
            }
            members[position] = Ok(Some(value.to_owned()));
        } else {
            names.push(name);
        }
    }
    // The closing delimiter is missing, or there are too many parts before it.
    Err(refused())
}

/// A parameter in the value of a header: `; name=value` or `; name="value"`.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let found = value.split(';').skip(1).find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case(wanted)
            .then_some(value.trim())
    })?;
    let bare = found
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let bare = bare.unwrap_or(found);
    (!bare.is_empty() && !bare.contains('"')).then(|| bare.to_owned())
}

fn utf8(body: &[u8]) -> Result<&str> {
    std::str::from_utf8(body).map_err(|_| malformed("the body is not UTF-8"))
}

fn malformed(why: &str) -> Error {
    Error::Malformed(refusals::verbatim(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(read: Result<Members>, expected: Option<(&str, &str, Option<&str>)>) {
        let read = read
            .ok()
            .map(|all| all.map(std::result::Result::unwrap))
            .map(|[name, password, life]| (name.unwrap(), password.unwrap(), life));
        let read = read
            .as_ref()
            .map(|(n, p, l)| (n.as_str(), p.as_str(), l.as_deref()));
        assert_eq!(read, expected);
    }

    // 1C-8
    #[test]
    fn what_the_documented_line_sends_is_read() {
        let seed = "{\n\t\"username\"=\"a@example.com\",\n\t\"password\"=\"x=y%41+\",\n\t\"expires_in\":\"3600\"\n}";
        check(
            form(seed.as_bytes()),
            Some(("a@example.com", "x=y%41+", Some("3600"))),
        );
        let json = r#" {"username":"a","password":"q\"=","expires_in":60} "#;
        check(form(json.as_bytes()), Some(("a", "q\"=", Some("60"))));
        let null = r#"{"username"="a","password"="b","expires_in"=null,"other"=[1]}"#;
        check(form(null.as_bytes()), Some(("a", "b", None)));
        let plain = "username=a%40b&password=p+w%2B&expires_in=";
        check(form(plain.as_bytes()), Some(("a@b", "p w+", Some(""))));
        for bad in [
            "{\"username\"=\"a\"",
            "{\"username\"==\"a\",\"password\"=\"b\"}",
            "{username=a}",
            "{\"username\"=\"a\",\"username\"=\"b\"}",
            "username=a&username=b",
            "username=%ff",
        ] {
            check(form(bad.as_bytes()), None);
        }
    }

    #[test]
    fn a_multipart_body_is_read_whole_or_not_at_all() {
        let kind = "multipart/form-data; boundary=\"x y\"";
        let part = |name: &str, value: &str| {
            format!("--x y\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let two = format!("{}{}", part("username", "a"), part("password", "p\r\nq"));
        let whole = format!("{two}--x y--\r\n");
        check(
            multipart(kind, whole.as_bytes()),
            Some(("a", "p\r\nq", None)),
        );
        for bad in [
            two.clone(),
            format!("{two}{}--x y--", part("username", "b")),
            "--x y--".replace("x y", "z"),
            "--x y\r\n\r\n\r\n--x y--".to_owned(),
        ] {
            assert!(multipart(kind, bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(multipart("multipart/form-data", whole.as_bytes()).is_err());
    }

    // 1C-39
    #[test]
    fn a_life_is_whole_seconds() {
        for (text, expected) in [
            ("", Some(None)),
            ("1", Some(Some(1))),
            ("007", Some(Some(7))),
            ("18446744073709551615", Some(Some(u64::MAX))),
            ("18446744073709551616", None),
            ("0", None),
            ("-1", None),
            ("-99999999999999999999", None),
            ("1.5", None),
            ("1h", None),
            ("-", None),
            ("+1", None),
            (" 1", None),
        ] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
    }

    // Attack: if the server ignored a misspelt `expires_in`, the key would never expire.
    #[test]
    fn a_name_that_resembles_the_life_of_a_key_is_not_ignored() {
        for name in [
            "Expires_In",
            "expiresIn",
            "expires-in",
            "EXPIRES",
            "expiry",
            "expire_at",
            "exipres_in",
            "token_expires_in",
            "ttl",
            "max_age",
        ] {
            let plain = format!("username=a&password=b&{name}=60");
            let braces = format!("{{\"username\":\"a\",\"password\":\"b\",\"{name}\":60}}");
            let part = format!(
                "--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n60\r\n--x--"
            );
            for members in [
                form(plain.as_bytes()),
                json(braces.as_bytes()),
                multipart("multipart/form-data; boundary=x", part.as_bytes()),
            ] {
                assert_eq!(members.unwrap()[2], Err(MISSPELT), "{name}");
            }
        }
        for name in ["remember", "x", "inspire", "throttle", "%zz", "client%5Fid"] {
            let plain = format!("username=a&password=b&{name}=60&{name}=61");
            check(form(plain.as_bytes()), Some(("a", "b", None)));
        }
    }
}
