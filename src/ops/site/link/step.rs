//! Applying steps: what the server has changed since the state of the site becomes what the index has. Only what a step touches
//! is looked at.
//!
//! As with packs, the commit of the state comes first, then the index, and only then the next question, with which the site
//! confirms the step. The files of the site stay those of its newest pack: after a restart the index has what they
//! have, and gives no verdict before steps have brought it at least to the state that was stored.

use crate::authz::caller::Caller;
use crate::domain::audit::Target;
use crate::domain::catalogs::Catalog;
use crate::domain::keys::KeyId;
use crate::domain::keys::live::Live;
use crate::domain::locks::{lock, read, write};
use crate::domain::packs::content::Content;
use crate::domain::packs::keys::PackedKey;
use crate::domain::packs::state::{Fork, State};
use crate::domain::packs::step::{Gone, Step};
use crate::domain::packs::word::SignedWord;
use crate::domain::policies::Policy;
use crate::domain::uid::Uid;
use crate::domain::workspaces::Workspace;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::App;
use crate::ops::site::content::{
    self, Distrusted, Overlay, compare_some, digests_of, live_of, parts_of,
};
use crate::ops::site::{Position, STEP, Site, change, put_state};
use crate::refusals;
use crate::store;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Applies a step that follows `position`, which the index has. The caller has the turn.
///
/// # Errors
/// The step cannot be applied to what the site has, or its state cannot be stored; then nothing has changed.
pub fn apply(
    app: &App,
    site: &Site,
    caller: &Caller,
    position: Position,
    signed: &SignedWord,
    step: &Step,
) -> Result<()> {
    let before = site.state();
    let state = before.after_step(&signed.word, signed.signed_by.clone());
    let content = step.content.as_ref();
    if content.is_none() && step.gone.is_empty() && !before.distrusts {
        // Most steps are empty. What they say of the server's events need not be stored: nothing that the site has depends on it.
        if before.fork != Fork::None || before.trusted != state.trusted {
            store_empty(app, site, caller, state)?;
        }
        *lock(&site.position) = Some(Position {
            events: signed.word.to,
            ..position
        });
        return Ok(());
    }
    if let Some(content) = content {
        require_peppers(app, content)?;
    }
    let ids = ids_of(step);
    let found = match content {
        Some(content) => content.find(&ids),
        None => vec![None; ids.len()],
    };
    let compared = compare_some(app, &ids, &found);
    let counts = compared.counts;
    let live: Vec<[u8; 32]> = found.iter().flatten().flat_map(digests_of).collect();
    let distrusted = match before.distrusts {
        true => distrusted(app, site, &found),
        false => Distrusted::default(),
    };
    let older = distrusted.older.clone();
    let (stored, digests) = (state.clone(), compared.digests);
    change(
        app,
        caller,
        STEP,
        Target::server(),
        move |tx, sealing, changes| {
            changes.note("events", &before.events, &stored.events);
            for (name, count) in [
                ("added", counts.added),
                ("changed", counts.changed),
                ("ended", counts.ended),
            ] {
                changes.note(name, &0, &count);
            }
            store::site::forget_revoked(tx, stored.events)?;
            for digest in &live {
                store::site::forget_digest(tx, digest)?;
            }
            for (digest, key) in &digests {
                store::site::end_digest(tx, digest, *key, false)?;
            }
            distrusted.store(tx)?;
            put_state(tx, sealing, &stored)
        },
    )?;
    if before.distrusts {
        site.forget_ended_starts();
    }
    // Read after the commit, which may have taken a revocation away that this step has itself.
    let overlay = app.read(|read| Overlay::read_of(read, site, &state, found.iter().flatten()))?;
    let removed = ids
        .iter()
        .zip(&found)
        .filter(|(id, new)| new.is_none() && app.index.with_key(**id, |_| ()).is_some());
    let keys = (position.keys + counts.added).saturating_sub(removed.count() as u64);
    *lock(&site.state) = state;
    install(app, site, step, &ids, &found, &overlay);
    content::end_older_again(app, &ids);
    for (id, digest) in &older {
        content::end_older_in_index(app, *id, digest);
    }
    lock(&site.stepped).add(&ids);
    *lock(&site.position) = Some(Position {
        events: signed.word.to,
        keys,
        ..position
    });
    Ok(())
}

