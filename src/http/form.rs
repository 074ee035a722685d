//! Form bodies: `application/x-www-form-urlencoded`, and `multipart/form-data` (RFC 7578) of texts. No files.

use crate::error::{Error, Result};
use crate::http::query::Query;
use crate::http::request::Request;

/// Names the content type that most clients send.
const URLENCODED: &str = "application/x-www-form-urlencoded";
/// RFC 2046, section 5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;
/// Parts that a form may have.
const PARTS_MAX: usize = 100;

/// Reads the form that a request carries, whichever of the two it is.
pub fn read(request: &Request) -> Result<Query> {
    let content_type = request
        .header("content-type")
        .map_err(|_| Error::Malformed("the header Content-Type cannot be read".to_owned()))?
        .unwrap_or("");
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let media_type = media_type.trim();
    let text = || {
        std::str::from_utf8(&request.body)
            .map_err(|_| Error::Malformed("the form is not UTF-8".to_owned()))
    };
    if media_type.eq_ignore_ascii_case(URLENCODED) {
        return Query::parse(text()?);
    }
    if media_type.eq_ignore_ascii_case("multipart/form-data") {
        let boundary = boundary(parameters).ok_or_else(|| {
            Error::Malformed("the header Content-Type names no usable boundary".to_owned())
        })?;
        return Query::of(parts(text()?, boundary)?);
    }
    Err(Error::UnsupportedMediaType(URLENCODED))
}

/// The boundary among the parameters of a content type.
fn boundary(parameters: &str) -> Option<&str> {
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim())
    })?;
    let bare = unquoted(value);
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    let fits = (1..=BOUNDARY_BYTES_MAX).contains(&bare.len());
    (fits && bare.bytes().all(legal) && !bare.ends_with(' ')).then_some(bare)
}

fn parts(text: &str, boundary: &str) -> Result<Vec<(String, String)>> {
    let faulty = |why: &str| Error::Malformed(format!("the multipart form {why}"));
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = text
        .strip_prefix(&opening)
        .ok_or_else(|| faulty("does not begin with its boundary"))?;
    let mut pairs = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix("--") {
            return match end {
                "" | "\r\n" => Ok(pairs),
                _ => Err(faulty("goes on after its end")),
            };
        }
        rest = rest
            .strip_prefix("\r\n")
            .ok_or_else(|| faulty("has a boundary with something behind it"))?;
        let (part, after) = rest
            .split_once(delimiter.as_str())
            .ok_or_else(|| faulty("has a part without an end"))?;
        let (head, value) = part
            .split_once("\r\n\r\n")
            .ok_or_else(|| faulty("has a part without a head"))?;
        let name = name(head).ok_or_else(|| faulty("has a part that is no named text"))?;
        if pairs.len() == PARTS_MAX {
            return Err(faulty("has too many parts"));
        }
        pairs.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
}

/// The name in a part's `Content-Disposition: form-data; name="…"`; none for a file.
fn name(head: &str) -> Option<&str> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition")
            .then(|| value.trim())
    })?;
    let mut parameters = disposition.split(';').map(str::trim);
    if !parameters.next()?.eq_ignore_ascii_case("form-data") {
        return None;
    }
    let mut name = None;
    for parameter in parameters {
        let (word, value) = parameter.split_once('=')?;
        match word.trim().to_ascii_lowercase().as_str() {
            "name" if name.is_none() => name = Some(unquoted(value.trim())),
            _ => return None,
        }
    }
    name
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_out_of_a_multipart_form() {
        let form = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1&2\r\n\
                    --b\r\ncontent-type: text/plain\r\ncontent-disposition: form-data; name=b\r\n\r\n\r\n--b--\r\n";
        let expected = [("a", "1&2"), ("b", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(parts(form, "b").unwrap(), expected);
        assert_eq!(parts("--b--", "b").unwrap(), []);
    }

    #[test]
    fn what_is_no_form_of_texts_is_refused() {
        let part = |head: &str| format!("--b\r\n{head}\r\n\r\nv\r\n--b--");
        for bad in [
            String::new(),
            "--c--".to_owned(),
            "--b".to_owned(),
            "--b\r\n".to_owned(),
            "--b--more".to_owned(),
            part("X: y"),
            part("Content-Disposition: attachment; name=\"a\""),
            part("Content-Disposition: form-data"),
            part("Content-Disposition: form-data; name=\"a\"; filename=\"x\""),
            part("Content-Disposition: form-data; name=\"a\"; name=\"b\""),
            "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv".to_owned(),
        ] {
            assert!(parts(&bad, "b").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_boundary_is_short_and_plain() {
        assert_eq!(boundary(" boundary=abc"), Some("abc"));
        assert_eq!(boundary("charset=x; Boundary=\"a b\""), Some("a b"));
        for bad in [
            "",
            "boundary=",
            "boundary=\"a ",
            "boundary=\u{e9}",
            &format!("boundary={}", "x".repeat(71)),
        ] {
            assert_eq!(boundary(bad), None, "{bad}");
        }
    }
}
