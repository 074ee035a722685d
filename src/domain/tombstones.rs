//! Tombstones: records outside the database of what has ended, so that restoring a backup never restores access that
//! was withdrawn.
//!
//! A tombstone is derived from audit events alone. So the tombstone file can be created again from the audit log,
//! and it survives the loss of the log. Each tombstone is one line: `<milliseconds> <verb> <kind> <id> <check>`. The
//! check is the first 16 digits of the SHA-256 of the text before it and its length. A line `<milliseconds> mark
//! <number> <hash> <check>` records up to which event the audit log was examined; the hash shows whether it is still
//! the same log. For `given` lines see [`super::numbers`].

use super::audit::changes;
use super::numbers::{Numbers, Series};
pub use super::tombstone_marks::Mark;
use super::tombstone_marks::Marks;
use crate::domain::audit::{Event, Kind, Outcome, digest_of};
use crate::domain::keys::Member;
use crate::domain::packs::site;
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;

/// What happened to the thing that a tombstone is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// A second factor or a public key of a user was added, removed, enabled or disabled.
    Authenticator,
    /// The limits of the thing were edited, so an older state may permit more.
    Changed,
    /// The clock was corrected, or the date went back: times before this line can be later than times after it. The
    /// id is the number of the event.
    Clock,
    /// The secret before the newest one of the key has ended.
    Completed,
    Deleted,
    Off,
    On,
    /// The password of a user was changed.
    Password,
    /// A user or workspace has given up a name. The id is this name, which never has the form of a uid.
    Retired,
    /// A recovery code of the user was used, or all of them were replaced.
    RecoveryCodes,
    /// The earlier secrets of the key were replaced.
    Rotated,
}

const VERBS: [(Verb, &str); 11] = [
    (Verb::Authenticator, "authenticator"),
    (Verb::Changed, "changed"),
    (Verb::Clock, "clock"),
    (Verb::Completed, "completed"),
    (Verb::Deleted, "deleted"),
    (Verb::Off, "off"),
    (Verb::On, "on"),
    (Verb::Password, "password"),
    (Verb::RecoveryCodes, "recovery_codes"),
    (Verb::Retired, "retired"),
    (Verb::Rotated, "rotated"),
];

/// One tombstone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tombstone {
    pub at: Timestamp,
    pub verb: Verb,
    pub kind: Kind,
    pub id: String,
}

/// The combined effect of all lines about one thing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CombinedEffect {
    pub deleted: Option<Timestamp>,
    /// The time of the last switch, and whether it switched the thing on.
    pub switched: Option<(Timestamp, bool)>,
    pub rotated: Option<Timestamp>,
    pub completed: Option<Timestamp>,
    pub changed: Option<Timestamp>,
    pub password: Option<Timestamp>,
    pub retired: Option<Timestamp>,
    pub authenticator: Option<Timestamp>,
    pub recovery_codes: Option<Timestamp>,
}

