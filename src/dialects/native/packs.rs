//! Packs, which bring sites what they need to verify, and what comes back from sites: `/v1/packs`.

use crate::domain::users::permissions::Permission::ServerAdmin;
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, Requested, answer, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::packs::make::{self, Made, Wanted};
use crate::ops::packs::{collect, far, identity, revocations, rotate_key};
use crate::refusals::packs::no_report;
use crate::store::packs::SigningKeyRow;

/// The media types of packs and of reports.
const PACK: &str = "application/octet-stream";
const REPORT: &str = "application/octet-stream";
/// The types of body that are read as a report; commands send every body as JSON.
const READ: [&str; 2] = [REPORT, "application/json"];

answer! {
    struct PackBody as "Pack" {
        site: String = "plant-7",
        pack: u64 = 43,
        /// The whole pack that it has to be applied to; 0 if it is whole itself.
        base: u64 = 40,
        /// The name of its file.
        file: String = "000043-of-40.lkpack",
        /// Its place in the data folder.
        path: String = "/var/lib/latchkey/packs/plant-7/000043-of-40.lkpack",
        bytes: u64 = 9_210,
        /// The keys that the site holds after applying it.
        keys: u64 = 10_000,
        /// Keys that stay out, because another system has made their secrets.
        left_out: u64,
        made_at: Time,
        /// The first instant at which it no longer counts.
        until: Time,
        /// Whether the site is not known to have the whole pack that this one has to be applied to.
        needs_base: bool,
    }
}

request! {
    struct NewPacksBody as "NewPacks" {
        /// By default all sites.
        sites: Option<Vec<String>> = ["plant-7"],
        /// Makes whole packs, even where a difference would do.
        whole: Option<bool>,
    }
}

request! {
    struct WantedRevocationsBody as "WantedRevocations" {
        /// Keys that this site is given; by default those of all workspaces.
        site: Option<String> = "plant-7",
        /// Keys that have ended after this audit event; by default after the one that the site is known to have applied.
        since: Option<u64> = 18_200,
    }
}

answer! {
    /// Signed texts, each for one QR code.
    struct RevocationsBody as "Revocations" {
        codes: Vec<String> = ["LKREV1:…"],
        /// Keys, and secrets of keys that go on.
        keys: u64 = 12,
        /// Of these, keys that go on and are named as a whole, because the site has other digests of their secrets: until it has a pack, their
        /// newer secrets open nothing there either.
        whole_keys: u64 = 1,
    }
}

answer! {
    /// What became of a report.
    struct CollectedBody as "CollectedReport" {
        site: String = "plant-7",
        report: u64 = 12,
        /// Whether it has more than what was known.
        is_new: bool = true,
        /// The pack that the site has applied.
        applied: u64 = 43,
        /// The keys that it is about.
        keys: u64 = 97,
    }
}

answer! {
    struct SigningKeyBody as "PackSigningKey" {
        version: u32 = 2,
        /// As signed notes write it: name, hash and key.
        public_key: String = "keys.example.com/packs+1a2b3c4d+AZ…",
        added_at: Time,
    }
}

answer! {
    /// A key that signs packs from now on.
    struct NewSigningKeyBody as "NewPackSigningKey" {
        version: u32 = 2,
        /// As signed notes write it: name, hash and key.
        public_key: String = "keys.example.com/packs+1a2b3c4d+AZ…",
        added_at: Time,
        /// The sites that may soon take no pack any more: many keys have followed the newest one that they are known to trust.
        far_sites: Vec<FarSiteBody>,
    }
}

