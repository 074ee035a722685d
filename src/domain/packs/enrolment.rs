//! The enrolment of a site: what the server hands over once, under a passphrase. A line for each thing.

use super::note::PublicKey;
use super::site_key::SiteKey;
use super::{Checked, is_server_name, is_site_name};
use crate::domain::hex::{hex, unhex};
use crate::domain::keys::passphrase;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::refusals;

/// The first line.
const FIRST: &str = "latchkey.site/v1";
/// The line of a file of which a site was made.
const USED: &str = "used";
/// The number of keys and of peppers.
const LINES_MAX: usize = 1_000;

/// What a site begins with.
pub struct Enrolment {
    pub site: String,
    /// The name of the server.
    pub origin: String,
    pub server: Uid,
    pub reign: u64,
    /// The keys of the server that the site trusts.
    pub keys: Vec<PublicKey>,
    pub site_key: SiteKey,
    /// A site was made of the file: the next one is another life, to which nothing is lent until the server knows it.
    pub is_used: bool,
    /// The versions of the pepper, the oldest first.
    pub peppers: Vec<(u16, [u8; 32])>,
}

impl Enrolment {
    /// The text, which is secret.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!(
            "{FIRST} {}\nserver {} reign {}\nsite {}\nkey {}\n",
            self.origin,
            self.server,
            self.reign,
            self.site,
            hex(self.site_key.expose())
        );
        if self.is_used {
            text += &format!("{USED}\n");
        }
        for key in &self.keys {
            text += &format!("signer {}\n", key.to_text());
        }
        for (version, pepper) in &self.peppers {
            text += &format!("pepper {version} {}\n", hex(pepper));
        }
        text
    }

    /// Reads the text; every line has one spelling.
    pub(super) fn parse(text: &str) -> Option<Enrolment> {
        let mut lines = text.lines().peekable();
        let mut words = |kind: &str| lines.next()?.strip_prefix(kind)?.strip_prefix(' ');
        let origin = words(FIRST).filter(|name| is_server_name(name))?;
        let (server, reign) = words("server")?.split_once(" reign ")?;
        let site = words("site").filter(|name| is_site_name(name))?;
        let key = unhex(words("key")?)?;
        let is_used = lines.next_if(|line| *line == USED).is_some();
        let rest: Vec<&str> = lines.take(LINES_MAX + 1).collect();
        let (signers, peppers): (Vec<&str>, Vec<&str>) =
            rest.iter().partition(|line| line.starts_with("signer "));
        let signer = |line: &&str| PublicKey::parse(line.strip_prefix("signer ")?);
        let pepper = |line: &&str| {
            let (version, bytes) = line.strip_prefix("pepper ")?.split_once(' ')?;
            Some((version.parse().ok()?, unhex(bytes)?.try_into().ok()?))
        };
        let enrolment = Enrolment {
            site: site.to_owned(),
            origin: origin.to_owned(),
            server: Uid::parse(server)?,
            reign: reign.parse().ok()?,
            keys: signers.iter().map(signer).collect::<Option<_>>()?,
            site_key: SiteKey::of(key.try_into().ok()?),
            is_used,
            peppers: peppers.iter().map(pepper).collect::<Option<_>>()?,
        };
        let has_all = !enrolment.keys.is_empty() && !enrolment.peppers.is_empty();
        let is_ascending = enrolment.peppers.is_sorted_by(|one, next| one.0 < next.0);
        let fits = has_all && is_ascending && rest.len() <= LINES_MAX;
        (fits && enrolment.to_text() == text).then_some(enrolment)
    }

    /// The content of the file.
    pub fn lock(&self, passphrase: &str) -> Result<String> {
        passphrase::lock(passphrase, &self.to_text())
    }

    /// Reads the file.
    pub fn unlock(passphrase: &str, file: &str) -> Result<Checked<Enrolment>> {
        let text = passphrase::unlock(passphrase, file)?;
        let Some(text) = text else {
            return Ok(Err(refusals::packs::passphrase()));
        };
        Ok(Enrolment::parse(&text).ok_or_else(refusals::packs::no_enrolment))
    }
}

#[cfg(test)]
mod tests {
    use super::super::note::SigningKey;
    use super::*;

    #[test]
    fn an_enrolment_is_read_back_with_its_passphrase_only() {
        let (key, _) = SigningKey::generate("server.example/packs").unwrap();
        let enrolment = Enrolment {
            site: "plant-7".to_owned(),
            origin: "server.example".to_owned(),
            server: Uid(7),
            reign: 2,
            keys: vec![key.public().clone()],
            site_key: SiteKey::of([3; 32]),
            is_used: false,
            peppers: vec![(1, [1; 32]), (2, [2; 32])],
        };
        let file = enrolment.lock("a long passphrase").unwrap();
        assert!(!file.contains("plant"));
        let read = Enrolment::unlock("a long passphrase", &file);
        let read = read.unwrap().unwrap();
        assert_eq!(read.to_text(), enrolment.to_text());
        let other = Enrolment::unlock("another passphrase", &file).unwrap();
        assert!(other.is_err_and(|why| why.code() == "packs.passphrase"));
        let text = enrolment.to_text();
        let used = Enrolment {
            is_used: true,
            ..enrolment
        };
        let read = Enrolment::parse(&used.to_text()).unwrap();
        assert!(read.is_used && read.to_text() == used.to_text());
        for (from, to) in [
            ("plant-7", "../x"),
            ("signer ", "signed "),
            ("pepper 1 ", "pepper 65536 "),
            ("server.example\n", "Server\n"),
            ("key 03", "key 3"),
        ] {
            assert!(
                Enrolment::parse(&text.replacen(from, to, 1)).is_none(),
                "{to}"
            );
        }
    }
}
