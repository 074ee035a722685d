//! Form bodies: `application/x-www-form-urlencoded`, and `multipart/form-data` (RFC 7578) with text values. Uploaded
//! files are read as text, and only where a form accepts files.

use crate::error::{Error, Result};
use crate::http::query::{Query, decode, encode};
use crate::http::request::Request;
use crate::refusals;
use std::collections::HashSet;

/// The media type of the forms that most clients send.
pub const URLENCODED: &str = "application/x-www-form-urlencoded";
/// The media type of forms with several parts, such as file uploads.
const MULTIPART: &str = "multipart/form-data";
/// RFC 2046, section 5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;
/// The maximum number of parts of a form.
const PARTS_MAX: usize = 100;
/// The maximum number of fields of a form, ticked check boxes included.
const FIELDS_MAX: usize = 2_000;
/// The end of the name of every field that may occur more than once.
const MANY: &str = "[]";

/// Reads the form of a request, in either media type.
pub fn read(request: &Request) -> Result<Query> {
    let content_type = request
        .header("content-type")
        .map_err(|_| Error::Malformed(refusals::requests::content_type()))?
        .unwrap_or("");
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let media_type = media_type.trim();
    let text = || {
        std::str::from_utf8(&request.body)
            .map_err(|_| Error::Malformed(refusals::requests::form_not_utf8()))
    };
    if media_type.eq_ignore_ascii_case(URLENCODED) {
        return Query::parse(text()?);
    }
    if media_type.eq_ignore_ascii_case(MULTIPART) {
        let boundary = boundary(parameters)
            .ok_or_else(|| Error::Malformed(refusals::requests::content_type_boundary()))?;
        return Query::of(parts(text()?, boundary, Files::Refused)?);
    }
    Err(Error::UnsupportedMediaType(URLENCODED))
}

/// How files in a form are treated.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Files {
    Refused,
    /// Their text is the value of the field.
    Texts,
}

/// The `boundary` parameter of a content type.
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

fn parts(text: &str, boundary: &str, files: Files) -> Result<Vec<(String, String)>> {
    let faulty = |why| Error::Malformed(refusals::requests::multipart(why));
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = text
        .strip_prefix(&opening)
        .ok_or_else(|| faulty(refusals::requests::multipart_begin()))?;
    let mut pairs = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix("--") {
            return match end {
                "" | "\r\n" => Ok(pairs),
                _ => Err(faulty(refusals::requests::multipart_after_end())),
            };
        }
        rest = rest
            .strip_prefix("\r\n")
            .ok_or_else(|| faulty(refusals::requests::multipart_after_boundary()))?;
        let (part, after) = rest
            .split_once(delimiter.as_str())
            .ok_or_else(|| faulty(refusals::requests::multipart_end()))?;
        let (head, value) = part
            .split_once("\r\n\r\n")
            .ok_or_else(|| faulty(refusals::requests::multipart_head()))?;
        let name = name(head, files).ok_or_else(|| faulty(refusals::requests::multipart_text()))?;
        if pairs.len() == PARTS_MAX {
            return Err(faulty(refusals::requests::multipart_too_many()));
        }
        pairs.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
}

/// The name in a part's `Content-Disposition: form-data; name="…"`; none for a file in a form that accepts no files.
fn name(head: &str, files: Files) -> Option<&str> {
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
        // The client chooses the file name, which may contain semicolons.
        if name.is_some() && files == Files::Texts && is_file_name(parameter) {
            break;
        }
        let (word, value) = parameter.split_once('=')?;
        match word.trim().to_ascii_lowercase().as_str() {
            "name" if name.is_none() => name = Some(unquoted(value.trim())),
            _ => return None,
        }
    }
    name
}

fn is_file_name(parameter: &str) -> bool {
    let start = parameter.get(.."filename".len());
    start.is_some_and(|start| start.eq_ignore_ascii_case("filename"))
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
}

