//! What a site reports to its server: the pack that it has applied, uses and refusals in all, uses of counted keys that it has
//! spent, and keys that were ended there. All numbers are sums since the site began, so a report that is lost, doubled or
//! reordered does no harm: the newest one is the whole truth.

use super::note::is_key_name;
use super::site_key::SiteKey;
use super::{Checked, is_server_name, is_site_name};
use crate::domain::hex::{hex, unhex};
use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::refusals;

/// The first word.
const KIND: &str = "latchkey.report/v1";
/// The number of bytes of a report.
pub const REPORT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The number of codes of verdicts that a report may count.
const CODES_MAX: usize = 64;

/// The content of a report.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The name of the server.
    pub origin: String,
    pub site: String,
    pub server: Uid,
    /// Drawn when the state of the site began. Another life counts from zero.
    pub life: Uid,
    /// Grows with every report of a life.
    pub number: u64,
    pub at: Timestamp,
    /// The pack in force, 0 if there is none, and the reign and the event of its head.
    pub pack: u64,
    pub reign: u64,
    pub events: u64,
    /// Verdicts of all keys together and of unknown secrets, by code, in the order of codes.
    pub codes: Vec<(String, u64)>,
    /// In the order of ids, only keys that were used, refused or ended.
    pub keys: Vec<KeyReport>,
}

/// The part of a report about one key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyReport {
    pub id: KeyId,
    pub uses: u64,
    pub refusals: u64,
    /// Of the uses that the site was lent.
    pub spent: u64,
    pub last_used_at: Option<Timestamp>,
    /// When the key was ended at the site: a proposal to disable it at the server.
    pub ended_at: Option<Timestamp>,
    /// The start of the digest of the secret before the newest, if it has ended there with the first use of the newest.
    pub older_ended: Option<[u8; OLDER_BYTES]>,
}

/// See [`KeyReport::older_ended`].
pub const OLDER_BYTES: usize = 8;

impl Report {
    /// The text without the line that authenticates it.
    fn to_text(&self) -> String {
        let mut text = format!(
            "{KIND} {}\nsite {}\nserver {}\nlife {}\nreport {} at {}\npack {} reign {} events {}\n",
            self.origin,
            self.site,
            self.server,
            self.life,
            self.number,
            self.at,
            self.pack,
            self.reign,
            self.events
        );
        for (code, count) in &self.codes {
            text += &format!("code {code} {count}\n");
        }
        let time = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| at.to_string());
        for key in &self.keys {
            text += &format!(
                "key {} uses {} refusals {} spent {} last {} ended {}",
                key.id,
                key.uses,
                key.refusals,
                key.spent,
                time(key.last_used_at),
                time(key.ended_at)
            );
            if let Some(start) = &key.older_ended {
                text += &format!(" older {}", hex(start));
            }
            text.push('\n');
        }
        text
    }

    /// The content of the file.
    pub fn write(&self, key: &SiteKey) -> String {
        let text = self.to_text();
        let tag = key.authenticate(&text);
        format!("{text}\nhmac {tag}\n")
    }

    /// The name of the site in a file, to find its key. Nothing is checked.
    pub fn site_of(file: &str) -> Option<&str> {
        let line = file.lines().nth(1)?;
        line.strip_prefix("site ").filter(|name| is_site_name(name))
    }

    /// Reads a file that was made with the key of its site.
    pub fn open(file: &str, key: &SiteKey) -> Checked<Report> {
        let parts = file
            .strip_suffix('\n')
            .and_then(|file| file.rsplit_once("\n\nhmac "));
        let Some((text, tag)) = parts.filter(|_| file.len() <= REPORT_BYTES_MAX) else {
            return Err(refusals::packs::no_report());
        };
        // The line feed before the blank line belongs to the text.
        let text = &file[..=text.len()];
        if !key.has_authenticated(text, tag) {
            return Err(refusals::packs::strange_report());
        }
        let report = Report::read(text).filter(|report| report.to_text() == text);
        report.ok_or_else(refusals::packs::no_report)
    }

    fn read(text: &str) -> Option<Report> {
        let mut lines = text.strip_suffix('\n')?.split('\n').peekable();
        let mut words = |kind: &str| lines.next()?.strip_prefix(kind)?.strip_prefix(' ');
        let origin = words(KIND).filter(|name| is_server_name(name))?;
        let site = words("site").filter(|name| is_site_name(name))?;
        let server = words("server")?;
        let life = words("life")?;
        let (number, at) = words("report")?.split_once(" at ")?;
        let (pack, rest) = words("pack")?.split_once(" reign ")?;
        let (reign, events) = rest.split_once(" events ")?;
        let mut codes: Vec<(String, u64)> = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("code ")) {
            let (code, count) = line.strip_prefix("code ")?.split_once(' ')?;
            let follows = codes.last().is_none_or(|(last, _)| last.as_str() < code);
            if !follows || !is_key_name(code) || codes.len() == CODES_MAX {
                return None;
            }
            codes.push((code.to_owned(), count.parse().ok()?));
        }
        let mut keys: Vec<KeyReport> = Vec::new();
        for line in lines {
            let key = KeyReport::parse(line)?;
            if keys.last().is_some_and(|last| last.id >= key.id) {
                return None;
            }
            keys.push(key);
        }
        Some(Report {
            origin: origin.to_owned(),
            site: site.to_owned(),
            server: Uid::parse(server)?,
            life: Uid::parse(life)?,
            number: number.parse().ok()?,
            at: Timestamp::parse("", at).ok()?,
            pack: pack.parse().ok()?,
            reign: reign.parse().ok()?,
            events: events.parse().ok()?,
            codes,
            keys,
        })
    }
}