/// The combined content of a tombstone file.
#[derive(Clone, Debug, Default)]
pub struct Tombstones {
    pub fates: BTreeMap<(&'static str, String), CombinedEffect>,
    pub mark: Option<Mark>,
    /// The marks of the log that [`Tombstones::mark`] belongs to.
    pub marks: Marks,
    /// Numbers up to these may have been assigned.
    pub given: Numbers,
    /// The latest time of any line since the last correction of the clock.
    pub latest: Option<Timestamp>,
    /// The numbers and the times of the events that corrected the clock.
    pub clocks: BTreeMap<i64, Timestamp>,
    /// The number of lines that were read, and below the number of damaged lines.
    pub lines: usize,
    pub damaged: usize,
}

/// Whether an edit of a key can have restricted what the key opens. Changes that this version cannot read, or of a
/// member that it does not know, count.
fn narrows(changes: &str) -> bool {
    let narrows = |(word, _): &(String, _)| Member::parse(word).is_none_or(Member::narrows);
    changes::parse(changes).is_none_or(|members| members.iter().any(narrows))
}

/// Actions that define a new time: later times continue from the time of their event.
const CLOCK_ACTIONS: [&str; 3] = ["clock.accept", "server.close_older_copy", "server.restore"];

/// Actions with which an older copy becomes the log that goes on. Their events have marks, by which a file knows that it belongs to it.
const LOG_ACTIONS: [&str; 2] = ["server.close_older_copy", "server.restore"];

/// An event that is so much earlier than the one before it shows that a wrong date was corrected. A smaller difference
/// is that between changes which waited for the writer together.
const BACK_MS: i64 = 1_000;

/// The lines of an event after one with the time `before`.
pub fn following(event: &Event, before: Option<Timestamp>) -> Vec<String> {
    let is_back = before.is_some_and(|before| event.at.0 < before.0 - BACK_MS);
    let clock = is_back.then(|| Tombstone::of_clock(event.seq, event.at));
    let begins_log =
        event.outcome == Outcome::Allowed && LOG_ACTIONS.contains(&event.action.as_str());
    let mark = begins_log.then(|| Mark::of(event).line());
    let tombstones = clock.into_iter().chain(of(event));
    tombstones.map(|one| one.line()).chain(mark).collect()
}

/// The tombstones of an event alone. An unknown action counts as a change of limits.
pub fn of(event: &Event) -> Vec<Tombstone> {
    if event.outcome != Outcome::Allowed {
        return Vec::new();
    }
    let target = site::disabled_key(event).unwrap_or_else(|| event.target.clone());
    let verb = event.action.split_once('.').map_or("", |(_, verb)| verb);
    let has = |text: String| event.changes.contains(&text);
    let switched = |on: bool| has(format!(r#""enabled":["{}","{on}"]"#, !on));
    let edited = |member: &&str| has(format!("\"{member}\":["));
    let switch = [(switched(false), Verb::Off), (switched(true), Verb::On)];
    let switch = switch
        .into_iter()
        .filter_map(|(is, verb)| is.then_some(verb));
    if CLOCK_ACTIONS.contains(&event.action.as_str()) {
        return vec![Tombstone::of_clock(event.seq, event.at)];
    }
    let verbs: Vec<Verb> = match (target.kind, verb) {
        (Kind::Site, "remove") => vec![Verb::Deleted],
        // What a site was given before a restore, it takes only if its operator accepts the restore.
        (Kind::Server | Kind::Session | Kind::Site, _) => Vec::new(),
        (Kind::Key | Kind::User | Kind::Workspace, "tampered") => switch.collect(),
        // A restore withdraws no access because of failed attempts to sign in.
        (Kind::User, "lock" | "unlock") => Vec::new(),
        (
            _,
            "accept" | "create" | "install" | "issue" | "page" | "release" | "reveal" | "tampered",
        ) => Vec::new(),
        // What an alarm led to has an event of its own.
        (Kind::Key, "leaked" | "old_secret_tried" | "tripped") => Vec::new(),
        (Kind::Catalog, "put" | "delete") => vec![Verb::Changed],
        (Kind::Policy, "delete") => Vec::new(),
        (_, "delete" | "revoke") | (Kind::Key, "replace") => vec![Verb::Deleted],
        (_, "disable") => vec![Verb::Off],
        (_, "enable") => vec![Verb::On],
        (Kind::Key, "rotate") => vec![Verb::Rotated],
        (Kind::Key, "rotation_complete") => vec![Verb::Completed],
        (Kind::Key, "edit") => {
            let narrowed = narrows(&event.changes).then_some(Verb::Changed);
            switch.chain(narrowed).collect()
        }
        (Kind::User, "edit") => switch.collect(),
        // The roles in a workspace end with it.
        (Kind::User, "roles") if edited(&"workspace") => Vec::new(),
        (Kind::User, "password" | "set_up") => vec![Verb::Password],
        (Kind::User, "authenticator_edit") if !edited(&"enabled") => Vec::new(),
        (Kind::User, "authenticator_add" | "authenticator_delete" | "authenticator_edit") => {
            vec![Verb::Authenticator]
        }
        (Kind::User, "recovery_code_use" | "recovery_codes_create" | "recovery_codes_delete") => {
            vec![Verb::RecoveryCodes]
        }
        (Kind::Workspace, "edit") => {
            let moved = edited(&"parent").then_some(Verb::Changed);
            switch.chain(moved).collect()
        }
        _ => vec![Verb::Changed],
    };
    let one = |verb| Tombstone {
        at: event.at,
        verb,
        kind: target.kind,
        id: target.id.clone(),
    };
    let name = retired_name(event).map(|name| Tombstone {
        id: name,
        ..one(Verb::Retired)
    });
    verbs.into_iter().map(one).chain(name).collect()
}

/// The name of a user, or the slug of a workspace, that its holder has lost by an event.
pub fn retired_name(event: &Event) -> Option<String> {
    let member = match event.target.kind {
        Kind::User => "user_name",
        Kind::Workspace => "slug",
        Kind::Catalog | Kind::Key | Kind::Policy | Kind::Server | Kind::Session | Kind::Site => {
            return None;
        }
    };
    let name = changes::before(&event.changes, member)?;
    // A name has neither blanks nor line ends. A text that has any is not a name, and must not damage the file.
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    (event.outcome == Outcome::Allowed && is_name).then_some(name)
}

impl Tombstone {
    /// The tombstone of an event that corrected the clock.
    pub fn of_clock(seq: i64, at: Timestamp) -> Tombstone {
        Tombstone {
            at,
            verb: Verb::Clock,
            kind: Kind::Server,
            id: seq.to_string(),
        }
    }

    /// The line of the file, with its line end.
    pub fn line(&self) -> String {
        let verb = VERBS.iter().find(|(verb, _)| *verb == self.verb);
        let verb = verb.map_or("changed", |(_, word)| word);
        checked(&format!(
            "{} {verb} {} {}",
            self.at.0,
            self.kind.as_str(),
            self.id
        ))
    }
}

impl Tombstones {
    /// Reads a file. A damaged line is counted and skipped, because every line is independent of the others.
    pub fn parse(bytes: &[u8]) -> Tombstones {
        let mut all = Tombstones::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            let read = std::str::from_utf8(line)
                .ok()
                .and_then(|line| all.take(line));
            match read {
                Some(()) => all.lines += 1,
                None => all.damaged += 1,
            }
        }
        all
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (text, _) = line.rsplit_once(' ')?;
        if checked(text).trim_end() != line {
            return None;
        }
        let words: Vec<&str> = text.split(' ').collect();
        let [at, verb, kind, id] = words.as_slice() else {
            return None;
        };
        let at = Timestamp(at.parse().ok()?);
        if *verb == "given" {
            self.given.set(Series::parse(kind)?, id.parse().ok()?);
        } else if *verb == "mark" {
            self.add_mark(Mark {
                at,
                seq: kind.parse().ok()?,
                hash: u64::from_str_radix(id, 16).ok()?,
            });
        } else {
            let (verb, _) = VERBS.iter().find(|(_, word)| word == verb)?;
            if *verb == Verb::Clock {
                self.clocks.insert(id.parse().ok()?, at);
                self.latest = Some(at);
                return Some(());
            }
            self.add(&Tombstone {
                at,
                verb: *verb,
                kind: Kind::parse(kind)?,
                id: (*id).to_owned(),
            });
        }
        self.latest = self.latest.max(Some(at));
        Some(())
    }

    /// Adds a later mark.
    pub fn add_mark(&mut self, mark: Mark) {
        self.marks.add(mark);
        self.mark = Some(mark);
    }

    /// The time when a copy was made whose newest event is `newest`, in terms of the times in this file. If the clock
    /// was corrected after that event, later lines can have earlier times than the event, so the result is the
    /// earliest of these times.
    pub fn copied_at(&self, newest: Option<Mark>) -> Timestamp {
        let (seq, at) = newest.map_or((0, Timestamp(0)), |event| (event.seq, event.at));
        let since = self.clocks.range(seq + 1..).map(|(_, at)| *at);
        since.fold(at, Timestamp::min)
    }

    /// Adds a later tombstone.
    pub fn add(&mut self, one: &Tombstone) {
        let name = (one.kind.as_str(), one.id.clone());
        let fate = self.fates.entry(name).or_default();
        let at = Some(one.at);
        match one.verb {
            Verb::Authenticator => fate.authenticator = fate.authenticator.max(at),
            Verb::Changed | Verb::Clock => fate.changed = fate.changed.max(at),
            Verb::Completed => fate.completed = fate.completed.max(at),
            Verb::Deleted => fate.deleted = fate.deleted.max(at),
            Verb::Off => fate.switched = Some((one.at, false)),
            Verb::On => fate.switched = Some((one.at, true)),
            Verb::Password => fate.password = fate.password.max(at),
            Verb::RecoveryCodes => fate.recovery_codes = fate.recovery_codes.max(at),
            Verb::Retired => fate.retired = fate.retired.max(at),
            Verb::Rotated => fate.rotated = fate.rotated.max(at),
        }
    }

    /// The smallest set of lines with the same effect.
    pub fn compact(&self) -> String {
        let mut text = String::new();
        for ((kind, id), fate) in &self.fates {
            let Some(kind) = Kind::parse(kind) else {
                continue;
            };
            let mut write = |at: Option<Timestamp>, verb| {
                if let Some(at) = at {
                    let id = id.clone();
                    text.push_str(&Tombstone { at, verb, kind, id }.line());
                }
            };
            if fate.deleted.is_some() {
                write(fate.deleted, Verb::Deleted);
                continue;
            }
            let switch = fate.switched;
            let verb = if switch.is_some_and(|(_, on)| on) {
                Verb::On
            } else {
                Verb::Off
            };
            write(switch.map(|(at, _)| at), verb);
            write(fate.rotated, Verb::Rotated);
            write(fate.completed, Verb::Completed);
            write(fate.changed, Verb::Changed);
            write(fate.password, Verb::Password);
            write(fate.authenticator, Verb::Authenticator);
            write(fate.recovery_codes, Verb::RecoveryCodes);
            write(fate.retired, Verb::Retired);
        }
        // The time of a mark can be one before the clock was corrected, so it comes before the corrections.
        for mark in self.marks.thinned(|seq| self.clocks.contains_key(&seq)) {
            text.push_str(&mark.line());
        }
        for (seq, at) in &self.clocks {
            text.push_str(&Tombstone::of_clock(*seq, *at).line());
        }
        let at = self.latest.unwrap_or(Timestamp(0));
        text.push_str(&Numbers::default().lines(self.given, at));
        text
    }
}

/// The first eight bytes of a hash.
pub fn short(hash: &[u8; 32]) -> u64 {
    let first = hash.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first)
}

/// A line with its check and its line end.
pub(super) fn checked(text: &str) -> String {
    let check = short(&digest_of(&[text.as_bytes()]));
    format!("{text} {check:016x}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{GENESIS, Target};

    fn event(action: &str, kind: Kind, changes: &str) -> Event {
        Event {
            seq: 7,
            at: Timestamp(1_000),
            actor: String::new(),
            action: action.to_owned(),
            target: Target::new(kind, "x"),
            workspace: String::new(),
            source: String::new(),
            request_id: String::new(),
            outcome: Outcome::Allowed,
            reason: String::new(),
            changes: changes.to_owned(),
            previous: GENESIS,
        }
    }

    #[track_caller]
    fn check(action: &str, kind: Kind, changes: &str, expected: &[Verb]) {
        let found = of(&event(action, kind, changes));
        let verbs: Vec<Verb> = found.iter().map(|one| one.verb).collect();
        assert_eq!(verbs, expected, "{action} {changes}");
    }

    #[test]
    fn whatever_takes_something_away_leaves_a_tombstone() {
        let off = r#"{"enabled":["true","false"]}"#;
        let on = r#"{"enabled":["false","true"]}"#;
        check("key.issue", Kind::Key, r#"{"scopes":["","a"]}"#, &[]);
        check("key.delete", Kind::Key, "", &[Verb::Deleted]);
        check("key.replace", Kind::Key, "", &[Verb::Deleted]);
        check("key.revoke", Kind::Key, "", &[Verb::Deleted]);
        check("key.disable", Kind::Key, off, &[Verb::Off]);
        check("key.enable", Kind::Key, on, &[Verb::On]);
        check("key.rotate", Kind::Key, "", &[Verb::Rotated]);
        check("key.rotation_complete", Kind::Key, "", &[Verb::Completed]);
        check("key.edit", Kind::Key, off, &[Verb::Off]);
        check("key.edit", Kind::Key, r#"{"name":["a","b"]}"#, &[]);
        check(
            "key.edit",
            Kind::Key,
            r#"{"expires_at":[null,"1"]}"#,
            &[Verb::Changed],
        );
        check(
            "key.edit",
            Kind::Key,
            r#"{"metadata":["{}","{\"plan\":1}"]}"#,
            &[Verb::Changed],
        );
        check(
            "key.edit",
            Kind::Key,
            r#"{"a_limit_of_a_later_version":[null,"1"]}"#,
            &[Verb::Changed],
        );
        check("key.edit", Kind::Key, "unreadable", &[Verb::Changed]);
        // A value that looks like a member does not count as one.
        check(
            "key.edit",
            Kind::Key,
            r#"{"name":["\"scopes\":[","b"]}"#,
            &[],
        );
        check("user.edit", Kind::User, off, &[Verb::Off]);
        check("user.edit", Kind::User, r#"{"email":[null,"a"]}"#, &[]);
        check("user.roles", Kind::User, "", &[Verb::Changed]);
        check("user.lock", Kind::User, "", &[]);
        check("user.unlock", Kind::User, "", &[]);
        check(
            "user.delete",
            Kind::User,
            r#"{"user_name":["alice",""]}"#,
            &[Verb::Deleted, Verb::Retired],
        );
        check(
            "workspace.create",
            Kind::Workspace,
            r#"{"slug":["","emea"]}"#,
            &[],
        );
        check(
            "workspace.edit",
            Kind::Workspace,
            r#"{"slug":["emea","europe"]}"#,
            &[Verb::Retired],
        );
        check("user.password", Kind::User, "", &[Verb::Password]);
        check(
            "user.authenticator_add",
            Kind::User,
            r#"{"kind":["","one_time_code"]}"#,
            &[Verb::Authenticator],
        );
        check(
            "user.authenticator_edit",
            Kind::User,
            off,
            &[Verb::Authenticator],
        );
        check(
            "user.authenticator_edit",
            Kind::User,
            r#"{"description":["a","b"]}"#,
            &[],
        );
        check(
            "user.recovery_code_use",
            Kind::User,
            r#"{"recovery_codes_left":["10","9"]}"#,
            &[Verb::RecoveryCodes],
        );
        check(
            "workspace.edit",
            Kind::Workspace,
            r#"{"parent":["a","b"]}"#,
            &[Verb::Changed],
        );
        check("policy.edit", Kind::Policy, "", &[Verb::Changed]);
        check("catalog.put", Kind::Catalog, "", &[Verb::Changed]);
        check("key.something_new", Kind::Key, "", &[Verb::Changed]);
        check("server.init", Kind::Server, "", &[]);
        check("session.create", Kind::Session, "", &[]);
        let denied = Event {
            outcome: Outcome::Denied,
            ..event("key.delete", Kind::Key, "")
        };
        assert!(of(&denied).is_empty());
    }

    /// At the next restore, an action that this file does not know closes its target. If that is intended, add it here.
    #[test]
    fn every_action_is_known() {
        #[rustfmt::skip]
        const KNOWN: [&str; 57] = [
            "catalog.delete", "catalog.install", "catalog.put", "key.delete", "key.disable", "key.edit", "key.enable", "key.tampered",
            "key.export", "key.import", "key.issue", "key.replace", "key.reveal", "key.revoke", "key.rotate", "catalog.tampered",
            "key.rotation_complete", "policy.create", "policy.delete", "policy.page", "policy.edit", "policy.install", "policy.tampered",
            "user.authenticator_add", "user.authenticator_delete", "user.authenticator_edit", "user.create", "user.tampered", "user.delete",
            "user.edit", "user.lock", "user.password", "user.recovery_code_use", "user.recovery_codes_create", "user.recovery_codes_delete",
            "user.roles", "user.set_up", "user.unlock", "workspace.create", "workspace.delete", "workspace.edit", "session.create",
            "session.delete", "workspace.tampered", "session.refresh", "user.preferences", "catalog.accept", "key.accept", "policy.accept",
            "user.accept", "workspace.accept", "catalog.release", "key.release", "policy.release", "key.leaked", "key.old_secret_tried",
            "key.tripped",
        ];
        let mut folders = vec![std::path::PathBuf::from("src/ops")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                for word in text.split('"').filter(|word| word.len() < 40) {
                    let noun = word.split_once('.').map_or("", |(noun, _)| noun);
                    let about = ["catalog", "key", "policy", "user", "workspace"].contains(&noun);
                    let plain = word
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || ".-_".contains(c));
                    if about && plain {
                        assert!(KNOWN.contains(&word), "{word} in {}", path.display());
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_counted() {
        let mark = Mark::of(&event("key.delete", Kind::Key, ""));
        let mut text = String::new();
        for (action, changes) in [("key.disable", ""), ("key.rotate", ""), ("key.enable", "")] {
            let event = event(action, Kind::Key, changes);
            text.extend(of(&event).iter().map(Tombstone::line));
        }
        text.push_str(&mark.line());
        let read = Tombstones::parse(text.as_bytes());
        assert_eq!((read.lines, read.damaged, read.mark), (4, 0, Some(mark)));
        let fate = read.fates[&("key", "x".to_owned())];
        assert_eq!(fate.switched, Some((Timestamp(1_000), true)));
        assert_eq!(fate.rotated, Some(Timestamp(1_000)));
        assert_eq!(
            Tombstones::parse(read.compact().as_bytes()).fates,
            read.fates
        );

        // After a cut at any position the complete lines count, and the last one is missing or damaged. A changed
        // byte damages only its line.
        for cut in 0..text.len() {
            let read = Tombstones::parse(&text.as_bytes()[..cut]);
            assert!(read.lines + read.damaged <= 4 && read.damaged <= 1, "{cut}");
        }
        let mut flipped = text.clone().into_bytes();
        flipped[3] ^= 1;
        let read = Tombstones::parse(&flipped);
        assert_eq!((read.lines, read.damaged), (3, 1));
    }
}
