//! What a site reports to its server: which pack it has applied, how often keys were used there, and which keys it proposes
//! to end. A text with a line for each thing, authenticated with the key of the site.
//!
//! All counts grow from the enrolment on. So only the newest report of a site counts: one that is lost does no harm, and one
//! that comes twice, or late, changes nothing.

use super::site_key::SiteKey;
use super::{Checked, is_server_name, is_site_name};
use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::refusals;
use std::fmt::Write as _;

/// The first word.
const KIND: &str = "latchkey.site-report/v1";
/// The start of the last line.
const TAG: &str = "tag ";
/// The number of bytes of a report: lines for a million keys.
pub const REPORT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The number of bytes of the code of a verdict.
const CODE_BYTES_MAX: usize = 40;

/// A report.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The name of the server.
    pub origin: String,
    pub server: Uid,
    pub site: String,
    /// Grows with every report of the site.
    pub number: u64,
    /// By the clock of the site.
    pub made: Timestamp,
    pub reign: u64,
    /// The newest pack that is in force at the site; 0 for none.
    pub pack: u64,
    /// The newest audit event of the server that the site knows of.
    pub events: u64,
    /// Keys that the operator of the site has ended there, in the order of ids.
    pub ended: Vec<(KeyId, Timestamp)>,
    /// Uses that were taken from those that the server has lent, in the order of ids.
    pub spent: Vec<(KeyId, u64)>,
    /// In the order of ids and codes.
    pub uses: Vec<ReportedUse>,
}

/// How often a key was used with one outcome, since the enrolment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReportedUse {
    pub key: KeyId,
    /// The code of a verdict; `TRIPPED` for a decoy, and `OLD_SECRET` for a secret that has ended.
    pub code: String,
    pub count: u64,
    pub last_at: Timestamp,
}

fn is_code(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_uppercase() || b == b'_';
    (1..=CODE_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

impl Report {
    /// The name of its file.
    pub fn file_name(&self) -> String {
        format!("{}-{:06}.lkreport", self.site, self.number)
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{KIND} {}\nserver {} reign {}\nsite {}\nreport {} made {}\npack {} events {}\n",
            self.origin,
            self.server,
            self.reign,
            self.site,
            self.number,
            self.made,
            self.pack,
            self.events
        );
        // Writing to a text cannot fail.
        for (key, at) in &self.ended {
            let _ = writeln!(text, "ended {key} {at}");
        }
        for (key, count) in &self.spent {
            let _ = writeln!(text, "spent {key} {count}");
        }
        for one in &self.uses {
            let _ = writeln!(
                text,
                "use {} {} {} {}",
                one.key, one.code, one.count, one.last_at
            );
        }
        text
    }

    /// The content of the file, with its tag.
    pub fn to_file(&self, key: &SiteKey) -> String {
        let text = self.text();
        let tag = key.authenticate(&text);
        format!("{text}{TAG}{tag}\n")
    }

    /// The name of the site that a report says it is from. Nothing is checked, so this only finds the key.
    pub fn site_of(file: &str) -> Option<&str> {
        let line = file.lines().nth(2)?.strip_prefix("site ")?;
        Some(line).filter(|site| is_site_name(site))
    }

    /// Reads a report that the key of its site has authenticated.
    pub fn open(file: &str, key: &SiteKey) -> Checked<Report> {
        let split = || {
            let end = file.strip_suffix('\n')?.rfind('\n')? + 1;
            let (text, tag) = file.split_at(end);
            Some((text, tag.strip_prefix(TAG)?.strip_suffix('\n')?))
        };
        let (text, tag) = split().ok_or_else(refusals::site::no_report)?;
        if !key.has_authenticated(text, tag) {
            return Err(refusals::site::report_tag());
        }
        let report = Report::parse(text).filter(|report| report.text() == text);
        report.ok_or_else(refusals::site::no_report)
    }

    fn parse(text: &str) -> Option<Report> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let mut words = |kind: &str| lines.next()?.strip_prefix(kind)?.strip_prefix(' ');
        let origin = words(KIND).filter(|name| is_server_name(name))?;
        let (server, reign) = words("server")?.split_once(" reign ")?;
        let site = words("site").filter(|name| is_site_name(name))?;
        let (number, made) = words("report")?.split_once(" made ")?;
        let (pack, events) = words("pack")?.split_once(" events ")?;
        let mut report = Report {
            origin: origin.to_owned(),
            server: Uid::parse(server)?,
            site: site.to_owned(),
            number: number.parse().ok()?,
            made: time(made)?,
            reign: reign.parse().ok()?,
            pack: pack.parse().ok()?,
            events: events.parse().ok()?,
            ended: Vec::new(),
            spent: Vec::new(),
            uses: Vec::new(),
        };
        for line in lines {
            let (kind, rest) = line.split_once(' ')?;
            let (key, rest) = rest.split_once(' ')?;
            let key = KeyId::parse(key)?;
            match kind {
                "ended" => report.ended.push((key, time(rest)?)),
                "spent" => report.spent.push((key, rest.parse().ok()?)),
                "use" => {
                    let (code, rest) = rest.split_once(' ').filter(|(code, _)| is_code(code))?;
                    let (count, last_at) = rest.split_once(' ')?;
                    report.uses.push(ReportedUse {
                        key,
                        code: code.to_owned(),
                        count: count.parse().ok()?,
                        last_at: time(last_at)?,
                    });
                }
                _ => return None,
            }
        }
        let uses = |one: &ReportedUse| (one.key, one.code.clone());
        let is_sorted = report.ended.is_sorted_by(|a, b| a.0 < b.0)
            && report.spent.is_sorted_by(|a, b| a.0 < b.0)
            && report.uses.is_sorted_by(|a, b| uses(a) < uses(b));
        is_sorted.then_some(report)
    }
}

