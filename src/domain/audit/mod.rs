//! The audit log: the content of an event, and the hash chain that reveals tampering.
//!
//! Every event contains the hash of the event before it. So a row that was changed, removed or moved breaks the chain
//! at a known event. The head of the chain is sealed with the seal key, so that rows cannot be removed from the end
//! either.

pub mod actions;
pub mod changes;
pub mod named;

use super::json;
use super::time::Timestamp;
use ring::digest::{Context, SHA256};

/// The value of `previous` in the first event.
pub const GENESIS: [u8; 32] = [0; 32];

/// The number of characters of a changed value that an event stores.
const VALUE_CHARS_MAX: usize = 1000;

/// One row of the audit log. It never contains a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Gap-free, from 1.
    pub seq: i64,
    pub at: Timestamp,
    /// `key:<id>`, `user:<name>`, `local:<uid>` or `system`.
    pub actor: String,
    /// `noun.verb`, such as `key.rotate`.
    pub action: String,
    pub target: Target,
    /// The uid of the workspace that the target belongs to; empty if the target belongs to the whole server.
    pub workspace: String,
    /// The client's address, `unix`, or empty.
    pub source: String,
    pub request_id: String,
    pub outcome: Outcome,
    /// For a denied action: the reason.
    pub reason: String,
    /// The changed members as compact JSON: `{"name":["old","new"]}`.
    pub changes: String,
    /// The hash of the event before this one.
    pub previous: [u8; 32],
}

/// Whether the action was carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Allowed,
    Denied,
}

/// The subject of an event. The index also loads it again after the commit; see [`named`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Target {
    pub kind: Kind,
    /// The id of the target within its kind: the ten characters of a key, a uid, a name; empty for the server itself.
    pub id: String,
}

/// The kinds of things that events are about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    Catalog,
    Key,
    Policy,
    Server,
    Session,
    Site,
    User,
    Workspace,
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::Catalog, "catalog"),
    (Kind::Key, "key"),
    (Kind::Policy, "policy"),
    (Kind::Server, "server"),
    (Kind::Session, "session"),
    (Kind::Site, "site"),
    (Kind::User, "user"),
    (Kind::Workspace, "workspace"),
];

impl Kind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Kind> {
        KINDS.iter().map(|(kind, _)| *kind)
    }

    pub fn as_str(self) -> &'static str {
        KINDS
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, word)| word)
    }

    pub fn parse(text: &str) -> Option<Kind> {
        KINDS
            .iter()
            .find(|(_, word)| *word == text)
            .map(|(kind, _)| *kind)
    }
}

impl Outcome {
    pub const ALL: [Outcome; 2] = [Outcome::Allowed, Outcome::Denied];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
        }
    }

    pub fn parse(text: &str) -> Option<Outcome> {
        Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }
}

impl Target {
    pub fn new(kind: Kind, id: impl ToString) -> Target {
        Target {
            kind,
            id: id.to_string(),
        }
    }

    /// The server itself as a target.
    pub fn server() -> Target {
        Target::new(Kind::Server, "")
    }
}

impl Event {
    /// An event that the server causes itself, without changes and without its position in the chain.
    pub fn of_system(action: impl Into<String>, target: Target, at: Timestamp) -> Event {
        Event {
            seq: 0,
            at,
            actor: "system".to_owned(),
            action: action.into(),
            target,
            workspace: String::new(),
            source: String::new(),
            request_id: String::new(),
            outcome: Outcome::Allowed,
            reason: String::new(),
            changes: String::new(),
            previous: GENESIS,
        }
    }

    /// The hash that the next event stores as `previous`: a digest of every member.
    pub fn hash(&self) -> [u8; 32] {
        digest_of(&[
            &self.previous,
            &self.seq.to_be_bytes(),
            &self.at.0.to_be_bytes(),
            self.actor.as_bytes(),
            self.action.as_bytes(),
            self.target.kind.as_str().as_bytes(),
            self.target.id.as_bytes(),
            self.workspace.as_bytes(),
            self.source.as_bytes(),
            self.request_id.as_bytes(),
            self.outcome.as_str().as_bytes(),
            self.reason.as_bytes(),
            self.changes.as_bytes(),
        ])
    }
}

