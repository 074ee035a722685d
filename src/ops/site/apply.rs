//! Applying packs: checked, written to the folder, recorded with one commit, and only then in force.
//!
//! The commit of the state is what decides: before it, the folder has a file more than the state names, which the next start
//! looks at again; after it, a file that is no longer named, which the next start removes.

use super::content::{self, Applied, Distrusted, Overlay, Whole};
use super::held::{self, Held};
use super::{Site, change, put_state, require_local};
use crate::authz::caller::Caller;
use crate::domain::audit::Target;
use crate::domain::keys::KeyId;
use crate::domain::keys::pepper::Peppers;
use crate::domain::locks::lock;
use crate::domain::packs::Checked;
use crate::domain::packs::body::{Body, sha256};
use crate::domain::packs::content::Content;
use crate::domain::packs::file::{self, MAGIC, Parts};
use crate::domain::packs::head::{Head, SignedHead};
use crate::domain::packs::rules::{Verdict, Way, judge};
use crate::domain::packs::state::{Fork, HeldFile, State};
use crate::domain::text::counted;
use crate::error::{Error, Result};
use crate::files::private;
use crate::ops::App;
use crate::refusals;
use crate::store::{self, Durability};
use std::collections::BTreeSet;

/// A pack, and the whole one that it follows if that comes with it.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    pub newest: &'a [u8],
    pub base: Option<&'a [u8]>,
}

impl<'a> Files<'a> {
    /// Divides bytes into one pack, or into two that follow one another in either order.
    pub fn split(bytes: &'a [u8]) -> Checked<Files<'a>> {
        let (first, first_head, rest) = take_one(bytes)?;
        if rest.is_empty() {
            return Ok(Files {
                newest: first,
                base: None,
            });
        }
        let (second, second_head, rest) = take_one(rest)?;
        if !rest.is_empty() {
            return Err(refusals::site::pack_count());
        }
        let (newest, base) = match first_head.is_whole() && !second_head.is_whole() {
            true => (second, first),
            false => (first, second),
        };
        Ok(Files {
            newest,
            base: Some(base),
        })
    }
}

/// The pack at the start of bytes, its head, and what follows it. Nothing is checked but the lengths.
fn take_one(bytes: &[u8]) -> Checked<(&[u8], Head, &[u8])> {
    let parts = file::split(bytes)?;
    let (_, head) = Head::peek(parts.head)?;
    let body = usize::try_from(head.bytes).map_err(|_| refusals::packs::cut())?;
    let length = MAGIC.len() + 4 + parts.head.len();
    let length = length.checked_add(body).ok_or_else(refusals::packs::cut)?;
    match bytes.split_at_checked(length) {
        Some((one, rest)) => Ok((one, head, rest)),
        None => Err(refusals::packs::cut()),
    }
}

/// Applies a pack, or a whole one and one that follows it, as one step. Only for the administrator of the machine.
///
/// # Errors
/// `Conflict` with the reason for which the pack is not taken; then nothing has changed.
pub fn apply(app: &App, caller: &Caller, bytes: &[u8]) -> Result<Applied> {
    require_local(caller)?;
    let site = app.own_site()?;
    let files = Files::split(bytes).map_err(Error::Conflict)?;
    let _turn = lock(&site.turn);
    take(app, site, caller, files, Way::File)
}

/// Does the same for a caller who has the turn.
pub(super) fn take(
    app: &App,
    site: &Site,
    caller: &Caller,
    files: Files<'_>,
    way: Way,
) -> Result<Applied> {
    let state = site.state();
    let held = site.held();
    match look(&state, held.as_deref(), files, way).map_err(Error::Conflict)? {
        Some(new) => new.put(app, site, caller, &state, held.as_deref()),
        None => {
            let why = refusals::site::fork(&state.origin);
            note_fork(app, site, caller, state)?;
            Err(Error::Conflict(why))
        }
    }
}

/// What a site would have after a pack, from its state and what it holds alone; `None` if the server was restored.
fn look<'a>(
    state: &State,
    held: Option<&Held>,
    files: Files<'a>,
    way: Way,
) -> Checked<Option<New<'a>>> {
    let pack = Pack::open(state, files)?;
    let base = pack.base.as_ref().map(|(head, _)| &head.head);
    match judge(state, &pack.signed.head, base, held.map(Held::head), way)? {
        Verdict::Take => {
            let mut new = New::of(state, pack, held, files)?;
            // Over the link, a step that follows has what the pack may lack.
            new.state.distrusts &= way == Way::Link;
            Ok(Some(new))
        }
        Verdict::Fork => Ok(None),
    }
}

/// Packs whose signatures are checked; their bodies are not read yet.
struct Pack<'a> {
    signed: SignedHead,
    parts: Parts<'a>,
    base: Option<(SignedHead, Parts<'a>)>,
}

