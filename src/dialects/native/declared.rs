//! What files declare, in the words of this API: a stanza has the members of the body that would create the same thing. And
//! the handlers that compare the store with the files, and apply them: `/v1/declared`.

use super::keys::bodies::KeyMembersBody;
use super::keys::members;
use super::policies::{NewPolicyBody, new_policy};
use crate::domain::catalogs::{Catalog, Definition};
use crate::domain::declared::Complaint;
use crate::domain::keys::imported::PepperedDigest;
use crate::domain::keys::scheme::GivenDigest;
use crate::domain::keys::secret::check_prefix;
use crate::domain::keys::{ID_PATTERN, KeyId};
use crate::domain::policies::Policy;
use crate::domain::text::{self, NAME_CHARS_MAX};
use crate::domain::users::permissions::Permission::ServerAdmin;
use crate::error::{Error, Result};
use crate::http::bodies::catalog::NewCatalogBody;
use crate::http::describe::Document;
use crate::http::describe::bodies::{Requested, answer, request};
use crate::http::describe::schema::{Components, Flat, Schema};
use crate::http::fields::Fields;
use crate::http::numbers;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::declared::{self, Change, DeclaredKey, Outcome};
use crate::ops::keys::members::KeyMembers;
use crate::refusals;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// The maximum length of a hint.
const HINT_CHARS_MAX: usize = 100;

request! {
    /// A key in a file. Absent members mean the policy's default.
    struct KeyStanzaBody as "KeyStanza" {
        /// Identifies the key among all that files declare.
        name: String [minLength = 1, maxLength = NAME_CHARS_MAX] = "prometheus",
        /// As `latchkey key draw` prints it; absent for a secret that another system has made.
        id: Option<String> [pattern = ID_PATTERN],
        /// The digest of the whole secret: `sha256:` and 64 hexadecimal digits, as `latchkey key digest` prints it; or one of
        /// the other forms that an import takes.
        digest: Option<String>,
        /// For a slow digest of another system: the start of the secret, by which it is found.
        found_by: Option<String>,
        /// For a digest `latchkey:` of an export: the fingerprint of its pepper, which this server must have.
        pepper_fingerprint: Option<String>,
        /// The start and the end of the secret, for people who look for it.
        hint: Option<String> [maxLength = HINT_CHARS_MAX],
        /// Slug or uid; by default the root workspace.
        workspace: Option<String>,
        /// User name or uid; by default the key has no owner.
        owner: Option<String>,
        policy: Option<String>,
        catalog: Option<String>,
        members: Flat<KeyMembersBody>,
    }
}

answer! {
    /// What applying the files has changed, or would change.
    struct AppliedBody<'a> as "AppliedFiles" {
        /// Whether the store is now what the files declare, or was already.
        settled: bool = true,
        folders: Vec<String> = ["/usr/lib/latchkey/keys.d", "/etc/latchkey/keys.d"],
        files: Vec<&'a str> = ["/etc/latchkey/keys.d/10-site.toml"],
        /// Why nothing was changed; empty if everything was applied.
        complaints: Vec<ComplaintBody<'a>>,
        changes: Vec<ChangeBody<'a>> = [ChangeBody::example()],
        /// What the files declare and the store will not have: digests that were ended, keys that were disabled by hand.
        warnings: Vec<ComplaintBody<'a>>,
        /// The number of keys that were as the files declare them.
        unchanged: usize = 11,
    }
}

answer! {
    struct ComplaintBody<'a> as "FileComplaint" {
        path: &'a str = "/etc/latchkey/keys.d/10-site.toml",
        /// Counted from 1; null if the complaint is about the whole file.
        line: Option<usize> = 14,
        reason: String = "digest was ended 2026-11-02 (event 212); draw a new secret",
    }
}

answer! {
    struct ChangeBody<'a> as "FileChange" {
        /// `issue`, `edit`, `rotate`, `disable`, `enable`, `delete`, `release`, `create` or `put`. A released thing is named by no
        /// file any more, and is edited by hand again.
        verb: &'a str = "issue",
        kind: &'static str = "key",
        name: &'a str = "prometheus",
        /// The id of a key; the name of anything else.
        id: &'a str = super::keys::bodies::EXAMPLE_ID,
        /// The path and the line where it is declared, or was.
        place: &'a str = "/etc/latchkey/keys.d/10-site.toml:14",
        members: &'a [String] = ["scopes"],
    }
}

