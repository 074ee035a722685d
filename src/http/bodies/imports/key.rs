//! One key of an import: a line of JSON lines, in the form of `POST /v1/keys/import` and of the export.

use super::{at_line, digests};
use crate::domain::catalogs::check_scope_name;
use crate::domain::keys::address::AddressList;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::{KeyId, NO_METADATA, SCOPES_MAX};
use crate::domain::policies::rules::check_rate_limit;
use crate::domain::text::{self, METADATA_BYTES_MAX};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::bodies::tree::quoted;
use crate::http::fields::Fields;
use crate::http::numbers;
use crate::refusals;
use std::fmt::Display;

/// A key that another system or another server has issued: the digest of its secret, and its members.
///
/// Its members have the right types, but only the server knows whether it accepts their values: whether the workspace
/// exists, for example, and what the policy demands.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct ImportedKey {
    /// The line of the file in which the key stands, for messages; 0 if there is none.
    pub line: usize,
    pub name: String,
    /// The text form of a digest, such as `sha256:<64 hexadecimal digits>`. Never a secret.
    pub digest: String,
    /// The start of the presented text by which a slow digest is found; it ends with `.`, `:` or `_`.
    pub found_by: Option<String>,
    /// The id that the key has on the server that it was exported from.
    pub id: Option<KeyId>,
    /// The start and the end of the secret, which may be shown.
    pub hint: Option<String>,
    pub description: Option<String>,
    pub contact: Option<String>,
    /// A slug.
    pub workspace: Option<String>,
    /// A user name.
    pub owner: Option<String>,
    pub policy: Option<String>,
    pub catalog: Option<String>,
    pub scopes: Vec<String>,
    pub read_only: bool,
    /// `None`: enabled.
    pub enabled: Option<bool>,
    pub not_before: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub allowed_ips: Option<Vec<String>>,
    pub rate_limit: Option<RateLimit>,
    pub uses_left: Option<u64>,
    /// A compact JSON object.
    pub metadata: Option<String>,
    pub created_at: Option<Timestamp>,
    /// The version of the pepper, for a digest `latchkey:<64 hexadecimal digits>` of an export.
    pub pepper: Option<u64>,
    /// The fingerprint of that pepper, 64 hexadecimal digits.
    pub pepper_fingerprint: Option<String>,
}

/// Neither the digest nor any text that a stranger chose.
impl std::fmt::Debug for ImportedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ImportedKey(line {})", self.line)
    }
}

impl ImportedKey {
    /// The line, without its line feed. Members with their default value are left out.
    pub fn to_line(&self) -> String {
        // Without `..`, so that a new member is not left out unnoticed.
        let ImportedKey {
            line,
            name,
            digest,
            found_by,
            id,
            hint,
            description,
            contact,
            workspace,
            owner,
            policy,
            catalog,
            scopes,
            read_only,
            enabled,
            not_before,
            expires_at,
            allowed_ips,
            rate_limit,
            uses_left,
            metadata,
            created_at,
            pepper,
            pepper_fingerprint,
        } = self;
        let mut text = Line("{".to_owned());
        text.number("line", (*line > 0).then_some(*line as u64));
        text.text("name", Some(name));
        text.text("digest", Some(digest));
        text.text("found_by", found_by.as_ref());
        text.text("id", id.as_ref());
        text.text("hint", hint.as_ref());
        text.text("description", description.as_ref());
        text.text("contact", contact.as_ref());
        text.text("workspace", workspace.as_ref());
        text.text("owner", owner.as_ref());
        text.text("policy", policy.as_ref());
        text.text("catalog", catalog.as_ref());
        text.texts("scopes", (!scopes.is_empty()).then_some(scopes));
        text.json("read_only", read_only.then_some("true"));
        text.json(
            "enabled",
            enabled.map(|on| if on { "true" } else { "false" }),
        );
        text.text("not_before", not_before.as_ref());
        text.text("expires_at", expires_at.as_ref());
        text.texts("allowed_ips", allowed_ips.as_ref());
        if let Some(RateLimit {
            limit,
            window_s,
            exact,
        }) = rate_limit
        {
            let exact = if *exact { ",\"exact\":true" } else { "" };
            let rate = format!("{{\"limit\":{limit},\"window_s\":{window_s}{exact}}}");
            text.json("rate_limit", Some(&rate));
        }
        text.number("uses_left", *uses_left);
        text.json(
            "metadata",
            metadata.as_deref().filter(|it| *it != NO_METADATA),
        );
        text.text("created_at", created_at.as_ref());
        text.number("pepper", *pepper);
        text.text("pepper_fingerprint", pepper_fingerprint.as_ref());
        text.0.push('}');
        text.0
    }

