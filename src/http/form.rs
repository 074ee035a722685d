//! Forms as browsers send them: `application/x-www-form-urlencoded`, in the order of the page.

use super::query::decode;
use crate::error::{Error, Result};
use crate::http::request::Request;

/// The media type of a form.
pub const FORM_TYPE: &str = "application/x-www-form-urlencoded";
/// Fields of a form, boxes that are ticked included.
const FIELDS_MAX: usize = 2_000;
/// What ends the name of a field that may be there more than once.
const MANY: &str = "[]";

/// The fields of a form.
#[derive(Clone, Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body of a request.
    pub fn of(request: &Request) -> Result<Form> {
        let content_type = request.header("content-type").ok().flatten().unwrap_or("");
        let kind = content_type.split(';').next().unwrap_or("").trim();
        if !kind.eq_ignore_ascii_case(FORM_TYPE) {
            return Err(Error::UnsupportedMediaType(FORM_TYPE));
        }
        let text = std::str::from_utf8(&request.body)
            .map_err(|_| Error::Malformed("the form is not UTF-8".to_owned()))?;
        Form::parse(text)
    }

    /// Reads `a=1&b%5B%5D=2&b%5B%5D=3`. A name that is there twice must end in `[]`.
    pub fn parse(text: &str) -> Result<Form> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode(name, true).zip(decode(value, true));
            let (name, value) = decoded.ok_or_else(|| {
                Error::Malformed("the form is not UTF-8 in percent-encoding".to_owned())
            })?;
            if !name.ends_with(MANY) && fields.iter().any(|(known, _)| *known == name) {
                return Err(Error::Malformed(
                    "a field of the form is there twice".to_owned(),
                ));
            }
            if fields.len() == FIELDS_MAX {
                return Err(Error::Malformed("the form has too many fields".to_owned()));
            }
            fields.push((name, value));
        }
        Ok(Form(fields))
    }

    /// The value of a field; empty if it is not there.
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

    /// Whether a field is there: a box is ticked, a button was pressed.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Sets a field that is not there yet.
    pub fn put(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
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
