//! The rules of RFC 9116 for the file `security.txt`, in which the operator of a server names the contact for reports of
//! vulnerabilities. The text itself is the operator's; it is served as it is.

use crate::domain::text;
use crate::domain::time::Timestamp;

/// The greatest size of the file. RFC 9116, section 5.5, warns clients of large files.
const BYTES_MAX: usize = 16 * 1024;

/// The first line of a file with a cleartext signature (RFC 9580, section 7); such a signature is optional.
const SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// A file that follows the rules.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecurityTxt {
    pub text: String,
    /// After this time no client should rely on the content.
    pub expires_at: Timestamp,
}

impl SecurityTxt {
    /// Checks the bytes of a file. The error is what is wrong with it, to be written after the name of the file.
    pub fn parse(bytes: &[u8]) -> Result<SecurityTxt, String> {
        if bytes.len() > BYTES_MAX {
            return Err(format!("has more than {BYTES_MAX} bytes"));
        }
        let text = text::of_file(bytes).map_err(|why| why.to_string())?;
        let (mut contacts, mut expiries, mut languages) = (0, Vec::new(), 0);
        for (number, line) in fields(text) {
            let (name, value) = line
                .split_once(':')
                .filter(|(name, _)| is_name(name))
                .ok_or_else(|| {
                    format!("has no field of the form `Name: value` in line {number}")
                })?;
            let value = value.trim();
            if value.is_empty() {
                return Err(format!("has no value for {name} in line {number}"));
            }
            // Names do not depend on case (section 2.1).
            match name.to_ascii_lowercase().as_str() {
                "contact" if !is_contact(value) => {
                    return Err(format!(
                        "has a Contact in line {number} that is no URI; write mailto:ADDRESS, tel:NUMBER or https://…"
                    ));
                }
                "contact" => contacts += 1,
                "expires" => expiries.push((number, value)),
                "preferred-languages" => languages += 1,
                _ => (),
            }
        }
        if contacts == 0 {
            return Err("has no Contact, which RFC 9116 demands".to_owned());
        }
        if languages > 1 {
            return Err("has Preferred-Languages more than once".to_owned());
        }
        let [(number, expires)] = expiries.as_slice() else {
            return Err("must have Expires once, which RFC 9116 demands".to_owned());
        };
        let expires_at = Timestamp::parse("expires", expires).map_err(|_| {
            format!("has no time in Expires in line {number}; write it as 2027-12-31T23:00:00Z")
        })?;
        Ok(SecurityTxt {
            text: text.to_owned(),
            expires_at,
        })
    }
}

/// The lines with fields, and their numbers: without empty lines, comments and the parts of a signature.
fn fields(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_signed = text
        .lines()
        .next()
        .is_some_and(|line| line.trim_end() == SIGNED);
    // The headers of the signature end with an empty line.
    let headers = text
        .lines()
        .take_while(|line| is_signed && !line.trim().is_empty());
    let skipped = headers.count();
    let lines = (1..).zip(text.lines()).skip(skipped);
    let lines = lines.take_while(move |(_, line)| !(is_signed && line.trim_end() == SIGNATURE));
    lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
}

/// `Canonical`, but no name with a blank.
fn is_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_graphic() && b != b':';
    !name.is_empty() && name.bytes().all(legal)
}

/// A URI. An address on the web must be one of HTTPS (section 2.5.3).
fn is_contact(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once(':') else {
        return false;
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(legal);
    is_scheme
        && !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_graphic())
        && !scheme.eq_ignore_ascii_case("http")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Our contact\r\nContact: mailto:security@example.com\r\nExpires: 2027-12-31T23:00:00Z\r\n";

    #[test]
    fn what_the_rfc_permits_is_taken_as_it_is() {
        let signed = format!(
            "{SIGNED}\nHash: SHA256\n\n{GOOD}{SIGNATURE}\n\niHUEARYKAB0WIQSsP2kEdoKDVFpSg6u3rK+YCkjapwUCY9qRaQAKCRC3rK+YCkja\n=7q4o\n-----END PGP SIGNATURE-----\n"
        );
        for text in [
            GOOD,
            &format!("\u{feff}{GOOD}"),
            "contact: tel:+1-201-555-0123\nEXPIRES: 2027-12-31T23:00:00+01:00\nX-Else: a b",
            "Contact: https://example.com/report\nContact: mailto:a@b.example\nExpires: 2027-12-31T23:00:00Z\nPreferred-Languages: en, de\nPolicy: https://example.com/policy\n",
            &signed,
        ] {
            let taken = SecurityTxt::parse(text.as_bytes()).expect(text);
            assert_eq!(taken.text, text.trim_start_matches('\u{feff}'));
        }
        let taken = SecurityTxt::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(taken.expires_at.to_string(), "2027-12-31T23:00:00Z");
    }

    #[test]
    fn a_file_that_breaks_the_rules_is_refused_with_the_line() {
        let expires = "Expires: 2027-12-31T23:00:00Z\n";
        for (text, why) in [
            (String::new(), "no Contact"),
            (expires.to_owned(), "no Contact"),
            ("Contact: mailto:a@b.example\n".to_owned(), "Expires once"),
            (format!("{GOOD}{expires}"), "Expires once"),
            (
                format!("Contact: security@example.com\n{expires}"),
                "no URI",
            ),
            (format!("Contact: http://example.com/\n{expires}"), "no URI"),
            (format!("Contact: mailto:a b\n{expires}"), "no URI"),
            (
                format!("Contact:\n{expires}"),
                "no value for Contact in line 1",
            ),
            (
                "Contact: mailto:a@b.example\nExpires: tomorrow\n".to_owned(),
                "no time in Expires in line 2",
            ),
            (format!("{GOOD}Report to us, please\n"), "line 4"),
            (format!("{GOOD}Report to us: please\n"), "line 4"),
            (
                format!("{GOOD}Preferred-Languages: en\nPreferred-Languages: de\n"),
                "more than once",
            ),
            (format!("{GOOD}#{}", "a".repeat(BYTES_MAX)), "bytes"),
        ] {
            let refused = SecurityTxt::parse(text.as_bytes()).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        assert!(SecurityTxt::parse(b"Contact: \xff").is_err());
        let mut largest = GOOD.to_owned();
        largest.push_str(&format!("#{}", "a".repeat(BYTES_MAX - GOOD.len() - 1)));
        assert!(SecurityTxt::parse(largest.as_bytes()).is_ok());
    }
}