/// SHA-256 over a list of byte strings. Each is preceded by its length, so that two different lists never have the
/// same input to the hash.
pub fn digest_of(texts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The changes of an edit: collected member by member, written as `{"member":[before, after]}`.
#[derive(Debug, Default)]
pub struct Changes(Vec<(&'static str, String, String)>);

impl Changes {
    /// Records a member if its two values differ, with the values as `Display` writes them.
    pub fn note<T: PartialEq + std::fmt::Display>(
        &mut self,
        member: &'static str,
        before: &T,
        after: &T,
    ) {
        if before != after {
            self.0.push((member, quoted(before), quoted(after)));
        }
    }

    /// Records a member that may be absent.
    pub fn note_option<T: PartialEq + std::fmt::Display>(
        &mut self,
        member: &'static str,
        before: &Option<T>,
        after: &Option<T>,
    ) {
        let text = |value: &Option<T>| match value {
            Some(value) => quoted(value),
            None => "null".to_owned(),
        };
        if before != after {
            self.0.push((member, text(before), text(after)));
        }
    }

    /// Records the current value of a member without the earlier one, for a value that was changed without an event.
    pub fn note_always(&mut self, member: &'static str, after: Option<&str>) {
        let after = after.map_or("null".to_owned(), |value| quoted(&value));
        self.0.push((member, "null".to_owned(), after));
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this member was changed and no other.
    pub fn only(&self, member: &str) -> bool {
        matches!(self.0.as_slice(), [(changed, _, _)] if *changed == member)
    }

    /// The changed members, each with the new value as an event stores it.
    pub fn into_json_and_back(self) -> Vec<(String, Option<String>)> {
        changes::parse(&self.into_json()).unwrap_or_default()
    }

    /// The changes as the compact JSON of an event; empty if there are no changes.
    pub fn into_json(self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let members: Vec<String> = self
            .0
            .iter()
            .map(|(member, before, after)| format!("\"{member}\":[{before},{after}]"))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

/// A JSON string of at most a thousand characters.
fn quoted(value: &dyn std::fmt::Display) -> String {
    let text: String = value.to_string().chars().take(VALUE_CHARS_MAX).collect();
    json::string(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn sample() -> Event {
        Event {
            seq: 1,
            at: Timestamp(1),
            actor: "key:0123456789".to_owned(),
            action: "key.issue".to_owned(),
            target: Target::new(Kind::Key, "0000000001"),
            workspace: String::new(),
            source: "127.0.0.1".to_owned(),
            request_id: "r".to_owned(),
            outcome: Outcome::Allowed,
            reason: String::new(),
            changes: String::new(),
            previous: GENESIS,
        }
    }

    #[test]
    fn every_member_changes_the_hash() {
        let original = sample().hash();
        let changes: [fn(&mut Event); 12] = [
            |e| e.seq = 2,
            |e| e.at = Timestamp(2),
            |e| e.actor.push('x'),
            |e| e.action.push('x'),
            |e| e.target.kind = Kind::User,
            |e| e.target.id.push('x'),
            |e| e.workspace.push('x'),
            |e| e.source.push('x'),
            |e| e.request_id.push('x'),
            |e| e.outcome = Outcome::Denied,
            |e| e.reason.push('x'),
            |e| e.previous[31] = 1,
        ];
        for (position, change) in changes.iter().enumerate() {
            let mut event = sample();
            change(&mut event);
            assert_ne!(event.hash(), original, "change {position}");
        }
        let mut moved = sample();
        moved.actor = "key:0123456789key".to_owned();
        moved.action = ".issue".to_owned();
        assert_ne!(moved.hash(), original);
    }

    #[test]
    fn changes_are_written_as_json() {
        let mut changes = Changes::default();
        changes.note("name", &"a\"b", &"c\n");
        changes.note("same", &1, &1);
        changes.note_option("expires_at", &None, &Some(5));
        assert_eq!(
            changes.into_json(),
            r#"{"name":["a\"b","c\u000a"],"expires_at":[null,"5"]}"#
        );
        assert_eq!(Changes::default().into_json(), "");
    }
}