request! {
    struct ApplyBody as "" {
        /// Whether nothing is changed, and the answer names what would be.
        dry_run: Option<bool> = true,
        /// The folders that the caller expects; the request is refused if the server reads others.
        folders: Option<Vec<String>>,
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document.group("server", "The server itself.");
    document
        .add(
            "get /v1/declared",
            "compareFiles",
            "Compare the store with the files that declare keys",
        )
        .about("What `POST /v1/declared/apply` would change.")
        .needs(&[ServerAdmin])
        .answers::<AppliedBody>(200, "The differences.");
    document
        .add("post /v1/declared/apply", "applyFiles", "Apply the files that declare keys")
        .about(
            "The server reads the files of its folders, as at a start and at SIGHUP. Everything is applied in one transaction, or \
             nothing: a bad file is in `complaints`, with its line.",
        )
        .needs(&[ServerAdmin])
        .optional_body::<ApplyBody>()
        .answers::<AppliedBody>(200, "What was changed.")
        .conflicts();
}

impl<'a> AppliedBody<'a> {
    fn of(outcome: &'a Outcome) -> AppliedBody<'a> {
        let complaint = |complaint: &'a Complaint| ComplaintBody {
            path: &complaint.path,
            line: complaint.line,
            reason: complaint.why.to_string(),
        };
        let change = |change: &'a Change| ChangeBody {
            verb: &change.verb,
            kind: change.kind.as_str(),
            name: &change.name,
            id: &change.id,
            place: &change.place,
            members: &change.members,
        };
        AppliedBody {
            settled: outcome.is_settled(),
            folders: outcome
                .folders
                .iter()
                .map(|folder| folder.display().to_string())
                .collect(),
            files: outcome.files.iter().map(String::as_str).collect(),
            complaints: outcome.complaints.iter().map(complaint).collect(),
            changes: outcome.changes.iter().map(change).collect(),
            warnings: outcome.warnings.iter().map(complaint).collect(),
            unchanged: outcome.unchanged.unwrap_or_default(),
        }
    }
}

/// `GET /v1/declared`
pub fn compare(call: &Call<'_>) -> Result<Reply> {
    let outcome = declared::apply(call.app, call.caller()?, None, true)?;
    Ok(Reply::json(200, &AppliedBody::of(&outcome)))
}

/// `POST /v1/declared/apply`
pub fn apply(call: &Call<'_>) -> Result<Reply> {
    let body = ApplyBody::of_optional(call.request)?;
    let folders = body
        .folders
        .map(|folders| folders.into_iter().map(PathBuf::from).collect());
    let dry_run = body.dry_run.unwrap_or(false);
    let outcome = declared::apply(call.app, call.caller()?, folders, dry_run)?;
    Ok(Reply::json(200, &AppliedBody::of(&outcome)))
}

/// The kinds of stanzas.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Catalog,
    Key,
    Policy,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Catalog, Kind::Key, Kind::Policy];

    /// The kind with this name in double brackets.
    pub fn of(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The name in double brackets.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Catalog => "catalog",
            Kind::Key => "key",
            Kind::Policy => "policy",
        }
    }

    /// The JSON Schema of a stanza, and the schemas that it refers to.
    pub fn schema(self) -> (Value, Map<String, Value>) {
        let mut components = Components::default();
        let whole = match self {
            Kind::Catalog => NewCatalogBody::schema(&mut components),
            Kind::Key => KeyStanzaBody::schema(&mut components),
            Kind::Policy => NewPolicyBody::schema(&mut components),
        };
        (whole, components.into_map())
    }
}

/// Reads a key from its stanza as a JSON object.
pub fn key(stanza: Map<String, Value>) -> Result<(String, DeclaredKey)> {
    if let Some(metadata) = stanza.get("metadata") {
        numbers::check_whole(metadata.to_string().as_bytes(), "metadata")?;
    }
    let body = KeyStanzaBody::whole(Fields::of_members(stanza))?;
    text::check_name("name", &body.name)?;
    let id = body
        .id
        .as_deref()
        .map(|id| KeyId::parse(id).ok_or_else(|| Error::invalid("id", refusals::declared::id())));
    let digest = body
        .digest
        .ok_or_else(|| Error::invalid("digest", refusals::declared::digest_needed()))?;
    let (found_by, fingerprint) = (body.found_by.as_deref(), body.pepper_fingerprint.as_deref());
    let peppered = PepperedDigest::read(&digest, found_by, fingerprint)?;
    let digest = match peppered {
        Some(peppered) => peppered.given(),
        None => GivenDigest::parse(&digest, found_by)?,
    };
    let id = id.transpose()?;
    // A secret with an id is found by it, and then compared at once.
    if id.is_some() && peppered.is_none() && digest.scheme.digest("").is_none() {
        return Err(Error::invalid(
            "digest",
            refusals::declared::digest_with_id(),
        ));
    }
    if let Some(hint) = &body.hint {
        check_hint(hint, id)?;
    }
    let members = members(body.members.0);
    if members.expires_in_s.is_some() {
        return Err(Error::invalid(
            "expires_in_s",
            refusals::declared::expires_in(),
        ));
    }
    let key = DeclaredKey {
        id,
        digest_text: digest.to_text(),
        digest,
        peppered,
        hint: body.hint,
        workspace: body.workspace,
        policy: body.policy,
        catalog: body.catalog,
        members: KeyMembers {
            name: Some(body.name.clone()),
            owner: Some(body.owner),
            ..members
        },
    };
    Ok((body.name, key))
}

