//! The head of a pack: a signed note with the site of the pack, what it follows, until when it counts, and the hash of its
//! body. Every line is there once, in one order and one spelling.

use super::note::{self, Note, PublicKey, Signature, SigningKey};
use super::past::{self, Point};
use super::{Checked, is_server_name, is_site_name};
use crate::domain::hex::hex;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::refusals;
use base64ct::{Base64, Encoding};

/// The number of bytes of a head with its signatures.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The first word of a head.
const KIND: &str = "latchkey.pack/v1";
/// The first word of the text that a key signs to introduce the next one.
const KEY_KIND: &str = "latchkey.pack-key/v1";

/// What the text of a head contains.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// The name of the server. Its keys are named after it.
    pub origin: String,
    /// Grows with every pack of a site.
    pub pack: u64,
    /// The whole pack that this one has to be applied to; 0 for a whole pack.
    pub base: u64,
    pub site: String,
    pub server: Uid,
    /// Grows whenever the server is restored from a backup.
    pub reign: u64,
    /// The newest audit event that the pack includes, and its hash.
    pub events: u64,
    pub events_hash: [u8; 32],
    /// In whole seconds.
    pub made: Timestamp,
    /// The first instant at which the pack no longer counts, in whole seconds.
    pub until: Timestamp,
    /// The number of keys that the site holds after applying the pack.
    pub keys: u64,
    /// The number of bytes of the body.
    pub bytes: u64,
    /// Of the body.
    pub sha256: [u8; 32],
    /// Who may spend the uses that are lent: the life of a site's state, or the enrolment while the server knows of no life.
    pub lent: Option<Uid>,
    /// The events of the packs before this one, the newest first; `None` if the server does not name them.
    pub past: Option<Vec<Point>>,
    /// The keys that followed one another, the oldest first.
    pub signers: Vec<Introduction>,
}

/// A key that an older key has introduced by signing it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Introduction {
    pub key: PublicKey,
    /// By the older key, of [`introduction`].
    pub signature: Signature,
}

/// The name of the keys with which a server signs packs.
pub fn key_name(origin: &str) -> String {
    format!("{origin}/packs")
}

/// The text that a key signs to introduce a newer one.
pub fn introduction(origin: &str, server: Uid, key: &PublicKey) -> String {
    format!(
        "{KEY_KIND} {origin}\nserver {server}\nsigner {}\n",
        key.to_text()
    )
}

impl Introduction {
    /// Has the older key introduce the newer one.
    pub fn make(older: &SigningKey, origin: &str, server: Uid, newer: &PublicKey) -> Introduction {
        let text = introduction(origin, server, newer);
        Introduction {
            key: newer.clone(),
            signature: older.sign(text.as_bytes()),
        }
    }

    /// The words of its line: the new key, and the signature.
    pub fn to_text(&self) -> String {
        format!("{} {}", self.key.to_text(), self.signature.to_base64())
    }

    /// The inverse of [`Introduction::to_text`].
    pub fn parse(text: &str) -> Option<Introduction> {
        let (key, signature) = text.split_once(' ')?;
        let key = PublicKey::parse(key)?;
        Some(Introduction {
            signature: Signature::of_base64(&key.name, signature)?,
            key,
        })
    }
}

/// A head whose signature was checked.
#[derive(Clone, Debug)]
pub struct SignedHead {
    pub head: Head,
    /// The keys that have signed the head: those that the site trusted before, or that one of them has introduced. From
    /// then on the site trusts these and no others.
    pub signed_by: Vec<PublicKey>,
}