/// The fields of a page's form, in the order of the page.
#[derive(Clone, Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body of a request.
    pub fn of(request: &Request) -> Result<Form> {
        let content_type = request.header("content-type").ok().flatten().unwrap_or("");
        let kind = content_type.split(';').next().unwrap_or("").trim();
        if !kind.eq_ignore_ascii_case(URLENCODED) {
            return Err(Error::UnsupportedMediaType(URLENCODED));
        }
        let text = std::str::from_utf8(&request.body)
            .map_err(|_| Error::Malformed(refusals::requests::form_not_utf8()))?;
        Form::parse(text)
    }

    /// Like [`Form::of`], but also accepts a form with files, whose text becomes the value of the field.
    pub fn with_files(request: &Request) -> Result<Form> {
        let content_type = request.header("content-type").ok().flatten().unwrap_or("");
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if !kind.trim().eq_ignore_ascii_case(MULTIPART) {
            return Form::of(request);
        }
        let faulty = Error::Malformed;
        let text = std::str::from_utf8(&request.body)
            .map_err(|_| faulty(refusals::requests::form_not_utf8()))?;
        let boundary = boundary(parameters)
            .ok_or_else(|| faulty(refusals::requests::content_type_boundary()))?;
        Form::from_fields(parts(text, boundary, Files::Texts)?)
    }

    /// Parses `a=1&b%5B%5D=2&b%5B%5D=3`. A name that occurs twice must end in `[]`.
    pub fn parse(text: &str) -> Result<Form> {
        let mut fields = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode(name, true).zip(decode(value, true));
            fields.push(
                decoded.ok_or_else(|| {
                    Error::Malformed(refusals::requests::form_not_percent_encoded())
                })?,
            );
            if fields.len() > FIELDS_MAX {
                break;
            }
        }
        Form::from_fields(fields)
    }

    fn from_fields(fields: Vec<(String, String)>) -> Result<Form> {
        if fields.len() > FIELDS_MAX {
            return Err(Error::Malformed(refusals::requests::fields_too_many()));
        }
        let single = |(name, _): &&(String, String)| !name.ends_with(MANY);
        let mut seen = HashSet::new();
        if !fields
            .iter()
            .filter(single)
            .all(|(name, _)| seen.insert(name))
        {
            return Err(Error::Malformed(refusals::requests::field_twice()));
        }
        Ok(Form(fields))
    }

    /// The value of a field; empty if the field is absent.
    pub fn text(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// The value of a field, unless it is empty.
    pub fn some(&self, name: &str) -> Option<String> {
        Some(self.text(name))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    /// Every value of a field whose name ends in `[]`.
    pub fn all(&self, name: &str) -> Vec<String> {
        let fields = self.0.iter().filter(|(known, _)| known == name);
        fields.map(|(_, value)| value.clone()).collect()
    }

    /// Whether a field is present, that is, a check box is ticked or a button was pressed.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Adds a field that is not present yet.
    pub fn put(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// The form in the format that [`Form::parse`] reads.
    pub fn encoded(&self) -> String {
        let pairs = self
            .0
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// All fields in their order.
    pub fn fields(&self) -> &[(String, String)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_out_of_a_multipart_form() {
        let form = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1&2\r\n\
                    --b\r\ncontent-type: text/plain\r\ncontent-disposition: form-data; name=b\r\n\r\n\r\n--b--\r\n";
        let expected = [("a", "1&2"), ("b", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(parts(form, "b", Files::Refused).unwrap(), expected);
        assert_eq!(parts("--b--", "b", Files::Refused).unwrap(), []);
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
            assert!(parts(&bad, "b", Files::Refused).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn files_are_texts_where_they_are_asked_for() {
        let part = |head: &str| {
            format!(
                "--b\r\nContent-Disposition: form-data; {head}\r\nContent-Type: application/yaml\r\n\r\nv\r\n--b--"
            )
        };
        for head in [
            "name=\"a\"; filename=\"x\"",
            "name=\"a\"; filename=\"\"",
            "name=\"a\"; filename=\"a;b=c\"; filename*=UTF-8''x",
        ] {
            let expected = [("a".to_owned(), "v".to_owned())];
            assert_eq!(parts(&part(head), "b", Files::Texts).unwrap(), expected);
            assert!(parts(&part(head), "b", Files::Refused).is_err(), "{head}");
        }
        assert!(parts(&part("filename=\"x\""), "b", Files::Texts).is_err());
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

    #[test]
    fn only_lists_may_be_there_twice() {
        let form = Form::parse("a=1+2&s%5B%5D=x&s[]=%C3%A9&b").unwrap();
        assert_eq!((form.text("a"), form.text("none")), ("1 2", ""));
        assert_eq!(form.all("s[]"), ["x", "é"]);
        assert!(form.has("b") && !form.has("c"));
        assert_eq!(form.some("b"), None);
        assert!(Form::parse("a=1&a=2").is_err());
        assert!(Form::parse("a=%zz").is_err());
        let many = "s[]=1&".repeat(FIELDS_MAX);
        assert!(Form::parse(&many).is_ok());
        assert!(Form::parse(&(many + "s[]=1")).is_err());
    }
}
