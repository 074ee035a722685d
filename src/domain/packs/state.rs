//! What a site knows: whom it trusts, and what it has applied. The store seals it as a whole, so that write access to the
//! database alone does not make the site trust another key or take an older pack.

use super::head::Head;
use super::note::PublicKey;
use super::record::{Reader, Writer};
use super::site_key::SiteKey;
use super::word::Word;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;

/// The first byte of the encoding.
const VERSION: u8 = 3;
/// The first byte of the encoding without peppers.
const WITHOUT_PEPPERS: u8 = 2;
/// The first byte of the encoding before there were links.
const WITHOUT_LINK: u8 = 1;
/// The number of bytes of a name.
const NAME_BYTES_MAX: usize = 200;
/// The number of keys that a site can trust at once.
const KEYS_MAX: usize = 64;
/// The number of peppers that are kept.
const PEPPERS_MAX: usize = 64;

/// The state of a site.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    pub site: String,
    /// The name of the server.
    pub origin: String,
    pub server: Uid,
    /// Drawn when this state began. The counts of reports grow from then on.
    pub life: Uid,
    /// The keys whose signatures count.
    pub trusted: Vec<PublicKey>,
    /// The secret that the site shares with the server: it opens peppers that travel in packs.
    pub key: [u8; 32],
    pub reign: u64,
    /// The newest pack that was ever applied; 0 for none.
    pub pack: u64,
    /// The newest audit event of the server that was included in a pack, or in a step over a link, and its hash.
    pub events: u64,
    pub events_hash: [u8; 32],
    /// An older copy has replaced the database. What was spent and what has ended here since is not known, so the next content
    /// counts all that it lends as spent, and ends all older secrets that wait for a first use.
    pub distrusts: bool,
    /// No pack that was made before this is taken.
    pub made: Timestamp,
    /// The whole pack that is held.
    pub base: Option<HeldFile>,
    /// The newest pack that follows it, if one does.
    pub delta: Option<HeldFile>,
    pub fork: Fork,
    /// The number of the last report.
    pub reports: u64,
    /// The newest audit event of the server that the newest pack included, and its hash. A link brings the
    /// site further than that.
    pub pack_events: u64,
    pub pack_hash: [u8; 32],
    /// Packs have named the events of those before them. From then on every pack has to.
    pub has_past: bool,
    /// Who may spend what is lent according to the newest pack; `None` if it was made by an older version, which does not name it.
    pub lent: Option<Uid>,
    /// What the enrolment has instead of the life, until the server knows the life; `None` if the enrolment was used before.
    pub enrolment: Option<Uid>,
    /// An operator has decided that the newest pack was made under a wrong date: the next one may have been made before it.
    pub is_date_open: bool,
    /// The peppers of all packs so far, the newest last. The site knows secrets that stay ended by digests under these, while a
    /// later pack can have such a secret under another one.
    pub peppers: Vec<[u8; 32]>,
}

/// A pack in the folder of the site.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeldFile {
    pub reign: u64,
    pub pack: u64,
    /// Of the whole file.
    pub sha256: [u8; 32],
}

/// Whether the server continues from where the site knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fork {
    None,
    /// The server was restored from a backup, and an operator has to decide.
    Seen,
    /// An operator has decided that the state of the server is right: its next pack is taken.
    Accepted,
}

impl HeldFile {
    /// The name of the file. It is another one after a restore of the server, which can repeat numbers.
    pub fn name(&self, base: Option<&HeldFile>) -> String {
        let HeldFile { reign, pack, .. } = self;
        match base {
            None => format!("{reign}-{pack:06}.lkpack"),
            Some(base) => format!("{reign}-{pack:06}-of-{}.lkpack", base.pack),
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.number(self.reign);
        writer.number(self.pack);
        writer.raw(&self.sha256);
    }

    fn read(reader: &mut Reader<'_>) -> Option<HeldFile> {
        Some(HeldFile {
            reign: reader.number()?,
            pack: reader.number()?,
            sha256: reader.array()?,
        })
    }
}

impl Fork {
    const ALL: [Fork; 3] = [Fork::None, Fork::Seen, Fork::Accepted];
}

impl State {
    /// The state after a pack was applied. `base` is the whole pack that is held then. A pack that a link brings can be older than
    /// what the link has brought before; what the site knows of its server stays known.
    #[must_use]
    pub fn after(
        &self,
        head: &Head,
        trusted: Vec<PublicKey>,
        base: HeldFile,
        delta: Option<HeldFile>,
    ) -> State {
        let is_other_history = head.reign != self.reign || self.fork == Fork::Accepted;
        let (events, events_hash) = match head.events < self.events && !is_other_history {
            true => (self.events, self.events_hash),
            false => (head.events, head.events_hash),
        };
        State {
            trusted,
            reign: head.reign,
            pack: head.pack,
            events,
            events_hash,
            made: match is_other_history || self.is_date_open {
                true => head.made,
                false => head.made.max(self.made),
            },
            base: Some(base),
            delta,
            fork: Fork::None,
            pack_events: head.events,
            pack_hash: head.events_hash,
            has_past: head.past.is_some(),
            lent: head.lent,
            is_date_open: false,
            ..self.clone()
        }
    }