impl Head {
    /// The text that is signed.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{KIND} {}\npack {} base {}\nsite {}\nserver {} reign {}\nevents {} {}\nmade {}\nuntil {}\nkeys {} bytes {}\n\
             sha256 {}\n",
            self.origin,
            self.pack,
            self.base,
            self.site,
            self.server,
            self.reign,
            self.events,
            Base64::encode_string(&self.events_hash),
            self.made,
            self.until,
            self.keys,
            self.bytes,
            Base64::encode_string(&self.sha256),
        );
        if let Some(lent) = self.lent {
            text += &format!("lent {lent}\n");
        }
        if let Some(points) = &self.past {
            text += &format!("past {}\n", past::to_text(points));
        }
        for one in &self.signers {
            text += &format!("signer {}\n", one.to_text());
        }
        text
    }

    /// The note with the signatures of these keys.
    pub fn sign(&self, keys: &[SigningKey]) -> String {
        let text = self.to_text();
        let signatures: Vec<Signature> = keys.iter().map(|key| key.sign(text.as_bytes())).collect();
        note::write(&text, &signatures)
    }

    /// Reads the text of a head. The signatures are not its business.
    pub fn parse(text: &str) -> Checked<Head> {
        let head = Head::read(text).filter(|head| head.to_text() == text);
        head.ok_or_else(refusals::packs::head)
    }

    fn read(text: &str) -> Option<Head> {
        let mut lines = text.strip_suffix('\n')?.split('\n').peekable();
        let mut words = |kind: &str| lines.next()?.strip_prefix(kind)?.strip_prefix(' ');
        let origin = words(KIND)?;
        let (pack, base) = words("pack")?.split_once(" base ")?;
        let site = words("site")?;
        let (server, reign) = words("server")?.split_once(" reign ")?;
        let (events, events_hash) = words("events")?.split_once(' ')?;
        let made = second(words("made")?)?;
        let until = second(words("until")?)?;
        let (keys, bytes) = words("keys")?.split_once(" bytes ")?;
        let sha256 = words("sha256")?;
        let mut optional = |kind: &str| {
            let line = lines.next_if(|line| line.starts_with(kind))?;
            line.strip_prefix(kind)
        };
        let lent = optional("lent ").map(Uid::parse);
        let past = optional("past ").map(past::parse);
        let rest: Vec<&str> = lines.take(note::SIGNATURES_MAX + 1).collect();
        let signer = |line: &&str| Introduction::parse(line.strip_prefix("signer ")?);
        let head = Head {
            origin: origin.to_owned(),
            pack: pack.parse().ok()?,
            base: base.parse().ok()?,
            site: site.to_owned(),
            server: Uid::parse(server)?,
            reign: reign.parse().ok()?,
            events: events.parse().ok()?,
            events_hash: hash(events_hash)?,
            made,
            until,
            keys: keys.parse().ok()?,
            bytes: bytes.parse().ok()?,
            sha256: hash(sha256)?,
            lent: match lent {
                None => None,
                Some(lent) => Some(lent?),
            },
            past: match past {
                None => None,
                Some(past) => Some(past?),
            },
            signers: rest.iter().map(signer).collect::<Option<_>>()?,
        };
        let fits = is_server_name(origin)
            && is_site_name(site)
            && head.base < head.pack
            && head.made < head.until
            && head
                .newest_named()
                .is_none_or(|newest| newest.events < head.events)
            && head.signers.len() <= note::SIGNATURES_MAX
            && head.signers.iter().all(|one| is_of_key_of(one, origin));
        fits.then_some(head)
    }

    /// The event of the pack before this one, if it is named.
    fn newest_named(&self) -> Option<&Point> {
        self.past.as_ref()?.first()
    }

    /// Whether this is a whole pack.
    pub fn is_whole(&self) -> bool {
        self.base == 0
    }

    /// Reads a signed head, and checks that a key which the site trusts has signed it, or one that such a key has
    /// introduced.
    pub fn open(bytes: &[u8], trusted: &[PublicKey]) -> Checked<SignedHead> {
        let (note, head) = Head::peek(bytes)?;
        let signed_by = trusted_signers(&note, &head.origin, head.server, &head.signers, trusted)?;
        Ok(SignedHead { head, signed_by })
    }

    /// Reads a head without checking any signature, to show it.
    pub fn peek(bytes: &[u8]) -> Checked<(Note<'_>, Head)> {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(refusals::packs::head());
        }
        let note = Note::parse(bytes)?;
        let head = Head::parse(note.text)?;
        Ok((note, head))
    }
}

/// The keys that have signed a note: those that the site trusts, or that one of them has introduced.
///
/// # Errors
/// There is none; or a signature or an introduction has the name of a key that has not made it.
pub(super) fn trusted_signers(
    note: &Note<'_>,
    origin: &str,
    server: Uid,
    signers: &[Introduction],
    trusted: &[PublicKey],
) -> Checked<Vec<PublicKey>> {
    let mut known: Vec<PublicKey> = trusted.to_vec();
    for one in signers {
        let text = introduction(origin, server, &one.key);
        let by = known.iter().find(|key| one.signature.names(key));
        let Some(by) = by.filter(|_| !known.contains(&one.key)) else {
            continue;
        };
        if !by.has_signed(text.as_bytes(), &one.signature.bytes) {
            return Err(refusals::packs::signature(&by.name));
        }
        known.push(one.key.clone());
    }
    let name = key_name(origin);
    known.retain(|key| key.name == name);
    let signed_by = note.signers(&known)?;
    if signed_by.is_empty() {
        let of = |one: &Signature| format!("{}+{}", one.name, hex(&one.hash));
        let signers: Vec<String> = note.signatures.iter().map(of).collect();
        return Err(refusals::packs::strange_signer(signers.join(", ")));
    }
    Ok(signed_by)
}

/// Whether an introduction is of a key of this server.
pub(super) fn is_of_key_of(one: &Introduction, origin: &str) -> bool {
    one.key.name == key_name(origin)
}

/// A time in whole seconds.
pub(super) fn second(text: &str) -> Option<Timestamp> {
    let at = Timestamp::parse("", text).ok()?;
    (at.0 % 1000 == 0).then_some(at)
}

