//! One application of the files: what its parts share, and the events of its changes.

use super::Change;
use crate::authz::caller::Caller;
use crate::domain::audit::changes::parse;
use crate::domain::audit::{Changes, Event, Kind, Target};
use crate::domain::declared::{Complaint, Place, SOURCE, Stanza};
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::refusals;
use crate::store::Write;
use std::sync::Arc;

/// One application of the files, in a transaction.
pub struct Work<'a> {
    pub tx: &'a Write<'a>,
    pub index: &'a Arc<Index>,
    pub files: &'a KeyFiles,
    pub system: &'a Caller,
    pub now: Timestamp,
    pub allow_management: bool,
    pub complaints: Vec<Complaint>,
    pub changes: Vec<Change>,
    /// In their order; they are written at the end of the transaction.
    pub events: Vec<Event>,
}

/// A change that is to be recorded.
pub struct Note<'a> {
    pub action: &'static str,
    pub target: Target,
    pub name: &'a str,
    /// The uid of the workspace; empty for things of the whole server.
    pub workspace: String,
    pub changes: Changes,
    /// Where it is declared; `None` if no file names it now.
    pub place: Option<&'a Place>,
    /// Where it was declared.
    pub source: &'a str,
}

impl Work<'_> {
    /// Notes a change and its event: path and line are its source, and its reason is the SHA-256 of the file.
    pub fn note(&mut self, note: Note<'_>) {
        let (source, reason) = match note.place {
            Some(place) => (
                place.source(),
                format!("the file has the SHA-256 {}", place.file.sha256_text()),
            ),
            None => (
                note.source.to_owned(),
                "the file names it no more".to_owned(),
            ),
        };
        let verb = note.action.split_once('.').map_or("", |(_, verb)| verb);
        let changes = note.changes.into_json();
        let members = parse(&changes).unwrap_or_default();
        self.changes.push(Change {
            verb: verb.to_owned(),
            kind: note.target.kind,
            name: note.name.to_owned(),
            id: note.target.id.clone(),
            place: source.trim_start_matches(SOURCE).to_owned(),
            members: members.into_iter().map(|(member, _)| member).collect(),
        });
        let event = Event {
            workspace: note.workspace,
            source,
            reason,
            changes,
            ..Event::of_system(note.action, note.target, self.now)
        };
        // What the index has of the target is no longer true from here on, which matters for policies and catalogs.
        if event.target.kind != Kind::Key {
            self.tx.touch(event.target.clone());
        }
        self.events.push(event);
    }

    /// Turns a refusal into a complaint about a stanza. Faults of the store stay errors.
    pub fn judge<T>(&mut self, at: &Stanza<()>, result: Result<T>) -> Result<Option<T>> {
        let why = match result {
            Ok(value) => return Ok(Some(value)),
            Err(Error::Conflict(why) | Error::Forbidden(why)) => why,
            Err(Error::Invalid { field, reason }) => refusals::declared::value(field, reason),
            Err(other) => return Err(other),
        };
        self.complaints.push(Complaint::at(&at.place, why));
        Ok(None)
    }
}