answer! {
    struct FarSiteBody as "FarSite" {
        name: String = "plant-7",
        /// The number of keys that have followed.
        followed_by: u64 = 14,
        /// Over how many of them a pack leads at most.
        leads_max: u64 = 16,
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document
        .add("post /v1/packs", "makePacks", "Make a pack for each site")
        .about(
            "A pack is whole, or the difference from the latest whole one. Its file lies in the data folder; only the latest \
             whole one and the newest one are kept.",
        )
        .needs(&[ServerAdmin])
        .optional_body::<NewPacksBody>()
        .answers::<ListBody<PackBody>>(201, "The packs.")
        .may_not_find()
        .conflicts();
    document
        .add("get /v1/packs/{site}/{number}", "fetchPack", "Read a pack")
        .needs(&[ServerAdmin])
        .content_of(
            200,
            "The file, as docs/pack-format.md describes it.",
            PACK,
            serde_json::json!({ "type": "string", "format": "binary" }),
            serde_json::json!("LKPACK1\n…"),
        );
    document
        .add(
            "post /v1/packs/revocations",
            "listRevocations",
            "Write revocations as texts for QR codes",
        )
        .about("Each code has up to 320 keys that have ended.")
        .needs(&[ServerAdmin])
        .optional_body::<WantedRevocationsBody>()
        .answers::<RevocationsBody>(200, "The texts.")
        .may_not_find()
        .conflicts();
    document
        .add("post /v1/packs/reports", "collectReport", "Take in the report of a site")
        .about("The same report again changes nothing. The body is the file that `latchkey site report` has written.")
        .needs(&[ServerAdmin])
        .text(REPORT, "latchkey.report/v1 keys.example.com\n…")
        .answers::<CollectedBody>(200, "What became of it.")
        .may_not_find();
    document
        .add(
            "get /v1/packs/signing-keys",
            "listSigningKeys",
            "List the public keys that sign packs",
        )
        .needs(&[ServerAdmin])
        .answers::<ListBody<SigningKeyBody>>(200, "The oldest first; the newest signs.");
    document
        .add("post /v1/packs/signing-keys", "rotateSigningKey", "Add a key that signs packs")
        .about(
            "For `latchkey pack rotate-key`, through the Unix socket only. The key before signs the new one, so sites accept it.",
        )
        .needs(&[ServerAdmin])
        .answers::<NewSigningKeyBody>(201, "The key that signs from now on.")
        .conflicts();
}

impl PackBody {
    fn of(made: Made) -> PackBody {
        let pack = made.pack;
        PackBody {
            file: pack.file_name(),
            path: made.path.display().to_string(),
            pack: pack.number,
            base: pack.base,
            bytes: pack.bytes,
            keys: pack.keys,
            left_out: made.left_out,
            made_at: Time(pack.made_at),
            until: Time(pack.until),
            needs_base: made.base.is_some(),
            site: pack.site,
        }
    }
}

/// `POST /v1/packs`
pub fn make(call: &Call<'_>) -> Result<Reply> {
    let body = NewPacksBody::of_optional(call.request)?;
    let wanted = Wanted {
        sites: body.sites,
        whole: body.whole.unwrap_or(false),
    };
    let made = make::make(call.app, call.caller()?, wanted)?;
    let items = made.into_iter().map(PackBody::of).collect();
    Ok(Reply::json(201, &ListBody::of(items)))
}

/// `GET /v1/packs/{site}/{number}`
pub fn fetch(call: &Call<'_>) -> Result<Reply> {
    let number = call.param("number").parse();
    let number = number.map_err(|_| Error::NotFound("pack"))?;
    let bytes = make::fetch(call.app, call.caller()?, call.param("site"), number)?;
    Ok(Reply::new(200).body(PACK, bytes))
}

/// `POST /v1/packs/revocations`
pub fn revoke(call: &Call<'_>) -> Result<Reply> {
    let body = WantedRevocationsBody::of_optional(call.request)?;
    let site = body.site.as_deref();
    let codes = revocations::codes(call.app, call.caller()?, site, body.since)?;
    let body = RevocationsBody {
        codes: codes.texts,
        keys: codes.keys,
        whole_keys: codes.whole,
    };
    Ok(Reply::json(200, &body))
}

/// `POST /v1/packs/reports`
pub fn collect(call: &Call<'_>) -> Result<Reply> {
    let media_type = call.request.header("content-type").ok().flatten();
    let media_type = media_type.unwrap_or_default().split(';').next();
    let media_type = media_type.unwrap_or_default().trim();
    if !call.request.body.is_empty() && !READ.iter().any(|it| it.eq_ignore_ascii_case(media_type)) {
        return Err(Error::UnsupportedMediaType(REPORT));
    }
    let text = std::str::from_utf8(&call.request.body);
    let text = text.map_err(|_| Error::Malformed(no_report()))?;
    let collected = collect::collect(call.app, call.caller()?, text)?;
    let body = CollectedBody {
        site: collected.site,
        report: collected.number,
        is_new: collected.is_new,
        applied: collected.applied,
        keys: collected.keys,
    };
    Ok(Reply::json(200, &body))
}

impl SigningKeyBody {
    fn of(row: SigningKeyRow) -> SigningKeyBody {
        SigningKeyBody {
            version: row.version,
            public_key: row.public,
            added_at: Time(row.added_at),
        }
    }
}

/// `GET /v1/packs/signing-keys`
pub fn list_keys(call: &Call<'_>) -> Result<Reply> {
    let rows = identity::list(call.app, call.caller()?)?;
    let items = rows.into_iter().map(SigningKeyBody::of).collect();
    Ok(Reply::json(200, &ListBody::of(items)))
}

/// `POST /v1/packs/signing-keys`: through the Unix socket only.
pub fn rotate_key(call: &Call<'_>) -> Result<Reply> {
    let (app, caller) = (call.app, call.caller()?);
    let row = rotate_key::rotate(app, caller)?;
    let far = far::list_far(app, caller)?.into_iter();
    let far = far.map(|site| FarSiteBody {
        name: site.name,
        followed_by: site.followed_by as u64,
        leads_max: far::LEADS_MAX as u64,
    });
    let body = NewSigningKeyBody {
        version: row.version,
        public_key: row.public,
        added_at: Time(row.added_at),
        far_sites: far.collect(),
    };
    Ok(Reply::json(201, &body))
}