fn hash(text: &str) -> Option<[u8; 32]> {
    note::decode(text, 32)?.try_into().ok()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn sample() -> Head {
        Head {
            origin: "server.example".to_owned(),
            pack: 43,
            base: 40,
            site: "plant-7".to_owned(),
            server: Uid(0x6a1f << 96),
            reign: 1,
            events: 18_211,
            events_hash: [7; 32],
            made: Timestamp(1_764_367_200_000),
            until: Timestamp(1_764_972_000_000),
            keys: 10_000,
            bytes: 470_123,
            sha256: [9; 32],
            lent: Some(Uid(9)),
            past: Some(vec![
                Point::of(18_000, &[8; 32]),
                Point::of(17_900, &[6; 32]),
                Point::of(17_000, &[5; 32]),
            ]),
            signers: Vec::new(),
        }
    }

    fn key() -> SigningKey {
        SigningKey::generate("server.example/packs").unwrap().0
    }

    #[test]
    fn a_head_is_read_back_and_no_other_spelling_is_read() {
        let head = sample();
        let text = head.to_text();
        assert_eq!(Head::parse(&text).unwrap(), head);
        let mut plain = head.clone();
        for past in [None, Some(Vec::new())] {
            (plain.lent, plain.past) = (None, past);
            assert_eq!(Head::parse(&plain.to_text()).unwrap(), plain);
        }
        let (lent, past) = (
            format!("lent {}\n", Uid(9)),
            format!("past {}\n", past::to_text(head.past.as_deref().unwrap())),
        );
        for (from, to) in [
            ("pack 43", "pack 043"),
            ("pack 43", "pack +43"),
            ("pack 43", "pack 40"),
            ("base 40", "base 40 "),
            ("plant-7", "Plant-7"),
            ("plant-7", "../x"),
            ("server.example", "server example"),
            ("reign 1", "reign  1"),
            ("00Z\nuntil", "00.5Z\nuntil"),
            ("00Z\nuntil", "00+00:00\nuntil"),
            ("sha256", "sha512"),
            ("keys 10000", "keys 18446744073709551616"),
            ("until", "made"),
            ("\nmade", "\n\nmade"),
            ("latchkey.pack/v1", "latchkey.pack/v2"),
            ("\nlent ", "\nlend "),
            ("\npast 3 ", "\npast 4 "),
            ("\npast 3 ", "\npast 03 "),
            ("events 18211", "events 18000"),
            (&*format!("{lent}{past}"), &*format!("{past}{lent}")),
            (&*lent, &*format!("{lent}{lent}")),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Head::parse(&text.replacen(from, to, 1)).is_err(), "{to}");
        }
        assert!(Head::parse(&format!("{text}more 1\n")).is_err());
        // The lines that can be missing are the last ones; what was signed has all of them.
        let whole = text.find("lent ").unwrap();
        for end in 0..text.len() {
            let is_cut = end < whole || !text[..end].ends_with('\n');
            assert_eq!(Head::parse(&text[..end]).is_err(), is_cut, "{end}");
        }
    }

    #[test]
    fn a_new_key_counts_if_an_older_one_has_introduced_it() {
        let (first, second, third, stranger) = (key(), key(), key(), key());
        let mut head = sample();
        let introduce = |older: &SigningKey, newer: &SigningKey| {
            Introduction::make(older, &head.origin, head.server, newer.public())
        };
        let signers = vec![introduce(&first, &second), introduce(&second, &third)];
        let by_stranger = introduce(&stranger, &third);
        head.signers = signers;
        let trusted = |key: &SigningKey| vec![key.public().clone()];
        let third_key = third.public().clone();
        let signed = head.sign(&[third]);
        for key in [&first, &second] {
            let opened = Head::open(signed.as_bytes(), &trusted(key)).unwrap();
            assert_eq!(opened.signed_by, std::slice::from_ref(&third_key));
        }
        assert!(Head::open(signed.as_bytes(), &trusted(&stranger)).is_err());
        assert!(Head::open(signed.as_bytes(), &[]).is_err());

        // A key that introduces itself, and one whose introduction is of another server.
        head.signers = vec![by_stranger];
        let signed = head.sign(&[key()]);
        assert!(Head::open(signed.as_bytes(), &trusted(&first)).is_err());
        let elsewhere = Introduction::make(&first, &head.origin, Uid(1), second.public());
        head.signers = vec![elsewhere];
        let signed = head.sign(&[second]);
        assert!(Head::open(signed.as_bytes(), &trusted(&first)).is_err());
    }

    #[test]
    fn a_head_of_another_name_is_refused_even_from_a_trusted_key() {
        let (key, _) = SigningKey::generate("other.example/packs").unwrap();
        let trusted = [key.public().clone()];
        let signed = sample().sign(&[key]);
        assert!(Head::open(signed.as_bytes(), &trusted).is_err());
    }
}
