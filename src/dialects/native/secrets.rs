//! The versions of the key files. Their content is never in an answer.

use crate::domain::keys::keyfile::KeyKind;
use crate::domain::keys::scheme::Scheme;
use crate::domain::users::permissions::Permission::ServerAdmin;
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::describe::bodies::{Requested, answer, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::secrets::retire::Retired;
use crate::ops::secrets::rotate::Rotated;
use crate::ops::secrets::{self, KindStatus, Status, VersionStatus, retire, rotate};
use crate::refusals;
use crate::store::key_versions::ForeignCount;

const KINDS: [&str; 3] = [
    KeyKind::ALL[0].as_str(),
    KeyKind::ALL[1].as_str(),
    KeyKind::ALL[2].as_str(),
];

answer! {
    /// What stands under each version of each key file.
    struct StatusBody as "SecretsStatus" {
        files: Vec<FileBody>,
        /// Secrets whose digests other systems made; each is replaced by one under the pepper at its first use.
        foreign: Vec<ForeignBody>,
        /// Digests that were used and are about to be replaced by one under the newest pepper.
        upgrades_waiting: u64,
        /// The files whose newest version no `latchkey secrets backup` has saved.
        unsaved: Vec<&'static str>,
    }
}

answer! {
    struct FileBody as "KeyFile" {
        file: &'static str [enum = KINDS] = "pepper",
        path: String = "/var/lib/latchkey/pepper",
        /// Whether the service manager provides the file, so that the server cannot replace it.
        provided: bool,
        /// The oldest first.
        versions: Vec<VersionBody>,
    }
}

answer! {
    /// A version of a key file. What does not apply to the file is 0.
    struct VersionBody as "KeyFileVersion" {
        version: u32 = 1,
        /// Whether new digests, seals and copies are made with it.
        newest: bool = true,
        /// When this database first had it; null if an earlier version of Latchkey recorded no time.
        added_at: Option<Time>,
        /// When `latchkey secrets backup` last saved it.
        backed_up_at: Option<Time>,
        /// Whether everything was made again under this version that can be made without the secrets themselves.
        settled: bool = true,
        /// Secrets of keys.
        secrets: u64 = 12,
        sessions: u64,
        refresh_tokens: u64,
        passwords: u64,
        /// Recovery codes of users that were not used.
        recovery_codes: u64,
        /// Rows that are sealed under it.
        rows: u64,
        /// Encrypted copies of secrets, and secrets of one-time codes.
        copies: u64,
        /// When a key or a session under it was last used, as far as it is recorded.
        last_used_at: Option<Time>,
    }
}

answer! {
    struct ForeignBody as "ForeignDigests" {
        scheme: &'static str [enum = Scheme::ALL.map(Scheme::as_str)] = "sha256",
        /// The name of the HMAC key; null for other schemes.
        hmac_key: Option<String>,
        count: u64 = 3,
        last_used_at: Option<Time>,
    }
}

request! {
    struct RotationBody as "" {
        /// Which file; the pepper by default.
        file: Option<String> [enum = KINDS] = "pepper",
    }
}

answer! {
    struct RotatedBody as "RotatedKeyFile" {
        file: &'static str [enum = KINDS] = "pepper",
        /// The version that is the newest now.
        version: u32 = 2,
        /// Whether an earlier rotation that was interrupted is finished now; then no version was added.
        finished: bool,
    }
}

request! {
    struct RetirementBody as "" {
        file: String [enum = KINDS] = "pepper",
        version: u32 = 1,
        /// Disables keys whose digests are still under the version, ends such sessions and refresh tokens, and removes
        /// such digests of passwords and the marks by which a repeated import recognises keys.
        disable_unseen: Option<bool>,
    }
}

answer! {
    struct RetiredBody as "RetiredKeyFile" {
        keys_disabled: u64,
        /// Older secrets of keys whose grace period ended early.
        secrets_ended: u64,
        sessions_ended: u64,
        refresh_tokens_ended: u64,
        passwords_removed: u64,
        /// Users whose recovery codes were deleted; they can make new ones.
        recovery_codes_deleted: u64,
        /// Imported keys that a repeated import does not recognise any more.
        marks_forgotten: u64,
        /// The file that the server cannot replace, and from whose source somebody has to remove the version.
        left_in: Option<String>,
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document
        .add("get /v1/secrets", "secretsStatus", "Show what stands under each version of the key files")
        .about(
            "The key files are the pepper, which makes digests of secrets, the seal key, which seals rows, and the sealing \
             key, which makes encrypted copies. A digest is replaced by one under the newest pepper when its secret is used.",
        )
        .needs(&[ServerAdmin])
        .answers::<StatusBody>(200, "The files.");
    document
        .add("post /v1/secrets/rotate", "rotateKeyFile", "Add a version to a key file")
        .about(
            "For `latchkey secrets rotate`, through the Unix socket only. The file is written first; what can be made again \
             under the new version is made again before the answer.",
        )
        .needs(&[ServerAdmin])
        .optional_body::<RotationBody>()
        .answers::<RotatedBody>(200, "The version in use.")
        .conflicts();
    document
        .add("post /v1/secrets/retire", "retireKeyFile", "Remove an older version from a key file")
        .about(
            "For `latchkey secrets retire`, through the Unix socket only. Refused while something needs the version, unless \
             `disable_unseen` ends it.",
        )
        .needs(&[ServerAdmin])
        .body::<RetirementBody>()
        .answers::<RetiredBody>(200, "What ended.")
        .conflicts();
}

/// `GET /v1/secrets`
pub fn status(call: &Call<'_>) -> Result<Reply> {
    let status = secrets::status(call.app, call.caller()?)?;
    Ok(Reply::json(200, &StatusBody::from(status)))
}

/// `POST /v1/secrets/rotate`: through the Unix socket only.
pub fn rotate(call: &Call<'_>) -> Result<Reply> {
    let body = RotationBody::of_optional(call.request)?;
    let kind = body.file.as_deref().map_or(Ok(KeyKind::Pepper), kind)?;
    let rotated = rotate::rotate(call.app, call.caller()?, kind)?;
    Ok(Reply::json(200, &RotatedBody::from(rotated)))
}

/// `POST /v1/secrets/retire`: through the Unix socket only.
pub fn retire(call: &Call<'_>) -> Result<Reply> {
    let body = RetirementBody::of(call.request)?;
    let retired = retire::retire(
        call.app,
        call.caller()?,
        kind(&body.file)?,
        body.version,
        body.disable_unseen.unwrap_or(false),
    )?;
    Ok(Reply::json(200, &RetiredBody::from(retired)))
}

fn kind(word: &str) -> Result<KeyKind> {
    KeyKind::parse(word).ok_or_else(|| Error::invalid("file", refusals::secrets::kind()))
}

impl From<Status> for StatusBody {
    fn from(status: Status) -> StatusBody {
        StatusBody {
            unsaved: status.unsaved().map(KeyKind::as_str).collect(),
            files: status.kinds.into_iter().map(FileBody::from).collect(),
            foreign: status.foreign.into_iter().map(ForeignBody::from).collect(),
            upgrades_waiting: status.upgrades_waiting,
        }
    }
}

impl From<KindStatus> for FileBody {
    fn from(status: KindStatus) -> FileBody {
        FileBody {
            file: status.kind.as_str(),
            path: status.path.display().to_string(),
            provided: status.is_provided,
            versions: status.versions.into_iter().map(VersionBody::from).collect(),
        }
    }
}

impl From<VersionStatus> for VersionBody {
    fn from(status: VersionStatus) -> VersionBody {
        VersionBody {
            version: status.number,
            newest: status.is_newest,
            added_at: status.added_at.map(Time),
            backed_up_at: status.backed_up_at.map(Time),
            settled: status.is_settled,
            secrets: status.secrets,
            sessions: status.sessions,
            refresh_tokens: status.refresh_tokens,
            passwords: status.passwords,
            recovery_codes: status.recovery_codes,
            rows: status.rows,
            copies: status.copies,
            last_used_at: status.last_used_at.map(Time),
        }
    }
}

impl From<ForeignCount> for ForeignBody {
    fn from(count: ForeignCount) -> ForeignBody {
        ForeignBody {
            scheme: count.scheme.as_str(),
            hmac_key: count.hmac_key,
            count: count.count,
            last_used_at: count.last_used_at.map(Time),
        }
    }
}

impl From<Rotated> for RotatedBody {
    fn from(rotated: Rotated) -> RotatedBody {
        RotatedBody {
            file: rotated.kind.as_str(),
            version: rotated.version,
            finished: rotated.finished,
        }
    }
}

impl From<Retired> for RetiredBody {
    fn from(retired: Retired) -> RetiredBody {
        RetiredBody {
            keys_disabled: retired.keys_disabled,
            secrets_ended: retired.secrets_ended,
            sessions_ended: retired.sessions_ended,
            refresh_tokens_ended: retired.refresh_tokens_ended,
            passwords_removed: retired.passwords_removed,
            recovery_codes_deleted: retired.recovery_codes_deleted,
            marks_forgotten: retired.marks_forgotten,
            left_in: retired.left_in.map(|path| path.display().to_string()),
        }
    }
}