impl<'a> Pack<'a> {
    fn open(state: &State, files: Files<'a>) -> Checked<Pack<'a>> {
        let parts = file::split(files.newest)?;
        let signed = Head::open(parts.head, &state.trusted)?;
        let base = match files.base {
            None => None,
            Some(bytes) => {
                let parts = file::split(bytes)?;
                Some((Head::open(parts.head, &state.trusted)?, parts))
            }
        };
        Ok(Pack {
            signed,
            parts,
            base,
        })
    }
}

/// A pack that was read and checked as a whole, and what the site has of it then.
struct New<'a> {
    state: State,
    head: Head,
    /// The whole pack, unless it is the one that is held.
    base: Option<Content>,
    delta: Option<Body>,
    /// With the delta applied; without one, the base is the content.
    current: Option<Content>,
    peppers: Peppers,
    base_file: Option<&'a [u8]>,
    delta_file: Option<&'a [u8]>,
}

impl<'a> New<'a> {
    fn of(
        state: &State,
        pack: Pack<'_>,
        held: Option<&Held>,
        files: Files<'a>,
    ) -> Checked<New<'a>> {
        let head = pack.signed.head;
        let body = file::body_of(&head, pack.parts.body)?;
        let hash = |head: &Head, file: &[u8]| HeldFile {
            reign: head.reign,
            pack: head.pack,
            sha256: sha256(file),
        };
        let of_newest = hash(&head, files.newest);
        let (base, delta, base_file, of_base) = if head.is_whole() {
            let content = Content::of(body)?;
            (Some(content), None, Some(files.newest), of_newest)
        } else if let Some((signed, parts)) = pack.base {
            let content = Content::of(file::body_of(&signed.head, parts.body)?)?;
            let bytes = files.base.unwrap_or_default();
            let of_base = hash(&signed.head, bytes);
            (Some(content), Some(body), Some(bytes), of_base)
        } else {
            let of_base = state.base.ok_or_else(refusals::packs::other_base)?;
            (None, Some(body), None, of_base)
        };
        let known = base.as_ref().or(held.map(Held::base));
        let known = known.ok_or_else(refusals::packs::other_base)?;
        let current = match &delta {
            Some(delta) => Some(held::after(known, delta)?),
            None => None,
        };
        let content = current.as_ref().unwrap_or(known);
        if content.key_count() as u64 != head.keys {
            return Err(refusals::packs::body("count"));
        }
        let of_delta = delta.is_some().then_some(of_newest);
        let mut state = state.after(&head, pack.signed.signed_by, of_base, of_delta);
        let peppers = content::peppers(&mut state, content)?;
        Ok(New {
            state,
            delta_file: delta.is_some().then_some(files.newest),
            head,
            base,
            delta,
            current,
            peppers,
            base_file,
        })
    }

    /// Writes the files, commits the state, and puts the content into force.
    fn put(
        self,
        app: &App,
        site: &Site,
        caller: &Caller,
        before: &State,
        held: Option<&Held>,
    ) -> Result<Applied> {
        let known = self.base.as_ref().or(held.map(Held::base));
        let content = self.current.as_ref().or(known);
        let content = content.ok_or_else(|| Error::internal("a pack without a content"))?;
        // What has ended here may no longer be above the new pack.
        let ended = app.read(store::site::list_ended)?;
        let ended_secrets = app.read(store::site::list_ended_secrets)?;
        let touched = match (&self.base, held, &self.delta) {
            // Every counted key differs if its uses are lent to another life now.
            _ if before.may_spend() != self.state.may_spend() => None,
            (None, Some(held), Some(delta)) => content::touched(held.base(), held.delta(), delta),
            _ => None,
        };
        let touched: Option<Vec<KeyId>> = touched.and_then(|ids| {
            let stepped = lock(&site.stepped);
            let all: BTreeSet<KeyId> = ids
                .into_iter()
                .chain(ended.iter().map(|it| it.key))
                .chain(ended_secrets.iter().map(|it| it.key))
                .chain(stepped.ids.iter().copied())
                .collect();
            (!stepped.is_any).then(|| all.into_iter().collect())
        });
        let compared = content::compare(app, content, touched.as_deref());
        let back = come_back(app, content)?;
        self.write(site)?;
        let applied = Applied {
            pack: self.head.pack,
            base: self.head.base,
            made: self.head.made,
            until: self.head.until,
            keys: self.head.keys,
            counts: compared.counts,
        };
        let (stored, digests) = (self.state.clone(), compared.digests);
        let had = before.pack;
        let distrusted = match before.distrusts {
            true => Distrusted::of(content.keys()),
            false => Distrusted::default(),
        };
        // The link has brought more than this pack has: steps follow it before verdicts are given again.
        let goes_back = (self.head.reign, self.head.events) < (before.reign, before.events);
        let committed = change(
            app,
            caller,
            "site.apply",
            Target::server(),
            move |tx, sealing, changes| {
                changes.note("pack", &had, &stored.pack);
                changes.note_always("keys", Some(&applied.keys.to_string()));
                changes.note_always("ended", Some(&applied.counts.ended.to_string()));
                store::site::forget_revoked(tx, stored.pack_events)?;
                for digest in &back {
                    store::site::forget_digest(tx, digest)?;
                }
                for (digest, key) in &digests {
                    store::site::end_digest(tx, digest, *key, false)?;
                }
                distrusted.store(tx)?;
                put_state(tx, sealing, &stored)
            },
        );
        if let Err(err) = committed {
            // It may be on the disk nevertheless: what the file has counts.
            held::restore(app, site)?;
            return Err(err);
        }
        let overlay = app.read(|read| Overlay::read(read, &self.state))?;
        let lent = content::lent(content, &self.state);
        if goes_back {
            site.fresh.lease.end();
        }
        match touched {
            Some(ids) => {
                site.set(self.state.clone(), lent);
                content::install_some(app, site, content, &ids, &overlay, self.peppers);
                content::end_older_again(app, &ids);
            }
            None => {
                let whole = Whole::build(app, site, content, &overlay);
                site.set(self.state.clone(), lent);
                whole.install(app, self.peppers);
                let waiting = content::until_first_use(app);
                let ids: Vec<KeyId> = waiting.into_iter().map(|(id, _)| id).collect();
                content::end_older_again(app, &ids);
            }
        }
        site.hold(match (self.base, site.held()) {
            (Some(base), _) => Some(Held::new(self.head, base, self.delta)),
            (None, Some(held)) => Some(held.with(self.head, self.delta)),
            (None, None) => None,
        });
        site.sweep(&self.state);
        // The time at which the pack was made has passed, also if the clock of this machine is behind.
        app.clock.raise(applied.made);
        if let Err(err) = app.record_clock(Durability::Full) {
            log::warn!("site: the time at which the pack was made is not recorded: {err}");
        }
        log::info!(
            "site: pack {} is applied: {}, {} new, {} changed, {} ended; it counts until {}",
            applied.pack,
            counted(applied.keys, "key"),
            applied.counts.added,
            applied.counts.changed,
            applied.counts.ended,
            applied.until
        );
        Ok(applied)
    }

    fn write(&self, site: &Site) -> Result<()> {
        let base = self.state.base.as_ref();
        let put = |file: Option<&HeldFile>, of: Option<&HeldFile>, bytes: Option<&[u8]>| {
            let Some((file, bytes)) = file.zip(bytes) else {
                return Ok(());
            };
            let path = site.path_of(file, of);
            private::replace(&path, bytes).map_err(|err| {
                Error::Unavailable(refusals::server::file_unwritable(path.display(), err))
            })
        };
        if let Err(err) = private::make_folder(&site.folder) {
            let path = site.folder.display();
            return Err(Error::Unavailable(refusals::server::file_unwritable(
                path, err,
            )));
        }
        put(base, None, self.base_file)?;
        put(self.state.delta.as_ref(), base, self.delta_file)
    }
}