    /// Remembers the peppers of a pack.
    pub fn note_peppers(&mut self, peppers: impl Iterator<Item = [u8; 32]>) {
        for pepper in peppers {
            if !self.peppers.contains(&pepper) {
                self.peppers.push(pepper);
            }
        }
        let surplus = self.peppers.len().saturating_sub(PEPPERS_MAX);
        self.peppers.drain(..surplus);
    }

    /// Whether the uses that the newest pack lends are lent to this state, and not to one that the site had before.
    pub fn may_spend(&self) -> bool {
        let is_own = |lent| lent == self.life || Some(lent) == self.enrolment;
        self.lent.is_none_or(is_own)
    }

    /// When the next pack has to be made at the earliest, if an older copy has replaced the database.
    pub fn needs_made(&self) -> Option<Timestamp> {
        self.distrusts.then_some(self.made)
    }

    /// The state after a step over the link. `trusted` are the keys that have signed the word.
    #[must_use]
    pub fn after_step(&self, word: &Word, trusted: Vec<PublicKey>) -> State {
        State {
            trusted,
            events: word.to.number,
            events_hash: word.to.hash,
            made: word.made.max(self.made),
            distrusts: false,
            fork: Fork::None,
            ..self.clone()
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.text(&self.site);
        writer.text(&self.origin);
        writer.raw(&self.server.0.to_be_bytes());
        writer.raw(&self.life.0.to_be_bytes());
        writer.list(self.trusted.iter(), |writer, key| {
            writer.text(&key.to_text());
        });
        writer.raw(&self.key);
        writer.number(self.reign);
        writer.number(self.pack);
        writer.number(self.events);
        writer.raw(&self.events_hash);
        writer.raw(&self.made.0.to_be_bytes());
        writer.option(self.base, |writer, held| held.write(writer));
        writer.option(self.delta, |writer, held| held.write(writer));
        writer.u8(self.fork as u8);
        writer.number(self.reports);
        writer.number(self.pack_events);
        writer.flag(self.distrusts);
        writer.raw(&self.pack_hash);
        writer.flag(self.has_past);
        for uid in [self.lent, self.enrolment] {
            writer.option(uid, |writer, uid| writer.raw(&uid.0.to_be_bytes()));
        }
        writer.flag(self.is_date_open);
        writer.list(self.peppers.iter(), |writer, pepper| writer.raw(pepper));
        writer.0
    }

    /// The inverse of [`State::to_bytes`]; it reads what older versions have written too.
    pub fn parse(bytes: &[u8]) -> Option<State> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if !matches!(version, VERSION | WITHOUT_PEPPERS | WITHOUT_LINK) {
            return None;
        }
        let mut state = State {
            site: reader.text(NAME_BYTES_MAX)?.to_owned(),
            origin: reader.text(NAME_BYTES_MAX)?.to_owned(),
            server: Uid(reader.u128()?),
            life: Uid(reader.u128()?),
            trusted: reader.list(KEYS_MAX, |reader| {
                PublicKey::parse(reader.text(NAME_BYTES_MAX)?)
            })?,
            key: reader.array()?,
            reign: reader.number()?,
            pack: reader.number()?,
            events: reader.number()?,
            events_hash: reader.array()?,
            made: Timestamp(reader.i64()?),
            base: reader.option(HeldFile::read)?,
            delta: reader.option(HeldFile::read)?,
            fork: *Fork::ALL.get(usize::from(reader.u8()?))?,
            reports: reader.number()?,
            pack_events: 0,
            distrusts: false,
            pack_hash: [0; 32],
            has_past: false,
            lent: None,
            enrolment: None,
            is_date_open: false,
            peppers: Vec::new(),
        };
        if version == WITHOUT_LINK {
            (state.pack_events, state.pack_hash) = (state.events, state.events_hash);
            // Such a state was made of a file that nothing had marked as used.
            state.enrolment = Some(SiteKey::of(state.key).enrolment());
        } else {
            state.pack_events = reader.number()?;
            state.distrusts = reader.flag()?;
            state.pack_hash = reader.array()?;
            state.has_past = reader.flag()?;
            state.lent = reader.option(|reader| reader.u128().map(Uid))?;
            state.enrolment = reader.option(|reader| reader.u128().map(Uid))?;
            state.is_date_open = reader.flag()?;
        }
        if version == VERSION {
            state.peppers = reader.list(PEPPERS_MAX, |reader| reader.array())?;
        }
        reader.end()?;
        Some(state)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::domain::packs::head::tests::sample;
    use crate::domain::packs::note::SigningKey;

    /// The state of the site of the sample head, which has applied pack 41 to pack 40.
    pub fn state() -> State {
        let head = sample();
        let key = SigningKey::of_seed("server.example/packs", &[3; 32]).unwrap();
        let held = |pack| HeldFile {
            reign: 1,
            pack,
            sha256: [5; 32],
        };
        State {
            site: head.site,
            origin: head.origin,
            server: head.server,
            life: Uid(9),
            trusted: vec![key.public().clone()],
            key: [6; 32],
            reign: 1,
            pack: 41,
            events: 18_000,
            events_hash: [8; 32],
            made: Timestamp(head.made.0 - 60_000),
            base: Some(held(40)),
            delta: Some(held(41)),
            pack_events: 18_000,
            distrusts: false,
            fork: Fork::None,
            reports: 3,
            pack_hash: [8; 32],
            has_past: true,
            lent: Some(Uid(9)),
            enrolment: Some(Uid(4)),
            is_date_open: false,
            peppers: vec![[2; 32], [3; 32]],
        }
    }

    #[test]
    fn a_state_is_read_back_whole_or_not_at_all() {
        let mut other = state();
        (other.base, other.delta, other.fork) = (None, None, Fork::Accepted);
        (other.lent, other.enrolment, other.is_date_open) = (None, None, true);
        other.distrusts = true;
        other.peppers = Vec::new();
        for state in [state(), other] {
            let bytes = state.to_bytes();
            assert_eq!(State::parse(&bytes).as_ref(), Some(&state));
            for end in 0..bytes.len() {
                assert_eq!(State::parse(&bytes[..end]), None, "{end}");
            }
            assert_eq!(State::parse(&[&bytes[..], &[0]].concat()), None);
        }
        let base = state().base.unwrap();
        assert_eq!(base.name(None), "1-000040.lkpack");
        assert_eq!(
            state().delta.unwrap().name(Some(&base)),
            "1-000041-of-40.lkpack"
        );
    }

    #[test]
    fn the_newest_peppers_are_kept_each_once() {
        let mut state = state();
        state.note_peppers([[3; 32], [4; 32], [4; 32]].into_iter());
        assert_eq!(state.peppers, [[2; 32], [3; 32], [4; 32]]);
        state.note_peppers((100..100 + PEPPERS_MAX as u8).map(|byte| [byte; 32]));
        assert_eq!(state.peppers.len(), PEPPERS_MAX);
        assert_eq!(state.peppers[0], [100; 32]);
        assert_eq!(State::parse(&state.to_bytes()), Some(state));
    }

    #[test]
    fn a_state_of_the_first_version_is_read() {
        let state = State {
            has_past: false,
            lent: None,
            enrolment: None,
            peppers: Vec::new(),
            ..state()
        };
        let own = SiteKey::of(state.key).enrolment();
        let mut bytes = state.to_bytes();
        // A list without members.
        bytes.truncate(bytes.len() - 1);
        bytes[0] = WITHOUT_PEPPERS;
        assert_eq!(State::parse(&bytes).as_ref(), Some(&state));
        // A number of three bytes, a hash, and five flags.
        bytes.truncate(bytes.len() - 3 - 32 - 5);
        bytes[0] = WITHOUT_LINK;
        let enrolment = Some(own);
        assert_eq!(State::parse(&bytes), Some(State { enrolment, ..state }));
        for version in [0, VERSION, VERSION + 1] {
            bytes[0] = version;
            assert_eq!(State::parse(&bytes), None);
        }
    }

    #[test]
    fn uses_are_lent_to_one_life_or_to_its_enrolment() {
        let check = |lent: Option<u128>, enrolment: Option<u128>, expected: bool| {
            let state = State {
                lent: lent.map(Uid),
                enrolment: enrolment.map(Uid),
                ..state()
            };
            assert_eq!(state.may_spend(), expected, "{lent:?} {enrolment:?}");
        };
        check(Some(9), Some(4), true);
        check(Some(9), None, true);
        check(Some(4), Some(4), true);
        check(Some(4), None, false);
        check(Some(5), Some(4), false);
        // A server that knew of none of this.
        check(None, None, true);
    }

    #[test]
    fn neither_an_older_pack_nor_an_older_word_takes_back_what_a_link_has_brought() {
        let linked = State {
            events: 18_300,
            events_hash: [4; 32],
            made: Timestamp(sample().made.0 + 60_000),
            ..state()
        };
        let base = linked.base.unwrap();
        let after = |state: &State, head: &Head| state.after(head, Vec::new(), base, None);
        let older = after(&linked, &sample());
        assert_eq!((older.pack, older.pack_events), (43, 18_211));
        assert_eq!((older.events, older.events_hash), (18_300, [4; 32]));
        assert_eq!(older.made, linked.made);
        let newer = Head {
            events: 18_400,
            made: Timestamp(linked.made.0 + 1_000),
            ..sample()
        };
        let newer_state = after(&linked, &newer);
        assert_eq!((newer_state.events, newer_state.made), (18_400, newer.made));
        // An operator has accepted that the server was restored.
        let accepted = State {
            fork: Fork::Accepted,
            ..linked.clone()
        };
        assert_eq!(after(&accepted, &sample()).events, 18_211);
        let restored = Head {
            reign: 2,
            ..sample()
        };
        assert_eq!(after(&linked, &restored).made, restored.made);
    }
}
