//! The word of a server to a linked site: the signed answer to one [`super::question`], which it repeats the nonce of. So neither
//! an answer that was recorded nor a late one is taken for the answer to another question.

use super::body::sha256;
use super::file;
use super::head::{Introduction, is_of_key_of, second, trusted_signers};
use super::note::{self, Note, PublicKey, SigningKey};
use super::question::{Events, Nonce, Question};
use super::{Checked, is_server_name, is_site_name};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::refusals;
use base64ct::{Base64, Encoding};

/// What an answer begins with.
pub const MAGIC: &[u8; 8] = b"LKWORD1\n";
/// The number of bytes of a word with its signatures.
pub const WORD_BYTES_MAX: usize = 16 * 1024;
/// The number of bytes of an answer: a whole pack and a difference may come at once.
pub const ANSWER_BYTES_MAX: usize = MAGIC.len() + 4 + WORD_BYTES_MAX + PACKS_BYTES_MAX;
/// The number of bytes of packs in one answer.
const PACKS_BYTES_MAX: usize = 2 * (8 + file::FILE_BYTES_MAX);
/// The first word.
const KIND: &str = "latchkey.word/v1";

/// What the body of an answer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WordKind {
    /// Nothing. What the site knows of the server's events is not in the history of this server.
    Fork,
    /// Packs ([`write_packs`]), which the site applies before it asks again.
    Pack,
    /// Nothing. The site was removed at its server, and gives its lease up.
    Removed,
    /// What has changed since the state in the question ([`super::step`]); nothing if nothing has. Only this one lets the site
    /// go on answering.
    Step,
}

impl WordKind {
    const ALL: [WordKind; 4] = [
        WordKind::Fork,
        WordKind::Pack,
        WordKind::Removed,
        WordKind::Step,
    ];

    fn as_str(self) -> &'static str {
        match self {
            WordKind::Fork => "fork",
            WordKind::Pack => "pack",
            WordKind::Removed => "removed",
            WordKind::Step => "step",
        }
    }
}

/// The content of a word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Word {
    /// The name of the server. Its keys are named after it.
    pub origin: String,
    pub site: String,
    pub server: Uid,
    pub reign: u64,
    /// Of the question.
    pub nonce: Nonce,
    pub kind: WordKind,
    /// The state in the question.
    pub from: Events,
    /// The state of the server to which the body belongs: with a step, the state that is in force at the site once it has
    /// applied it.
    pub to: Events,
    /// By the time of the server, in whole seconds.
    pub made: Timestamp,
    /// How long the site may answer, counted from the moment at which it sent the question; 0 unless the kind is a step.
    pub lease_s: u64,
    /// The number of the newest report of this life that the server has taken in; 0 if it has none.
    pub report: u64,
    /// The number of bytes of the body.
    pub bytes: u64,
    /// Of the body.
    pub sha256: [u8; 32],
    /// The keys that followed one another, the oldest first.
    pub signers: Vec<Introduction>,
}

/// A word whose signature was checked.
#[derive(Clone, Debug)]
pub struct SignedWord {
    pub word: Word,
    /// As [`super::head::SignedHead::signed_by`].
    pub signed_by: Vec<PublicKey>,
}

impl Word {
    /// The text that is signed.
    fn to_text(&self) -> String {
        let mut text = format!(
            "{KIND} {}\nsite {}\nserver {} reign {}\nnonce {}\nkind {}\nfrom {}\nto {}\nmade {}\nlease {}\nreport {}\nbytes {} \
             sha256 {}\n",
            self.origin,
            self.site,
            self.server,
            self.reign,
            self.nonce.to_text(),
            self.kind.as_str(),
            self.from.to_text(),
            self.to.to_text(),
            self.made,
            self.lease_s,
            self.report,
            self.bytes,
            Base64::encode_string(&self.sha256),
        );
        for one in &self.signers {
            text += &format!("signer {}\n", one.to_text());
        }
        text
    }

    /// The bytes of the answer, signed with this key.
    pub fn write(&self, key: &SigningKey, body: &[u8]) -> Vec<u8> {
        debug_assert_eq!(self.bytes, body.len() as u64);
        let text = self.to_text();
        let note = note::write(&text, &[key.sign(text.as_bytes())]);
        let length = (note.len() as u32).to_be_bytes();
        [&MAGIC[..], &length, note.as_bytes(), body].concat()
    }

