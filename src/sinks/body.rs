//! What a sink sends: a notice or an audit event as CloudEvents 1.0 in JSON.

use crate::domain::audit::{Event, Target};
use crate::domain::hex::hex;
use crate::domain::notices::{Kind, Notice};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::http::bodies::audit::EventBody;
use crate::ops::notices::sinks::Item;
use serde::Serialize;
use serde_json::value::RawValue;
use std::io;

/// How the types of all messages begin.
const TYPES: &str = "latchkey.";
/// The source of all messages. It is the program, because a server does not know its own name.
const SOURCE: &str = "urn:latchkey";

/// A message for a sink.
#[derive(Debug)]
pub struct Message {
    /// The same in every delivery.
    pub id: String,
    /// The type without its start, such as `key.expiring`, `audit` or `test`.
    pub kind: &'static str,
    pub at: Timestamp,
    pub is_urgent: bool,
    /// One line of JSON.
    pub body: String,
}

/// CloudEvents 1.0, JSON format, structured mode.
#[derive(Serialize)]
struct CloudEvent<'a, D: Serialize> {
    specversion: &'static str,
    id: &'a str,
    source: &'static str,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    data: D,
}

#[derive(Serialize)]
struct NoticeData<'a> {
    seq: i64,
    /// The uid; null for the whole server.
    workspace: Option<String>,
    first_at: String,
    last_at: String,
    count: u64,
    facts: &'a RawValue,
}

/// An audit event as in the export, and the hash that the next event has as `previous`.
#[derive(Serialize)]
struct EventData<'a> {
    #[serde(flatten)]
    event: EventBody<'a>,
    hash: String,
}

impl Message {
    pub fn of(item: &Item) -> io::Result<Message> {
        match item {
            Item::Event(event) => Message::of_event(event),
            Item::Notice(notice) => Message::of_notice(notice),
        }
    }

    /// A message that only shows that the sink works.
    pub fn test(now: Timestamp) -> io::Result<Message> {
        let id = Uid::generate().map_err(io::Error::other)?.to_string();
        Message::new(&id, "test", "", now, false, serde_json::json!({}))
    }

    fn of_notice(notice: &Notice) -> io::Result<Message> {
        let facts = serde_json::from_str(&notice.data)?;
        let data = NoticeData {
            seq: notice.seq,
            workspace: notice.workspace.map(|uid| uid.to_string()),
            first_at: notice.first_at.to_string(),
            last_at: notice.last_at.to_string(),
            count: notice.count,
            facts,
        };
        Message::new(
            &notice.id.to_string(),
            notice.kind.as_str(),
            &subject(&notice.subject),
            notice.last_at,
            is_urgent(notice.kind),
            data,
        )
    }

    /// The id of an event is made of its number and its hash, so that it is the same in every delivery and differs from
    /// that of an event of a database that was replaced.
    fn of_event(event: &Event) -> io::Result<Message> {
        let hash = hex(&event.hash());
        let id = format!("{}-{}", event.seq, &hash[..16]);
        let body = EventBody::of(event).map_err(io::Error::other)?;
        let data = EventData { event: body, hash };
        Message::new(&id, "audit", &subject(&event.target), event.at, false, data)
    }

    fn new(
        id: &str,
        kind: &'static str,
        subject: &str,
        at: Timestamp,
        is_urgent: bool,
        data: impl Serialize,
    ) -> io::Result<Message> {
        let body = serde_json::to_string(&CloudEvent {
            specversion: "1.0",
            id,
            source: SOURCE,
            kind: format!("{TYPES}{kind}"),
            subject,
            time: at.to_string(),
            datacontenttype: "application/json",
            data,
        })?;
        Ok(Message {
            id: id.to_owned(),
            kind,
            at,
            is_urgent,
            body,
        })
    }
}

/// `key:k3J9aQ0xZb`, or `server` for the whole server.
fn subject(target: &Target) -> String {
    match target.id.as_str() {
        "" => target.kind.as_str().to_owned(),
        id => format!("{}:{id}", target.kind.as_str()),
    }
}

/// Whether an administrator should act at once.
fn is_urgent(kind: Kind) -> bool {
    match kind {
        Kind::AuditBroken
        | Kind::KeyLeaked
        | Kind::KeyTripped
        | Kind::SecretRetiredTried
        | Kind::SigninStrange
        | Kind::StoreEdited => true,
        Kind::BackupFailed
        | Kind::BackupOverdue
        | Kind::CertificateEnding
        | Kind::ClockDoubtful
        | Kind::DiskLow
        | Kind::KeyExpired
        | Kind::KeyExpiring
        | Kind::KeyNewSource
        | Kind::KeyUnused
        | Kind::NoticesLost
        | Kind::UserCredentialsChanged => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit;
    use serde_json::Value;

    #[test]
    fn a_notice_is_a_cloud_event_with_the_id_of_the_notice() {
        let notice = Notice {
            seq: 7,
            id: Uid(1),
            kind: Kind::KeyExpiring,
            subject: Target::new(audit::Kind::Key, "k3J9aQ0xZb"),
            workspace: Some(Uid(2)),
            user: None,
            first_at: Timestamp(0),
            last_at: Timestamp(1_000),
            count: 2,
            data: r#"{"within":"7d"}"#.to_owned(),
        };
        let message = Message::of_notice(&notice).unwrap();
        let body: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["specversion"], "1.0");
        assert_eq!(body["id"], Uid(1).to_string());
        assert_eq!(body["type"], "latchkey.key.expiring");
        assert_eq!(body["subject"], "key:k3J9aQ0xZb");
        assert_eq!(body["time"], "1970-01-01T00:00:01Z");
        assert_eq!(body["data"]["facts"]["within"], "7d");
        assert_eq!(body["data"]["count"], 2);
        assert!(!message.body.contains('\n'));
    }

    #[test]
    fn an_event_has_its_number_and_its_hash() {
        let target = Target::new(audit::Kind::Key, "k3J9aQ0xZb");
        let event = Event {
            seq: 42,
            ..Event::of_system("key.issue", target, Timestamp(1_000))
        };
        let message = Message::of_event(&event).unwrap();
        let body: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["type"], "latchkey.audit");
        assert_eq!(body["data"]["seq"], 42);
        assert_eq!(body["data"]["hash"], hex(&event.hash()));
        assert!(message.id.starts_with("42-"));
    }
}
