//! What a filter of the audit log asks for: its words, and the things that they stand for.

use crate::authz::caller::Caller;
use crate::domain::audit::{Event, Kind, Outcome, Target, actions};
use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;

/// How many keys of one name a filter finds.
const NAMESAKES_MAX: usize = 100;

/// A filter for the audit log. Absent members do not restrict.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// An actor as the log has it, its kind (`user`, `key`, `local` or `system`), or what follows the kind.
    pub actor: Option<String>,
    /// An action, or the noun of several.
    pub action: Option<String>,
    /// The id of a thing, also as `kind:id`; the name of a user, a workspace or a key counts as well.
    pub target: Option<String>,
    pub outcome: Option<Outcome>,
    /// The slug or the uid of the workspace that the events belong to.
    pub workspace: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Only events with a smaller number; the cursor.
    pub before: Option<i64>,
    /// Only events with a greater number.
    pub after: Option<i64>,
    pub limit: usize,
}

/// A filter whose words were looked up.
pub struct Query<'a> {
    asked: &'a EventFilter,
    /// The things that the events are about; `None` for all.
    pub targets: Option<Vec<Target>>,
    /// The uid of the workspace.
    workspace: Option<String>,
}

impl EventFilter {
    /// Looks up what the words stand for; refuses an action and a workspace that do not exist.
    pub fn query(&self, app: &App, caller: &Caller) -> Result<Query<'_>> {
        if let Some(action) = &self.action
            && !actions::is_known(action)
        {
            let known = actions::ALL.join(", ");
            return Err(Error::invalid("action", refusals::audit::action(known)));
        }
        let workspace = match &self.workspace {
            None => None,
            Some(text) => {
                let directory = app.index.directory();
                let place = directory.find_place(text).map(|place| place.workspace.uid);
                let known = place.filter(|uid| caller.knows(&directory, *uid));
                let unknown = || Error::invalid("workspace", refusals::audit::workspace(text));
                Some(known.ok_or_else(unknown)?.to_string())
            }
        };
        Ok(Query {
            asked: self,
            targets: self.target.as_ref().map(|text| targets(app, text)),
            workspace,
        })
    }
}

impl Query<'_> {
    /// Whether an event matches, apart from its target.
    pub fn fits(&self, event: &Event) -> bool {
        let asked = self.asked;
        asked.actor.as_ref().is_none_or(|who| acts(who, event))
            && asked.action.as_ref().is_none_or(|action| {
                *action == event.action || *action == actions::noun(&event.action)
            })
            && asked.outcome.is_none_or(|outcome| outcome == event.outcome)
            && self
                .workspace
                .as_ref()
                .is_none_or(|uid| *uid == event.workspace)
            && asked.since.is_none_or(|since| event.at >= since)
            && asked.until.is_none_or(|until| event.at < until)
    }
}

/// Whether the text names the actor of the event: as the log has it, by its kind, or without its kind.
fn acts(text: &str, event: &Event) -> bool {
    let (kind, id) = event.actor.split_once(':').unwrap_or((&event.actor, ""));
    text == event.actor || text == kind || (!id.is_empty() && text == id)
}

/// The things that a text can name.
fn targets(app: &App, text: &str) -> Vec<Target> {
    let named = text.split_once(':');
    let named = named.and_then(|(kind, id)| Some((Kind::parse(kind)?, id)));
    let (kinds, id) = match named {
        Some((kind, id)) => (vec![kind], id),
        None => (Kind::all().collect(), text),
    };
    let mut found: Vec<Target> = kinds.iter().map(|kind| Target::new(*kind, id)).collect();
    let directory = app.index.directory();
    if kinds.contains(&Kind::User)
        && let Some(user) = directory.find_user(&id.to_ascii_lowercase())
    {
        // Events of failed sign-ins have the name that was typed.
        found.push(Target::new(Kind::User, user.uid));
        found.push(Target::new(Kind::User, &user.user_name));
    }
    if kinds.contains(&Kind::Workspace)
        && let Some(place) = directory.find_place(id)
    {
        found.push(Target::new(Kind::Workspace, place.workspace.uid));
        found.push(Target::new(Kind::Workspace, &place.workspace.slug));
    }
    drop(directory);
    if kinds.contains(&Kind::Key) && KeyId::parse(id).is_none() && !id.is_empty() {
        let mut keys = 0;
        app.index.each_key(|_, key| {
            if key.name == id && keys < NAMESAKES_MAX {
                keys += 1;
                found.push(Target::new(Kind::Key, key.id));
            }
        });
    }
    found.sort_by(|a, b| (a.kind.as_str(), &a.id).cmp(&(b.kind.as_str(), &b.id)));
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_named_in_full_by_kind_or_without_it() {
        let by = |actor: &str| Event {
            actor: actor.to_owned(),
            ..Event::of_system("key.edit", Target::server(), Timestamp(0))
        };
        for (text, actor, fits) in [
            ("user:alice", "user:alice", true),
            ("alice", "user:alice", true),
            ("user", "user:alice", true),
            ("alic", "user:alice", false),
            ("user:", "user:alice", false),
            ("local", "local:0", true),
            ("system", "system", true),
            ("", "system", false),
            ("key:alice", "user:alice", false),
        ] {
            assert_eq!(acts(text, &by(actor)), fits, "{text} {actor}");
        }
    }
}