/// Those digests that had ended and that a content has again: the key has come back to this site.
fn come_back(app: &App, content: &Content) -> Result<Vec<[u8; 32]>> {
    let ended = app.read(|read| store::site::list_ended_digests(read, false))?;
    let mut keys: Vec<KeyId> = ended.iter().map(|(_, key)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    let found = content.find(&keys);
    let live = found.iter().flatten().flat_map(content::digests_of);
    let live: BTreeSet<[u8; 32]> = live.collect();
    let digests = ended.into_iter().map(|(digest, _)| digest);
    Ok(digests.filter(|digest| live.contains(digest)).collect())
}

/// Records that the server does not continue from what the site knows, once.
pub(super) fn note_fork(app: &App, site: &Site, caller: &Caller, mut state: State) -> Result<()> {
    if state.fork == Fork::Seen {
        return Ok(());
    }
    state.fork = Fork::Seen;
    let stored = state.clone();
    change(
        app,
        caller,
        "site.fork",
        Target::server(),
        move |tx, sealing, changes| {
            changes.note_always("pack", Some(&stored.pack.to_string()));
            put_state(tx, sealing, &stored)
        },
    )?;
    *lock(&site.state) = state;
    log::error!(
        "site: what the server signs now does not follow what this site knows: it was restored from a backup, or an older copy of \
         its folder was put back. The site keeps what it has; see: latchkey site status"
    );
    Ok(())
}

/// A site without a database, for tests that try many inputs.
#[cfg(test)]
pub(super) mod trial {
    use super::*;

    pub struct Trial {
        pub state: State,
        pub held: Option<Held>,
    }

    impl Trial {
        /// Takes bytes as the site would. A refusal changes nothing.
        pub fn take(&mut self, bytes: &[u8]) -> Checked<()> {
            let files = Files::split(bytes)?;
            let new = look(&self.state, self.held.as_ref(), files, Way::File)?;
            let new = new.ok_or_else(|| refusals::site::fork(&self.state.origin))?;
            let held = match (new.base, self.held.take()) {
                (Some(base), _) => Some(Held::new(new.head, base, new.delta)),
                (None, held) => held.map(|held| held.with(new.head, new.delta)),
            };
            *self = Trial {
                state: new.state,
                held,
            };
            Ok(())
        }

        /// The bytes of the body that is in force.
        pub fn body(&self) -> Option<Vec<u8>> {
            let held = self.held.as_ref()?;
            let base = held.base().body();
            let whole = match held.delta() {
                Some(delta) => base.apply(delta).ok()?.bytes().to_vec(),
                None => base.bytes().to_vec(),
            };
            Some(whole)
        }
    }
}