    /// Reads a line. `position` is its number among the lines, and names the key in messages unless the line has a
    /// member `line`.
    pub fn read(position: usize, text: &[u8]) -> Result<ImportedKey> {
        let mut line = position;
        let read = Fields::parse(text).and_then(|mut fields| {
            line = fields
                .number("line")?
                .map_or(position, |line| line as usize);
            numbers::check_member(text, "metadata")?;
            ImportedKey::of(line, fields, None)
        });
        read.map_err(|err| at_line(line, err.refusal()))
    }

    /// Takes the members out of an object, in which only known ones may be. `digest` is that of a secret that the
    /// object has in the place of a digest.
    pub(super) fn of(
        line: usize,
        mut fields: Fields,
        digest: Option<String>,
    ) -> Result<ImportedKey> {
        let digest = match (fields.text("digest")?, digest) {
            (Some(digest), None) | (None, Some(digest)) => digest,
            (None, None) => fields.required_text("digest")?,
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "digest",
                    refusals::imports::digest_and_secret(),
                ));
            }
        };
        let id = fields
            .text("id")?
            .map(|text| KeyId::parse(&text).ok_or(text));
        let key = ImportedKey {
            line,
            name: fields.required_text("name")?,
            digest,
            found_by: fields.text("found_by")?,
            id: id
                .transpose()
                .map_err(|_| Error::invalid(fields.name("id"), refusals::imports::key_id()))?,
            hint: fields.text("hint")?,
            description: fields.text("description")?,
            contact: fields.text("contact")?,
            workspace: fields.text("workspace")?,
            owner: fields.text("owner")?,
            policy: fields.text("policy")?,
            catalog: fields.text("catalog")?,
            scopes: fields
                .texts_or_null("scopes")?
                .flatten()
                .unwrap_or_default(),
            read_only: fields.flag_or_null("read_only")?.flatten().unwrap_or(false),
            enabled: fields.flag_or_null("enabled")?.flatten(),
            not_before: fields.time_or_null("not_before")?.flatten(),
            expires_at: fields.time_or_null("expires_at")?.flatten(),
            allowed_ips: fields.texts_or_null("allowed_ips")?.flatten(),
            rate_limit: rate_limit(&mut fields)?,
            uses_left: fields.number("uses_left")?,
            metadata: fields.free_object_or_null("metadata")?.flatten(),
            created_at: fields.time_or_null("created_at")?.flatten(),
            pepper: fields.number("pepper")?,
            pepper_fingerprint: fields.text("pepper_fingerprint")?,
        };
        fields.finish()?;
        Ok(key)
    }
}

impl ImportedKey {
    /// Checks the values of members by the rules that hold on every server, and gives the digest its only spelling.
    pub fn check(&mut self) -> Result<()> {
        let digest = digests::check(&self.digest, self.found_by.as_deref());
        self.digest = digest.map_err(|why| Error::invalid("digest", why))?;
        text::check_name("name", &self.name)?;
        let lines = [
            ("hint", &self.hint, text::NAME_CHARS_MAX),
            (
                "description",
                &self.description,
                text::DESCRIPTION_CHARS_MAX,
            ),
            ("contact", &self.contact, text::CONTACT_CHARS_MAX),
        ];
        for (field, line, chars_max) in lines {
            text::check_line(field, line.as_deref().unwrap_or_default(), chars_max)?;
        }
        let too_many = |most| refusals::values::entries_at_most(most);
        if self.scopes.len() > SCOPES_MAX {
            return Err(Error::invalid("scopes", too_many(SCOPES_MAX)));
        }
        for (place, scope) in self.scopes.iter().enumerate() {
            check_scope_name(&format!("scopes[{place}]"), scope)?;
        }
        if let Some(list) = &self.allowed_ips {
            AddressList::parse("allowed_ips", list.iter().map(String::as_str))?;
        }
        if let Some(rate) = self.rate_limit {
            check_rate_limit("rate_limit", rate)?;
        }
        let metadata = self.metadata.as_deref().unwrap_or_default();
        if metadata.len() > METADATA_BYTES_MAX {
            let why = refusals::keys::metadata_bytes(METADATA_BYTES_MAX);
            return Err(Error::invalid("metadata", why));
        }
        numbers::check_whole(metadata.as_bytes(), "metadata")?;
        match (self.not_before, self.expires_at) {
            (Some(start), Some(end)) if start >= end => Err(Error::invalid(
                "not_before",
                refusals::keys::before_expires_at(),
            )),
            _ => Ok(()),
        }
    }
}

fn rate_limit(fields: &mut Fields) -> Result<Option<RateLimit>> {
    let Some(mut rate) = fields.object("rate_limit")? else {
        return Ok(None);
    };
    let mut part = |member: &str| {
        let needed = Error::invalid(rate.name(member), refusals::values::needed());
        rate.number(member)?.ok_or(needed)
    };
    let (limit, window_s) = (part("limit")?, part("window_s")?);
    let exact = rate.flag_or_null("exact")?.flatten().unwrap_or(false);
    rate.finish()?;
    Ok(Some(RateLimit {
        limit,
        window_s,
        exact,
    }))
}