    /// Reads a whole answer, and returns its body.
    #[cfg(test)]
    pub fn open<'a>(answer: &'a [u8], trusted: &[PublicKey]) -> Checked<(SignedWord, &'a [u8])> {
        let no_word = refusals::packs::no_word;
        let (start, rest) = answer.split_first_chunk().ok_or_else(no_word)?;
        let note = note_bytes(start).and_then(|length| rest.split_at_checked(length));
        let (note, body) = note.ok_or_else(no_word)?;
        let signed = Word::open_note(note, trusted)?;
        match signed.word.has(body) {
            true => Ok((signed, body)),
            false => Err(no_word()),
        }
    }

    /// Reads the note of an answer, before its body has arrived. A key that the site trusts has signed it, or one that such a key has
    /// introduced.
    pub fn open_note(note: &[u8], trusted: &[PublicKey]) -> Checked<SignedWord> {
        let no_word = refusals::packs::no_word;
        let note = Note::parse(note).map_err(|_| no_word())?;
        let word = Word::parse(note.text).ok_or_else(no_word)?;
        let signed_by = trusted_signers(&note, &word.origin, word.server, &word.signers, trusted)?;
        Ok(SignedWord { word, signed_by })
    }

    /// Whether these are the bytes of its body.
    pub fn has(&self, body: &[u8]) -> bool {
        self.bytes == body.len() as u64 && self.sha256 == sha256(body)
    }

    /// Whether this is the answer to a question.
    pub fn answers(&self, question: &Question) -> bool {
        let same = self.nonce == question.nonce
            && self.origin == question.origin
            && self.site == question.site
            && self.server == question.server
            && self.from == question.events;
        // A step follows what is in force, and never goes back.
        let follows = self.reign == question.reign && self.to.number >= self.from.number;
        same && (self.kind != WordKind::Step || follows)
    }

    fn parse(text: &str) -> Option<Word> {
        Word::read(text).filter(|word| word.to_text() == text)
    }

    fn read(text: &str) -> Option<Word> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let mut words = |kind: &str| lines.next()?.strip_prefix(kind)?.strip_prefix(' ');
        let origin = words(KIND).filter(|name| is_server_name(name))?;
        let site = words("site").filter(|name| is_site_name(name))?;
        let (server, reign) = words("server")?.split_once(" reign ")?;
        let nonce = words("nonce")?;
        let kind = words("kind")?;
        let from = words("from")?;
        let to = words("to")?;
        let made = words("made")?;
        let lease = words("lease")?;
        let report = words("report")?;
        let (bytes, sha256) = words("bytes")?.split_once(" sha256 ")?;
        let rest: Vec<&str> = lines.take(note::SIGNATURES_MAX + 1).collect();
        let signer = |line: &&str| Introduction::parse(line.strip_prefix("signer ")?);
        let word = Word {
            origin: origin.to_owned(),
            site: site.to_owned(),
            server: Uid::parse(server)?,
            reign: reign.parse().ok()?,
            nonce: Nonce::parse(nonce)?,
            kind: WordKind::ALL.into_iter().find(|one| one.as_str() == kind)?,
            from: Events::parse(from)?,
            to: Events::parse(to)?,
            made: second(made)?,
            lease_s: lease.parse().ok()?,
            report: report.parse().ok()?,
            bytes: bytes.parse().ok()?,
            sha256: note::decode(sha256, 32)?.try_into().ok()?,
            signers: rest.iter().map(signer).collect::<Option<_>>()?,
        };
        let fits = word.signers.len() <= note::SIGNATURES_MAX
            && word.signers.iter().all(|one| is_of_key_of(one, origin))
            && (word.lease_s == 0 || word.kind == WordKind::Step);
        fits.then_some(word)
    }
}

/// The number of bytes before the note of an answer.
pub const START_BYTES: usize = MAGIC.len() + 4;

/// The length of the note of an answer from the bytes before it; `None` if this is no answer.
pub fn note_bytes(start: &[u8; START_BYTES]) -> Option<usize> {
    let length = start.strip_prefix(MAGIC)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    Some(length).filter(|length| (1..=WORD_BYTES_MAX).contains(length))
}

/// The body of an answer with packs: the files, each after its length. If there are two, the first one is the whole pack that
/// the second one follows.
pub fn write_packs(files: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::with_capacity(files.iter().map(|file| 8 + file.len()).sum());
    for file in files {
        body.extend_from_slice(&(file.len() as u64).to_be_bytes());
        body.extend_from_slice(file);
    }
    body
}

/// The inverse of [`write_packs`]: one file or two.
pub fn read_packs(body: &[u8]) -> Checked<Vec<&[u8]>> {
    let read = || {
        let (mut rest, mut files) = (body, Vec::new());
        while !rest.is_empty() {
            let (length, behind) = rest.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
            let (file, behind) = behind.split_at_checked(length)?;
            files.push(file);
            rest = behind;
        }
        (1..=2).contains(&files.len()).then_some(files)
    };
    read().ok_or_else(refusals::packs::no_word)
}

#[cfg(test)]
pub mod tests {
    use super::super::question::tests::question;
    use super::*;