fn time(text: &str) -> Option<Timestamp> {
    Timestamp::parse("", text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let used = |key, code: &str, count| ReportedUse {
            key: KeyId(key),
            code: code.to_owned(),
            count,
            last_at: Timestamp(1_764_367_200_123),
        };
        Report {
            origin: "server.example".to_owned(),
            server: Uid(7),
            site: "plant-7".to_owned(),
            number: 12,
            made: Timestamp(1_764_367_300_000),
            reign: 1,
            pack: 43,
            events: 18_211,
            ended: vec![(KeyId(3), Timestamp(1_764_367_200_000))],
            spent: vec![(KeyId(2), 5), (KeyId(9), 1)],
            uses: vec![
                used(2, "EXPIRED", 1),
                used(2, "VALID", 70),
                used(5, "TRIPPED", 2),
            ],
        }
    }

    #[test]
    fn a_report_is_read_back_with_the_key_of_its_site_only() {
        let (key, other) = (SiteKey::of([1; 32]), SiteKey::of([2; 32]));
        let file = report().to_file(&key);
        assert_eq!(Report::site_of(&file), Some("plant-7"));
        assert_eq!(Report::open(&file, &key).unwrap(), report());
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
        assert_eq!(report().file_name(), "plant-7-000012.lkreport");
    }

    /// Who has the key of a site can write any report, and no form of it makes the server read it in two ways.
    #[test]
    fn one_report_has_one_spelling() {
        let key = SiteKey::of([1; 32]);
        let text = report().text();
        for (from, to) in [
            ("report 12", "report 012"),
            ("spent 0000000002 5", "spent 0000000009 5"),
            ("use 0000000002 EXPIRED", "use 0000000002 VALID"),
            ("EXPIRED", "expired"),
            ("ended", "end"),
            ("plant-7", "Plant-7"),
        ] {
            assert!(text.contains(from), "{from}");
            let changed = text.replacen(from, to, 1);
            let file = format!("{changed}{TAG}{}\n", key.authenticate(&changed));
            assert!(Report::open(&file, &key).is_err(), "{to}");
        }
    }
}