/// The text of an object whose members are appended one after another.
struct Line(String);

impl Line {
    fn json(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&format!("\"{name}\":{value}"));
    }

    fn text(&mut self, name: &str, value: Option<impl Display>) {
        let value = value.map(|value| quoted(&value.to_string()));
        self.json(name, value.as_deref());
    }

    fn texts(&mut self, name: &str, values: Option<&Vec<String>>) {
        let list = values.map(|values| {
            let items: Vec<String> = values.iter().map(|text| quoted(text)).collect();
            format!("[{}]", items.join(","))
        });
        self.json(name, list.as_deref());
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        let value = value.map(|number| number.to_string());
        self.json(name, value.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that has every member.
    fn full() -> ImportedKey {
        let text = |text: &str| Some(text.to_owned());
        ImportedKey {
            line: 14,
            name: "billing \"x\"".to_owned(),
            digest: format!("sha256:{}", "a".repeat(64)),
            found_by: text("x."),
            id: KeyId::parse("k3J9aQ0xZb"),
            hint: text("sk-…3f9a"),
            description: text("d"),
            contact: text("c"),
            workspace: text("emea"),
            owner: text("alice"),
            policy: text("standard"),
            catalog: text("billing"),
            scopes: vec!["a:read".to_owned(), "b".to_owned()],
            read_only: true,
            enabled: Some(false),
            not_before: Some(Timestamp(1_000)),
            expires_at: Some(Timestamp(2_000)),
            allowed_ips: Some(vec!["10.0.0.0/8".to_owned()]),
            rate_limit: Some(RateLimit {
                limit: 60,
                window_s: 30,
                exact: false,
            }),
            uses_left: Some(0),
            metadata: text(r#"{"plan":"gold"}"#),
            created_at: Some(Timestamp(3_500)),
            pepper: Some(2),
            pepper_fingerprint: text("ff"),
        }
    }

    #[test]
    fn a_line_is_read_back_as_it_was_written() {
        let least = ImportedKey {
            line: 7,
            name: "a".to_owned(),
            digest: "sha256:0".to_owned(),
            ..ImportedKey::default()
        };
        assert_eq!(
            least.to_line(),
            r#"{"line":7,"name":"a","digest":"sha256:0"}"#
        );
        for key in [least, full()] {
            let text = key.to_line();
            let read = ImportedKey::read(1, text.as_bytes()).unwrap();
            assert!(read == key, "{text}\n{}", read.to_line());
            assert!(!text.contains('\n'));
        }
        let read = ImportedKey::read(
            3,
            br#"{"name":"a","digest":"d","metadata":null,"scopes":null}"#,
        );
        assert_eq!(read.unwrap().line, 3);
        assert_eq!(format!("{:?}", full()), "ImportedKey(line 14)");
    }

    #[test]
    fn a_line_that_is_wrong_is_refused_with_its_number() {
        for (text, why) in [
            ("", "not JSON"),
            ("[]", "must be a JSON object"),
            (r#"{"digest":"d"}"#, "name: is needed"),
            (r#"{"name":"a"}"#, "digest: is needed"),
            (
                r#"{"name":"a","name":"b","digest":"d"}"#,
                "name: is there twice",
            ),
            (
                r#"{"name":"a","digest":"d","secret":"s"}"#,
                "secret: is no member",
            ),
            (r#"{"name":"a","digest":"d","id":"short"}"#, "id: must be"),
            (
                r#"{"name":"a","digest":"d","enabled":"yes"}"#,
                "enabled: must be true or false",
            ),
            (
                r#"{"name":"a","digest":"d","expires_at":"2027-01-01"}"#,
                "expires_at: must be an RFC 3339",
            ),
            (
                r#"{"name":"a","digest":"d","rate_limit":{"limit":1}}"#,
                "rate_limit.window_s: is needed",
            ),
            (
                r#"{"name":"a","digest":"d","rate_limit":{"limit":1,"window_s":1,"x":1}}"#,
                "rate_limit.x: is no member",
            ),
            (
                r#"{"name":"a","digest":"d","uses_left":-1}"#,
                "uses_left: must be a whole number",
            ),
            (
                r#"{"name":"a","digest":"d","metadata":"x"}"#,
                "metadata: must be an object",
            ),
            (
                r#"{"name":"a","digest":"d","metadata":{"n":12345678901234567890123}}"#,
                "metadata.n",
            ),
            (
                r#"{"name":"a","digest":"d","scopes":"a b"}"#,
                "scopes: must be a list",
            ),
        ] {
            let err = ImportedKey::read(5, text.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(err.starts_with("line 5: "), "{text}: {err}");
            assert!(err.contains(why), "{text}: {err}");
        }
        let err = ImportedKey::read(5, br#"{"line":90,"name":7}"#).unwrap_err();
        assert_eq!(err.to_string(), "line 90: digest: is needed");
    }
}