impl KeyReport {
    fn parse(line: &str) -> Option<KeyReport> {
        let mut words = line.split(' ');
        let mut value = |name: &str| {
            let known = words.next() == Some(name);
            words.next().filter(|_| known)
        };
        let number = |text: &str| text.parse().ok();
        let time = |text: &str| match text {
            "-" => Some(None),
            text => Timestamp::parse("", text).ok().map(Some),
        };
        Some(KeyReport {
            id: KeyId::parse(value("key")?)?,
            uses: number(value("uses")?)?,
            refusals: number(value("refusals")?)?,
            spent: number(value("spent")?)?,
            last_used_at: time(value("last")?)?,
            ended_at: time(value("ended")?)?,
            older_ended: match words.next() {
                None => None,
                Some("older") => Some(unhex(words.next()?)?.try_into().ok()?),
                Some(_) => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let key = |id, last, ended| KeyReport {
            id: KeyId(id),
            uses: 7,
            refusals: 1,
            spent: 3,
            last_used_at: last,
            ended_at: ended,
            older_ended: None,
        };
        Report {
            origin: "server.example".to_owned(),
            site: "plant-7".to_owned(),
            server: Uid(1),
            life: Uid(2),
            number: 3,
            at: Timestamp(1_764_367_200_123),
            pack: 43,
            reign: 1,
            events: 18_211,
            codes: vec![("NOT_FOUND".to_owned(), 5), ("VALID".to_owned(), 9)],
            keys: vec![
                key(1, Some(Timestamp(1_764_367_200_000)), None),
                key(2, None, Some(Timestamp(1_764_367_200_000))),
                KeyReport {
                    older_ended: Some([0xab; OLDER_BYTES]),
                    ..key(3, None, None)
                },
            ],
        }
    }

    #[test]
    fn a_report_is_read_back_with_the_key_of_its_site_only() {
        let (key, other) = (SiteKey::of([1; 32]), SiteKey::of([2; 32]));
        let file = sample().write(&key);
        assert_eq!(Report::site_of(&file), Some("plant-7"));
        assert_eq!(Report::open(&file, &key).unwrap(), sample());
        assert!(Report::open(&file, &other).is_err());
        for end in 0..file.len() {
            assert!(Report::open(&file[..end], &key).is_err(), "{end}");
        }
        for position in 0..file.len() {
            let mut bytes = file.clone().into_bytes();
            bytes[position] ^= 1;
            let changed = String::from_utf8_lossy(&bytes);
            assert!(Report::open(&changed, &key).is_err(), "{position}");
        }
    }

    #[test]
    fn even_the_site_writes_a_report_in_one_way() {
        let key = SiteKey::of([1; 32]);
        let text = sample().to_text();
        for (from, to) in [
            ("uses 7", "uses 07"),
            ("code VALID", "code MALFORMED"),
            ("key 0000000002", "key 0000000001"),
            ("report 3", "report -3"),
            ("last -", "last never"),
            ("pack 43", "pack 43 "),
            ("older abab", "older ABAB"),
            ("older abab", "older ab"),
            ("older abab", "newer abab"),
            ("ended -\n", "ended - \n"),
        ] {
            assert!(text.contains(from), "{from}");
            let text = text.replacen(from, to, 1);
            let file = format!("{text}\nhmac {}\n", key.authenticate(&text));
            assert!(Report::open(&file, &key).is_err(), "{to}");
        }
    }
}
