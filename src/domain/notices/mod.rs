//! Notices: what an administrator or the owner of a key should hear of. This module holds their kinds and their content;
//! `ops::notices` finds and stores them, and `sinks` sends them to other machines.

pub mod filter;
pub mod repeats;
pub mod sink;

use super::audit::Target;
use super::json;
use super::time::Timestamp;
use super::uid::Uid;

/// The maximum length of a value in [`Data`], in characters.
const VALUE_CHARS_MAX: usize = 200;

/// What a notice is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    AuditBroken,
    BackupFailed,
    BackupOverdue,
    CertificateEnding,
    ClockDoubtful,
    DiskLow,
    KeyExpired,
    KeyExpiring,
    KeyLeaked,
    KeyNewSource,
    KeyTripped,
    KeyUnused,
    NoticesLost,
    SecretRetiredTried,
    SigninStrange,
    StoreEdited,
    UserCredentialsChanged,
}

/// Every kind with its word, in the order in which lists offer them.
const KINDS: [(Kind, &str); 17] = [
    (Kind::KeyExpiring, "key.expiring"),
    (Kind::KeyExpired, "key.expired"),
    (Kind::KeyUnused, "key.unused"),
    (Kind::KeyTripped, "key.tripped"),
    (Kind::KeyNewSource, "key.new_source"),
    (Kind::KeyLeaked, "key.leaked"),
    (Kind::SecretRetiredTried, "secret.retired_tried"),
    (Kind::SigninStrange, "signin.strange"),
    (Kind::UserCredentialsChanged, "user.credentials_changed"),
    (Kind::ClockDoubtful, "clock.doubtful"),
    (Kind::DiskLow, "disk.low"),
    (Kind::BackupFailed, "backup.failed"),
    (Kind::BackupOverdue, "backup.overdue"),
    (Kind::CertificateEnding, "certificate.ending"),
    (Kind::AuditBroken, "audit.broken"),
    (Kind::StoreEdited, "store.edited"),
    (Kind::NoticesLost, "notices.lost"),
];

impl Kind {
    /// The number of kinds.
    pub const COUNT: usize = KINDS.len();

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Kind> {
        KINDS.iter().map(|(kind, _)| *kind)
    }

    /// The word for the kind, such as `key.expiring`.
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

/// Facts about a notice: names that the code chooses, each with a short value. It never contains a secret, a digest or
/// metadata of a key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Data(Vec<(&'static str, String)>);

impl Data {
    /// Adds a fact. A long value is cut to 200 characters.
    pub fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Data {
        let text = value.to_string();
        self.0
            .push((name, text.chars().take(VALUE_CHARS_MAX).collect()));
        self
    }

    /// The facts as a JSON object of strings.
    pub fn to_json(&self) -> String {
        let members: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{}:{}", json::string(name), json::string(value)))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

/// A notice that is not stored yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Draft {
    pub kind: Kind,
    pub subject: Target,
    /// When it happened first.
    pub first_at: Timestamp,
    /// When it happened last.
    pub last_at: Timestamp,
    /// How often it happened; at least 1.
    pub count: u64,
    pub data: Data,
}

impl Draft {
    /// Counts a later one together with this one.
    pub fn add(&mut self, later: &Draft) {
        self.count = self.count.saturating_add(later.count);
        self.last_at = later.last_at;
    }

    /// A notice of something that has happened once.
    pub fn once(kind: Kind, subject: Target, at: Timestamp, data: Data) -> Draft {
        Draft {
            kind,
            subject,
            first_at: at,
            last_at: at,
            count: 1,
            data,
        }
    }
}

/// A stored notice. It never changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// The position in the table. It grows, and sinks remember how far they are.
    pub seq: i64,
    /// The same in every delivery of this notice.
    pub id: Uid,
    pub kind: Kind,
    pub subject: Target,
    /// The workspace of the subject; `None` for the whole server.
    pub workspace: Option<Uid>,
    /// The user whom it concerns: the owner of the key, or the user itself.
    pub user: Option<Uid>,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub count: u64,
    /// [`Data::to_json`].
    pub data: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_word_back() {
        for (kind, word) in KINDS {
            assert_eq!((Kind::parse(word), kind.as_str()), (Some(kind), word));
        }
        assert_eq!(Kind::parse("key"), None);
    }

    #[test]
    fn data_is_a_json_object_of_short_strings() {
        let data = Data::default()
            .with("address", "192.0.2.1")
            .with("path", "/\"a\n");
        assert_eq!(
            data.to_json(),
            r#"{"address":"192.0.2.1","path":"/\"a\u000a"}"#
        );
        let long = Data::default().with("x", "é".repeat(201));
        assert_eq!(long.to_json().chars().count(), 200 + r#"{"x":""}"#.len());
        assert_eq!(Data::default().to_json(), "{}");
    }
}
