//! The question that a linked site asks its server: what is in force here, and what has happened since? It is authenticated with
//! the key of the site, and has a nonce, which the answer ([`super::word`]) repeats.

use super::site::MAX_STALE_S_MAX;
use super::site_key::SiteKey;
use super::{Checked, is_server_name, is_site_name, note};
use crate::domain::hex::{hex, unhex};
use crate::domain::random;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::refusals;
use base64ct::{Base64, Encoding};

/// The first word.
const KIND: &str = "latchkey.question/v1";
/// The number of bytes of a question without its report.
pub const LINES_BYTES_MAX: usize = 2 * 1024;
/// The number of bytes of the report in a question. A longer report is divided: each part has only some of the keys, and a
/// number of its own.
pub const REPORT_BYTES_MAX: usize = 56 * 1024;
/// The number of bytes of a question with its report.
pub const QUESTION_BYTES_MAX: usize = LINES_BYTES_MAX + REPORT_BYTES_MAX;

/// What a question is recognised by: the answer to it has the same.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Nonce(pub [u8; 16]);

impl Nonce {
    /// A random one. It is used once.
    pub fn generate() -> Result<Nonce> {
        let mut bytes = [0; 16];
        random::fill(&mut bytes)?;
        Ok(Nonce(bytes))
    }

    /// 32 hexadecimal digits.
    pub fn to_text(self) -> String {
        hex(&self.0)
    }

    /// The inverse of [`Nonce::to_text`].
    pub fn parse(text: &str) -> Option<Nonce> {
        let nonce = Nonce(unhex(text)?.try_into().ok()?);
        (nonce.to_text() == text).then_some(nonce)
    }
}

/// A state of the server: the number and the hash of its newest audit event. Zeros stand for none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Events {
    pub number: u64,
    pub hash: [u8; 32],
}

impl Events {
    /// The two words of a line.
    pub(super) fn to_text(self) -> String {
        format!("{} {}", self.number, Base64::encode_string(&self.hash))
    }

    /// The inverse of [`Events::to_text`].
    pub(super) fn parse(text: &str) -> Option<Events> {
        let (number, hash) = text.split_once(' ')?;
        Some(Events {
            number: number.parse().ok()?,
            hash: note::decode(hash, 32)?.try_into().ok()?,
        })
    }
}

/// The content of a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// The name of the server.
    pub origin: String,
    pub site: String,
    pub server: Uid,
    /// Of the state of the site, as in reports.
    pub life: Uid,
    pub nonce: Nonce,
    /// The nonce of the last word whose body this process of the site has applied; zeros if there is none. So the server knows
    /// that what it sent has arrived, even if it had no event.
    pub applied: Nonce,
    /// The nonce of the last word whose body has arrived whole, whether or not it could be applied; zeros if there is none.
    pub arrived: Nonce,
    /// A random number of the process of the site that asks, which counts its questions: so the server knows which of two is newer.
    pub process: Nonce,
    pub number: u64,
    /// Of what is in force at the site. 0 if nothing is, as all numbers that follow.
    pub reign: u64,
    /// The newest pack that was applied.
    pub pack: u64,
    /// The whole pack that is held.
    pub base: u64,
    /// The newest event of the server that is in force at the site: of a pack, or of a step that followed it.
    pub events: Events,
    /// For how long the site asks to be allowed to answer without a further word. 0 in the last question of a process, which has given
    /// up its lease before it asked: no word of the server lets it answer any more.
    pub lease_s: u64,
}

impl Question {
    /// Whether the process of the site that asks has not applied any word yet.
    pub fn has_applied_none(&self) -> bool {
        self.applied == Nonce::default()
    }

    /// Whether the process of the site gives no verdict any more, and takes no further word.
    pub fn gives_up(&self) -> bool {
        self.lease_s == 0
    }

    /// The lines that the tag authenticates.
    fn to_text(&self, report: &str) -> String {
        format!(
            "{KIND} {}\nsite {}\nserver {}\nlife {}\nnonce {} applied {} arrived {}\nprocess {} question {}\nreign {} pack {} base {} events {}\nlease {}\nreport {}\n",
            self.origin,
            self.site,
            self.server,
            self.life,
            self.nonce.to_text(),
            self.applied.to_text(),
            self.arrived.to_text(),
            self.process.to_text(),
            self.number,
            self.reign,
            self.pack,
            self.base,
            self.events.to_text(),
            self.lease_s,
            report.len(),
        )
    }

    /// The body of the request. `report` is a report of the same site as [`super::report::Report::write`] makes it, or empty.
    pub fn write(&self, key: &SiteKey, report: &str) -> String {
        let text = self.to_text(report);
        let tag = key.authenticate_question(&text);
        format!("{text}\nhmac {tag}\n{report}")
    }

    /// The name of the site in the body of a request, to find its key. Nothing is checked.
    pub fn site_of(body: &str) -> Option<&str> {
        let line = body.lines().nth(1)?;
        line.strip_prefix("site ").filter(|name| is_site_name(name))
    }