/// Reads a policy from its stanza as a JSON object; absent members are as in `standard`.
pub fn policy(stanza: Map<String, Value>) -> Result<(String, Policy)> {
    let policy = new_policy(NewPolicyBody::whole(Fields::of_members(stanza))?)?;
    policy.check_definition()?;
    Ok((policy.name.clone(), policy))
}

/// Reads a catalog from its stanza as a JSON object.
pub fn catalog(stanza: Map<String, Value>) -> Result<(String, Definition)> {
    let body = NewCatalogBody::whole(Fields::of_members(stanza))?;
    let name = body
        .name
        .clone()
        .ok_or_else(|| Error::invalid("name", refusals::values::needed()))?;
    text::check_slug("name", &name)?;
    let refused = || "must be read or write".to_owned();
    let catalog = Catalog::compile(body.definition(&name, refused)?)?;
    Ok((name, catalog.definition().clone()))
}

/// Accepts a hint. That of a secret with an id holds the id, because a rotation takes the prefix from the hint.
fn check_hint(hint: &str, id: Option<KeyId>) -> Result<()> {
    text::check_line("hint", hint, HINT_CHARS_MAX)?;
    let Some(id) = id else {
        return Ok(());
    };
    let start = hint.split('…').next().unwrap_or_default();
    let prefix = start.strip_suffix(&format!("_{id}"));
    let is_own = prefix.is_some_and(|prefix| check_prefix("hint", prefix).is_ok())
        || start == format!("{:016x}", id.0);
    match is_own {
        true => Ok(()),
        false => Err(Error::invalid("hint", refusals::declared::hint())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::{Meaning, Member};
    use serde_json::json;

    /// A member that can be set in requests can be set in a file.
    #[test]
    fn a_stanza_has_every_member_of_a_key_that_can_be_set() {
        let (schema, components) = Kind::Key.schema();
        let whole = match schema["$ref"].as_str() {
            Some(path) => &components[path.rsplit('/').next().unwrap()],
            None => &schema,
        };
        for member in Member::ALL {
            let word = member.word();
            let can_be_set = match member.meaning() {
                Meaning::ForServices | Meaning::Label | Meaning::Limit | Meaning::Switch => true,
                Meaning::Identity => !matches!(
                    member,
                    Member::CreatedAt | Member::CreatedBy | Member::Number
                ),
                Meaning::State => *member == Member::Hint,
            };
            let is_there = whole["properties"].get(word).is_some();
            assert_eq!(is_there, can_be_set, "{word}");
        }
    }

    #[test]
    fn a_stanza_has_a_digest_and_a_hint_that_fits_its_id() {
        let digest = format!("sha256:{}", "477fe4".repeat(11).split_at(64).0);
        let read = |body: Value| key(body.as_object().unwrap().clone());
        let good = json!({ "name": "x", "digest": digest });
        assert_eq!(read(good).unwrap().1.id, None);
        assert!(read(json!({ "name": "x" })).is_err());
        let id = "k3J9aQ0xZb";
        for hint in ["lk_k3J9aQ0xZb…9fQ2", "acme_k3J9aQ0xZb…"] {
            let body = json!({ "name": "x", "id": id, "digest": digest, "hint": hint });
            assert_eq!(read(body).unwrap().1.hint.as_deref(), Some(hint));
        }
        for hint in ["lk_0000000000…9fQ2", "k3J9aQ0xZb…", "L_k3J9aQ0xZb…", ""] {
            let body = json!({ "name": "x", "id": id, "digest": digest, "hint": hint });
            assert!(read(body).is_err(), "{hint}");
        }
        let bcrypt = "$2b$04$abcdefghijklmnopqrstuuJ1k2l3m4n5o6p7q8r9s0t1u2v3w4x5y";
        let slow = json!({ "name": "x", "id": id, "digest": bcrypt, "found_by": "alice:" });
        assert!(read(slow).is_err());
    }
}
