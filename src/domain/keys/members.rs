//! The members of a key in one table: their names and types, what each means, and how the audit log records it.
//!
//! What the rest of the code needs to know about a member follows from this table or from an exhaustive `match` on
//! [`Member`]. A new member therefore either is treated correctly everywhere, or does not compile, or fails a test that
//! names the place. `docs/adding-a-member.md` lists these places.

use super::KeyId;
use super::address::AddressList;
use super::quota::RateLimit;
use crate::domain::policies::STANDARD;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;

/// What a member of a key means. This determines who may change it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// Set when the key is issued. No edit changes it.
    Identity,
    /// For people only. Every caller who may change the key may change it.
    Label,
    /// Determines what the key opens. Only callers who manage the keys of the workspace may change it.
    Limit,
    /// Other services receive it with every verdict, and may decide by it. Callers who may issue the key may change it,
    /// but the key itself never may.
    ForServices,
    /// Whether the key is enabled. Callers disable and enable a key, whatever its policy opens for edits.
    Switch,
    /// What has happened to the key. Only the server writes it.
    State,
}

/// How the audit log records a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Logged {
    /// Among the changes of an event, whenever it is set. Without an event it has the value of [`Key::blank`].
    Change,
    /// As [`Logged::Change`], but every use of the key lowers the value without an event.
    Maximum,
    /// By another part of the event: its target, workspace, actor, action or time.
    Event,
    /// Not at all: only the seal of the key protects it.
    Never,
}

/// The metadata of a key that has none.
pub const NO_METADATA: &str = "{}";

/// Generates [`Key`], [`Member`] and what is known about each member from one list, in the order in which answers,
/// forms and events show the members.
macro_rules! members {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $blank:expr, $member:ident $meaning:ident $logged:ident;)*) => {
        /// A key as the store has it.
        #[derive(Clone, Debug)]
        pub struct Key {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Key {
            /// A key on which nobody has set any member.
            pub fn blank() -> Key {
                Key {
                    $($name: $blank,)*
                }
            }
        }

        /// One member of a key.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Member {
            $($member,)*
        }

        impl Member {
            /// Every member, in the order of the table.
            pub const ALL: &'static [Member] = &[$(Member::$member,)*];

            /// The name of the member in requests, answers, policies and the audit log.
            pub fn word(self) -> &'static str {
                match self {
                    $(Member::$member => stringify!($name),)*
                }
            }

            pub fn meaning(self) -> Meaning {
                match self {
                    $(Member::$member => Meaning::$meaning,)*
                }
            }

            pub fn logged(self) -> Logged {
                match self {
                    $(Member::$member => Logged::$logged,)*
                }
            }

            /// The value that a key has, in the form of the audit log.
            pub fn text(self, key: &Key) -> Option<String> {
                match self {
                    $(Member::$member => key.$name.text(),)*
                }
            }

            /// Gives a key the value of another one.
            #[cfg(test)]
            pub fn copy(self, from: &Key, to: &mut Key) {
                match self {
                    $(Member::$member => to.$name = from.$name.clone(),)*
                }
            }
        }
    };
}

members! {
    id: KeyId = KeyId(0), Id Identity Event;
    /// The start and the end of the newest secret, which may be shown.
    hint: String = String::new(), Hint State Never;
    name: String = String::new(), Name Label Change;
    description: String = String::new(), Description Label Change;
    /// Who to call about the key: a name, an email address or a telephone number.
    contact: String = String::new(), Contact Label Change;
    workspace: Uid = Uid(0), Workspace Identity Event;
    /// The user whose rights limit the rights of the key, if the key has an owner.
    owner: Option<Uid> = None, Owner Limit Change;
    policy: String = STANDARD.to_owned(), Policy Identity Change;
    /// The catalog that defines the scopes. Without a catalog, scopes are free words that are compared exactly.
    catalog: Option<String> = None, Catalog Identity Change;
    scopes: Vec<String> = Vec::new(), Scopes Limit Change;
    read_only: bool = false, ReadOnly Limit Change;
    enabled: bool = true, Enabled Switch Change;
    not_before: Option<Timestamp> = None, NotBefore Limit Change;
    /// The first instant at which the key no longer works.
    expires_at: Option<Timestamp> = None, ExpiresAt Limit Change;
    allowed_ips: Option<AddressList> = None, AllowedIps Limit Change;
    rate_limit: Option<RateLimit> = None, RateLimit Limit Change;
    /// The uses that the store still has; uses that are reserved in memory are already subtracted.
    uses_left: Option<u64> = None, UsesLeft Limit Maximum;
    /// A compact JSON object.
    metadata: String = NO_METADATA.to_owned(), Metadata ForServices Change;
    created_by: String = String::new(), CreatedBy Identity Event;
    created_at: Timestamp = Timestamp(0), CreatedAt Identity Event;
    rotated_at: Option<Timestamp> = None, RotatedAt State Event;
    /// The address of the newest rotation, if the key rotated itself.
    self_rotated_from: Option<String> = None, SelfRotatedFrom State Event;
    deleted_at: Option<Timestamp> = None, DeletedAt State Event;
    /// Where the key comes from: empty if it was issued here, `import:SYSTEM`, or `file:PATH:LINE`.
    source: String = String::new(), Source State Never;
    /// Whether the newest secret was made by another system, so that its strength is unknown.
    weak: bool = false, Weak State Never;
    /// The name in the file that declares the key.
    declared_name: Option<String> = None, DeclaredName State Never;
    /// The digest in that file, as it is written there.
    declared_digest: Option<String> = None, DeclaredDigest State Never;
    /// SHA-256 of what was applied from that file, in hexadecimal.
    declared_state: Option<String> = None, DeclaredState State Never;
    /// Whether the key was disabled by hand, so that its file does not enable it.
    held: bool = false, Held State Never;
    /// A small number for clients that need one.
    number: i64 = 0, Number Identity Never;
}