    /// An answer to the sample question.
    pub fn word(kind: WordKind, body: &[u8]) -> Word {
        let question = question();
        Word {
            origin: question.origin,
            site: question.site,
            server: question.server,
            reign: 1,
            nonce: question.nonce,
            kind,
            from: question.events,
            to: Events {
                number: 18_215,
                hash: [8; 32],
            },
            made: Timestamp(1_764_367_200_000),
            lease_s: match kind {
                WordKind::Step => 10,
                _ => 0,
            },
            report: 12,
            bytes: body.len() as u64,
            sha256: sha256(body),
            signers: Vec::new(),
        }
    }

    fn key() -> SigningKey {
        SigningKey::generate("server.example/packs").unwrap().0
    }

    #[test]
    fn a_word_is_read_back_and_only_a_trusted_key_has_signed_it() {
        let (key, other) = (key(), key());
        for (kind, body) in [
            (WordKind::Step, &b"body"[..]),
            (WordKind::Step, b""),
            (WordKind::Pack, b"pack"),
            (WordKind::Fork, b""),
        ] {
            let word = word(kind, body);
            let answer = word.write(&key, body);
            let trusted = [key.public().clone()];
            let (read, rest) = Word::open(&answer, &trusted).unwrap();
            assert_eq!((&read.word, rest), (&word, body));
            assert_eq!(read.signed_by, trusted);
            assert!(word.answers(&question()));
            assert!(Word::open(&answer, &[other.public().clone()]).is_err());
            for end in 0..answer.len() {
                assert!(Word::open(&answer[..end], &trusted).is_err(), "{end}");
            }
            for position in 0..answer.len() {
                for bit in 0..8 {
                    let mut bytes = answer.clone();
                    bytes[position] ^= 1 << bit;
                    assert!(Word::open(&bytes, &trusted).is_err(), "{position} {bit}");
                }
            }
            assert!(Word::open(&[&answer[..], b"x"].concat(), &trusted).is_err());
        }
    }

    #[test]
    fn a_word_answers_its_question_and_no_other() {
        let word = word(WordKind::Step, b"");
        let differs = |change: fn(&mut Question)| {
            let mut other = question();
            change(&mut other);
            !word.answers(&other)
        };
        assert!(differs(|other| other.nonce = Nonce([1; 16])));
        assert!(differs(|other| other.site = "plant-8".to_owned()));
        assert!(differs(|other| other.server = Uid(1)));
        assert!(differs(|other| other.origin = "x".to_owned()));
        assert!(differs(|other| other.reign = 2));
        assert!(differs(|other| other.events.number -= 1));
        assert!(differs(|other| other.events.hash = [9; 32]));
        let back = Word {
            to: Events::default(),
            ..word.clone()
        };
        assert!(!back.answers(&question()));
        let pack = Word {
            kind: WordKind::Pack,
            lease_s: 0,
            ..back
        };
        assert!(pack.answers(&question()));
    }

    #[test]
    fn a_word_has_one_spelling_and_only_a_step_has_a_lease() {
        let text = word(WordKind::Step, b"").to_text();
        for (from, to) in [
            ("kind step", "kind steps"),
            ("kind step", "kind pack"),
            ("kind step", "kind fork"),
            ("lease 10", "lease 010"),
            ("report 12", "report x"),
            ("bytes 0 ", "bytes 00 "),
            ("00Z\n", "00.5Z\n"),
            ("\nmade", "\n\nmade"),
            ("word/v1", "word/v2"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Word::parse(&text.replacen(from, to, 1)).is_none(), "{to}");
        }
        assert!(Word::parse(&format!("{text}more 1\n")).is_none());
    }

    #[test]
    fn a_newer_key_is_known_by_its_introduction() {
        let (first, second, stranger) = (key(), key(), key());
        let mut word = word(WordKind::Step, b"");
        let introduce = |older: &SigningKey| {
            Introduction::make(older, &word.origin, word.server, second.public())
        };
        let (good, bad) = (introduce(&first), introduce(&stranger));
        let trusted = [first.public().clone()];
        word.signers = vec![good];
        let answer = word.write(&second, b"");
        let (read, _) = Word::open(&answer, &trusted).unwrap();
        assert_eq!(read.signed_by, [second.public().clone()]);
        word.signers = vec![bad];
        assert!(Word::open(&word.write(&second, b""), &trusted).is_err());
    }

    #[test]
    fn packs_are_divided_again() {
        let files = vec![b"one".to_vec(), b"two two".to_vec()];
        assert_eq!(read_packs(&write_packs(&files)).unwrap(), files);
        assert_eq!(
            read_packs(&write_packs(&files[..1])).unwrap(),
            [b"one".as_slice()]
        );
        let body = write_packs(&files);
        for end in (1..body.len()).filter(|end| *end != 11) {
            assert!(read_packs(&body[..end]).is_err(), "{end}");
        }
        assert!(read_packs(b"").is_err());
        let three = [&body[..], &write_packs(&files[..1])].concat();
        assert!(read_packs(&three).is_err());
        let mut long = body.clone();
        long[..8].fill(0xff);
        assert!(read_packs(&long).is_err());
    }
}