    /// Reads the body of a request that was made with the key of its site, and returns its report, which has a tag of its own
    /// and is not read here. It is empty if there is none.
    pub fn open<'a>(body: &'a str, key: &SiteKey) -> Checked<(Question, &'a str)> {
        let no_question = refusals::packs::no_question;
        if body.len() > QUESTION_BYTES_MAX {
            return Err(no_question());
        }
        let parts = body.split_once("\n\nhmac ");
        let (lines, rest) = parts.ok_or_else(no_question)?;
        let (tag, report) = rest.split_once('\n').ok_or_else(no_question)?;
        // The line feed before the blank line belongs to the text.
        let text = &body[..=lines.len()];
        if text.len() > LINES_BYTES_MAX || !key.has_authenticated_question(text, tag) {
            return Err(refusals::packs::strange_question());
        }
        let question = Question::read(text).filter(|question| question.to_text(report) == text);
        Ok((question.ok_or_else(no_question)?, report))
    }

    fn read(text: &str) -> Option<Question> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let mut words = |kind: &str| lines.next()?.strip_prefix(kind)?.strip_prefix(' ');
        let origin = words(KIND).filter(|name| is_server_name(name))?;
        let site = words("site").filter(|name| is_site_name(name))?;
        let server = words("server")?;
        let life = words("life")?;
        let (nonce, rest) = words("nonce")?.split_once(" applied ")?;
        let (applied, arrived) = rest.split_once(" arrived ")?;
        let (process, number) = words("process")?.split_once(" question ")?;
        let (reign, rest) = words("reign")?.split_once(" pack ")?;
        let (pack, rest) = rest.split_once(" base ")?;
        let (base, events) = rest.split_once(" events ")?;
        let lease = words("lease")?;
        // Compared with what follows by writing the lines again.
        words("report")?;
        let question = Question {
            origin: origin.to_owned(),
            site: site.to_owned(),
            server: Uid::parse(server)?,
            life: Uid::parse(life)?,
            nonce: Nonce::parse(nonce)?,
            applied: Nonce::parse(applied)?,
            arrived: Nonce::parse(arrived)?,
            process: Nonce::parse(process)?,
            number: number.parse().ok()?,
            reign: reign.parse().ok()?,
            pack: pack.parse().ok()?,
            base: base.parse().ok()?,
            events: Events::parse(events)?,
            lease_s: lease.parse().ok().filter(|it| *it <= MAX_STALE_S_MAX)?,
        };
        (lines.next().is_none() && question.base <= question.pack).then_some(question)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A question of the site of the sample head.
    pub fn question() -> Question {
        Question {
            origin: "server.example".to_owned(),
            site: "plant-7".to_owned(),
            server: Uid(0x6a1f << 96),
            life: Uid(9),
            nonce: Nonce([0xab; 16]),
            applied: Nonce::default(),
            arrived: Nonce::default(),
            process: Nonce([0xcd; 16]),
            number: 12,
            reign: 1,
            pack: 43,
            base: 40,
            events: Events {
                number: 18_211,
                hash: [7; 32],
            },
            lease_s: 10,
        }
    }

    /// A day is the longest lease that there is.
    #[test]
    fn a_site_asks_for_a_day_at_most() {
        for (lease_s, is_read) in [(MAX_STALE_S_MAX, true), (MAX_STALE_S_MAX + 1, false)] {
            let question = Question {
                lease_s,
                ..question()
            };
            assert_eq!(Question::read(&question.to_text("")).is_some(), is_read);
        }
    }

    #[test]
    fn a_question_is_read_back_with_the_key_of_its_site_only() {
        let (key, other) = (SiteKey::of([1; 32]), SiteKey::of([2; 32]));
        let nothing = Question {
            reign: 0,
            pack: 0,
            base: 0,
            events: Events::default(),
            ..question()
        };
        for question in [question(), nothing] {
            for report in ["", "a report\n\nhmac x\n"] {
                let body = question.write(&key, report);
                assert_eq!(Question::site_of(&body), Some("plant-7"));
                let read = Question::open(&body, &key).unwrap();
                assert_eq!(read, (question.clone(), report));
                assert!(Question::open(&body, &other).is_err());
                for end in 0..body.len() {
                    assert!(Question::open(&body[..end], &key).is_err(), "{end}");
                }
                // The report has a tag of its own; all that is before it has this one.
                for position in 0..body.len() - report.len() {
                    let mut bytes = body.clone().into_bytes();
                    bytes[position] ^= 1;
                    let changed = String::from_utf8_lossy(&bytes);
                    assert!(Question::open(&changed, &key).is_err(), "{position}");
                }
                assert!(Question::open(&format!("{body}x"), &key).is_err());
            }
        }
        // The tag of a report does not authenticate a question.
        let text = question().to_text("");
        let body = format!("{text}\nhmac {}\n", key.authenticate(&text));
        assert!(Question::open(&body, &key).is_err());
    }

    #[test]
    fn even_the_site_writes_a_question_in_one_way() {
        let key = SiteKey::of([1; 32]);
        let text = question().to_text("");
        for (from, to) in [
            ("nonce ab", "nonce AB"),
            ("nonce ab", "nonce "),
            ("process cd", "process CD"),
            ("question 12", "question 012"),
            ("question 12", "question -1"),
            ("arrived 00", "arrived 0"),
            ("pack 43", "pack 043"),
            ("pack 43", "pack 39"),
            ("lease 10", "lease ten"),
            ("report 0", "report 1"),
            ("reign 1", "reign -1"),
            ("plant-7", "../x"),
            ("question/v1", "question/v2"),
            ("lease 10\n", "lease 10\nmore 1\n"),
            ("report 0\n", "report 0\nmore 1\n"),
        ] {
            assert!(text.contains(from), "{from}");
            let text = text.replacen(from, to, 1);
            let body = format!("{text}\nhmac {}\n", key.authenticate_question(&text));
            assert!(Question::open(&body, &key).is_err(), "{to}");
        }
    }

    #[test]
    fn a_nonce_has_one_spelling_and_is_never_the_same() {
        let nonce = Nonce::generate().unwrap();
        assert_eq!(Nonce::parse(&nonce.to_text()), Some(nonce));
        assert_eq!(nonce.to_text().len(), 32);
        assert_ne!(nonce, Nonce::generate().unwrap());
    }
}