impl Member {
    /// The member of a name.
    pub fn parse(word: &str) -> Option<Member> {
        let mut all = Member::ALL.iter().copied();
        all.find(|member| member.word() == word)
    }

    /// Whether an edit of the member can restrict what the key opens, or what services permit it.
    pub fn narrows(self) -> bool {
        match self.meaning() {
            Meaning::Label => false,
            Meaning::Limit | Meaning::ForServices => true,
            // An edit that changes the rest would be one that this version does not know.
            Meaning::Identity | Meaning::State => true,
            // Switching a key off or on has lines of its own among the tombstones.
            Meaning::Switch => false,
        }
    }

    /// The members that a policy can open for edits, in the order of their names.
    pub fn editable() -> Vec<Member> {
        let is_open = |member: &&Member| match member.meaning() {
            Meaning::Label | Meaning::Limit | Meaning::ForServices => true,
            Meaning::Identity | Meaning::State | Meaning::Switch => false,
        };
        let mut open: Vec<Member> = Member::ALL.iter().filter(is_open).copied().collect();
        open.sort_unstable_by_key(|member| member.word());
        open
    }
}

/// The form of a value in the audit log; `None` for a member that has no value.
trait Text {
    fn text(&self) -> Option<String>;
}

macro_rules! displayed {
    ($($type:ty)*) => {
        $(impl Text for $type {
            fn text(&self) -> Option<String> {
                Some(self.to_string())
            }
        })*
    };
}

displayed! { AddressList KeyId RateLimit String Timestamp Uid bool i64 u64 }

impl Text for Vec<String> {
    fn text(&self) -> Option<String> {
        Some(self.join(" "))
    }
}

impl<T: Text> Text for Option<T> {
    fn text(&self) -> Option<String> {
        self.as_ref().and_then(T::text)
    }
}

#[cfg(test)]
impl Key {
    /// A plain key for the tests of other modules.
    pub fn sample() -> Key {
        Key {
            id: KeyId(1),
            number: 1,
            name: "sample".to_owned(),
            workspace: Uid(1),
            created_by: "system".to_owned(),
            ..Key::blank()
        }
    }

    /// A key on which every member is set, so that tests notice a member that a place leaves out.
    pub fn full() -> Key {
        Key {
            id: KeyId(2),
            hint: "lk_0000000002…abcd".to_owned(),
            name: "full".to_owned(),
            description: "everything".to_owned(),
            contact: "ops@example.com".to_owned(),
            workspace: Uid(2),
            owner: Some(Uid(3)),
            policy: "other".to_owned(),
            catalog: Some("billing".to_owned()),
            scopes: vec!["a:read".to_owned(), "b".to_owned()],
            read_only: true,
            enabled: false,
            not_before: Some(Timestamp(1_000)),
            expires_at: Some(Timestamp(2_000)),
            allowed_ips: AddressList::parse("allowed_ips", ["192.0.2.0/24"]).ok(),
            rate_limit: Some(RateLimit {
                limit: 5,
                window_s: 60,
                exact: true,
            }),
            uses_left: Some(7),
            metadata: r#"{"plan":"gold"}"#.to_owned(),
            created_by: "user:alice".to_owned(),
            created_at: Timestamp(3_000),
            rotated_at: Some(Timestamp(4_000)),
            self_rotated_from: Some("192.0.2.7".to_owned()),
            deleted_at: Some(Timestamp(5_000)),
            source: "import:kong".to_owned(),
            weak: true,
            declared_name: Some("prometheus".to_owned()),
            declared_digest: Some("sha256:ab".to_owned()),
            declared_state: Some("cd".to_owned()),
            held: true,
            number: 9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_another_name_and_a_value_to_test_with() {
        let (blank, full) = (Key::blank(), Key::full());
        for member in Member::ALL {
            let word = member.word();
            assert_eq!(Member::parse(word), Some(*member), "{word}");
            assert_ne!(member.text(&blank), member.text(&full), "{word}");
            let mut copy = blank.clone();
            member.copy(&full, &mut copy);
            for other in Member::ALL {
                let from = if other == member { &full } else { &blank };
                assert_eq!(other.text(&copy), other.text(from), "{word}");
            }
        }
    }

    /// The words stand in the rows of policies, so a released word is never renamed or left out.
    #[test]
    fn policies_open_labels_limits_and_what_services_receive() {
        let words: Vec<&str> = Member::editable().iter().map(|it| it.word()).collect();
        let released = "allowed_ips description expires_at metadata name not_before owner rate_limit read_only scopes \
                        uses_left";
        let missing: Vec<&str> = released
            .split(' ')
            .filter(|word| !words.contains(word))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
        for never in [
            Member::Id,
            Member::Policy,
            Member::Enabled,
            Member::DeletedAt,
        ] {
            assert!(!words.contains(&never.word()), "{}", never.word());
        }
    }
}