/// What the site has of all keys, and what a step brings.
fn distrusted(app: &App, site: &Site, found: &[Option<PackedKey<'_>>]) -> Distrusted {
    let mut all = Distrusted {
        lent: read(&site.lent)
            .iter()
            .map(|(id, lent)| (*id, *lent))
            .collect(),
        older: content::until_first_use(app),
    };
    // What the step brings comes last, so that its numbers stay.
    let brought = Distrusted::of(found.iter().flatten().cloned());
    all.lent.extend(brought.lent);
    all.older.extend(brought.older);
    all
}

/// Stores a state that an empty step has changed: the keys that the site trusts, or that its server was not restored after all.
fn store_empty(app: &App, site: &Site, caller: &Caller, state: State) -> Result<()> {
    let stored = state.clone();
    change(
        app,
        caller,
        STEP,
        Target::server(),
        move |tx, sealing, changes| {
            changes.note_always("events", Some(&stored.events.to_string()));
            put_state(tx, sealing, &stored)
        },
    )?;
    *lock(&site.state) = state;
    Ok(())
}

/// Refuses keys under a version of the pepper that the site does not have: a pack brings it.
fn require_peppers(app: &App, content: &Content) -> Result<()> {
    let known = app.peppers.fingerprints();
    let is_known = |version: u16| known.iter().any(|(one, _)| *one == u32::from(version));
    let fits = content
        .keys()
        .all(|key| is_known(key.pepper) && key.older.is_none_or(|older| is_known(older.pepper)));
    match fits {
        true => Ok(()),
        false => Err(Error::Conflict(refusals::packs::body("peppers"))),
    }
}

/// The keys that a step touches, in the order of ids.
fn ids_of(step: &Step) -> Vec<KeyId> {
    let put = step
        .content
        .iter()
        .flat_map(Content::keys)
        .map(|key| key.id);
    let all: BTreeSet<KeyId> = put.chain(step.gone.keys.iter().copied()).collect();
    all.into_iter().collect()
}

fn install(
    app: &App,
    site: &Site,
    step: &Step,
    ids: &[KeyId],
    found: &[Option<PackedKey<'_>>],
    overlay: &Overlay,
) {
    let content = step.content.as_ref();
    let parts = content
        .map(|content| parts_of(app, content))
        .unwrap_or_default();
    let live = |(id, key): (&KeyId, &Option<PackedKey<'_>>)| {
        let live = key
            .as_ref()
            .and_then(|key| live_of(app, key, &parts, overlay));
        (*id, live)
    };
    let changed: Vec<(KeyId, Option<Live>)> = ids.iter().zip(found).map(live).collect();
    let surroundings = Surroundings::of(&app.index.directory(), content, &step.gone);
    {
        let mut lent = write(&site.lent);
        for (id, key) in ids.iter().zip(found) {
            match key.as_ref().and_then(|key| key.lent) {
                Some(all) => lent.insert(*id, all),
                None => lent.remove(id),
            };
        }
    }
    app.index
        .change_some(|directory| surroundings.put(directory), changed);
}

/// What a step changes in the directory.
struct Surroundings<'a> {
    workspaces: Vec<(Uid, Option<Workspace>)>,
    /// All of them, if any has changed.
    policies: Option<Vec<Policy>>,
    catalogs: Vec<(&'a str, Option<Arc<Catalog>>)>,
    content: Option<&'a Content>,
    gone: &'a Gone,
}

impl<'a> Surroundings<'a> {
    /// Compiles what has to be compiled, so that no verification waits for it.
    fn of(known: &Directory, content: Option<&'a Content>, gone: &'a Gone) -> Surroundings<'a> {
        let new = |workspace: &&Workspace| {
            let place = known.place(workspace.uid);
            place.is_none_or(|place| place.workspace != **workspace)
        };
        let workspaces = content.into_iter().flat_map(|content| &content.workspaces);
        let policies: Vec<&Policy> = content
            .into_iter()
            .flat_map(|content| &content.policies)
            .filter(|policy| {
                known
                    .policy(&policy.name)
                    .is_none_or(|one| **one != **policy)
            })
            .collect();
        let is_gone = |name: &String| gone.policies.contains(name);
        let is_new = |name: &String| policies.iter().any(|policy| policy.name == *name);
        let changed = !policies.is_empty() || !gone.policies.is_empty();
        let all = changed.then(|| {
            let kept = known
                .policies()
                .filter(|one| !is_gone(&one.name) && !is_new(&one.name));
            let kept = kept.map(|one| (**one).clone());
            kept.chain(policies.iter().map(|one| (*one).clone()))
                .collect()
        });
        let catalogs = content.into_iter().flat_map(|content| &content.catalogs);
        let catalogs = catalogs.filter(|definition| {
            let same = known.catalog(&definition.name);
            same.is_none_or(|same| same.definition() != *definition)
        });
        let compiled =
            catalogs.map(|definition| (definition.name.as_str(), content::compiled(definition)));
        let ended = gone.catalogs.iter().map(|name| (name.as_str(), None));
        Surroundings {
            workspaces: workspaces
                .filter(new)
                .map(|workspace| (workspace.uid, Some(workspace.clone())))
                .collect(),
            policies: all,
            catalogs: compiled.chain(ended).collect(),
            content,
            gone,
        }
    }

    fn put(self, directory: &mut Directory) {
        if !self.workspaces.is_empty() {
            directory.put_some_workspaces(self.workspaces);
        }
        if let Some(policies) = self.policies {
            directory.put_policies(policies);
        }
        for (name, catalog) in self.catalogs {
            directory.put_catalog(name, catalog);
        }
        for user in self.content.into_iter().flat_map(|content| &content.users) {
            directory.put_user(user.uid, Some(user.clone()));
        }
        for uid in &self.gone.users {
            directory.put_user(*uid, None);
        }
    }
}
