//! `POST /v1/keys/import` and `GET /v1/keys/export`: keys come from other systems, and go to other servers.

use crate::domain::keys::KeyId;
use crate::error::{Error, Result};
use crate::http::bodies::imports::export::{FILE_START, line, stanza};
use crate::http::bodies::imports::record::records;
use crate::http::describe::bodies::answer;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::http::route::{BODY_BYTES_MAX, Call};
use crate::ops::keys::export::{KEYS_MAX, export as export_keys};
use crate::ops::keys::import::{Import, Problem, Report, import as import_keys};
use crate::refusals;

/// The media type of JSON lines.
pub const JSON_LINES: &str = "application/jsonl";
/// The types of body that the import reads. A single line is JSON too.
const READ: [&str; 3] = [JSON_LINES, "application/x-ndjson", "application/json"];
/// The media type of files with keys.
const TOML: &str = "application/toml";
/// The formats of the export.
pub const FORMATS: [&str; 2] = ["jsonl", "keys.d"];
/// The whole path of the export, for links to it.
const EXPORT: &str = "/v1/keys/export";

answer! {
    pub struct ReportBody as "ImportReport" {
        /// Nothing was written; the numbers are those of the real import, unless something changes in between.
        dry_run: bool = true,
        /// The number of lines.
        keys: usize = 3,
        /// How many are imported.
        taken: usize = 1,
        /// How many are there since an earlier import.
        present: usize = 1,
        /// How many are refused.
        refused: usize = 1,
        /// The keys that are imported, by kind.
        groups: Vec<GroupBody> = [GroupBody::example()],
        /// The keys that are refused, at most 1,000.
        problems: Vec<ProblemBody> = [ProblemBody::example()],
    }
}

answer! {
    pub struct GroupBody as "ImportGroup" {
        /// The slug.
        workspace: String = "emea",
        policy: String = "standard",
        /// The kind of the digests.
        scheme: &'static str = "sha256",
        keys: usize = 1,
    }
}

answer! {
    pub struct ProblemBody as "ImportProblem" {
        line: usize = 14,
        /// The name of the key in the file.
        name: String = "billing",
        reason: String = "policy: there is no policy gold",
    }
}

/// `POST /v1/keys/import`
pub fn import(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let system = query.take("source");
    let file_sha256 = query.take("file_sha256");
    let dry_run = flag(&mut query, "dry_run")?;
    let (workspace, policy) = (query.take("workspace"), query.take("policy"));
    query.finish()?;
    check_body(call.request)?;
    let system = system.ok_or_else(|| {
        Error::Malformed(refusals::verbatim(
            "the parameter source is needed: the system that has issued the keys, such as kong",
        ))
    })?;
    let import = Import {
        system,
        file_sha256,
        dry_run,
        workspace,
        policy,
        records: records(&call.request.body)?,
    };
    let report = import_keys(call.app, call.caller()?, import)?;
    Ok(Reply::json(200, &ReportBody::of(report)))
}

/// The body must be JSON lines. A large one is read only for callers who manage the keys of the root workspace.
fn check_body(request: &Request) -> Result<()> {
    let header = |name| request.header(name).ok().flatten().unwrap_or("");
    if request.body.is_empty() && !matches!(header("content-length"), "" | "0") {
        return Err(Error::TooLarge {
            limit_bytes: BODY_BYTES_MAX,
        });
    }
    let media_type = header("content-type").split(';').next().unwrap_or("");
    let is_read = |known: &str| known.eq_ignore_ascii_case(media_type.trim());
    match READ.iter().any(|known| is_read(known)) {
        true => Ok(()),
        false => Err(Error::UnsupportedMediaType(JSON_LINES)),
    }
}

fn flag(query: &mut Query, name: &str) -> Result<bool> {
    match query.take(name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Error::Malformed(refusals::verbatim(format!(
            "the parameter {name} must be true or false"
        )))),
    }
}

impl ReportBody {
    fn of(report: Report) -> ReportBody {
        let problem = |it: Problem| ProblemBody {
            line: it.line,
            name: it.name,
            reason: it.why.to_string(),
        };
        let groups = report.groups.into_iter();
        ReportBody {
            dry_run: report.dry_run,
            keys: report.keys,
            taken: report.taken,
            present: report.present,
            refused: report.refused,
            groups: groups
                .map(|(group, keys)| GroupBody {
                    workspace: group.workspace,
                    policy: group.policy,
                    scheme: group.scheme.as_str(),
                    keys,
                })
                .collect(),
            problems: report.problems.into_iter().map(problem).collect(),
        }
    }
}

/// `GET /v1/keys/export`
pub fn export(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let format = query.take("format");
    let (after, limit) = (query.take("cursor"), query.take_number("limit")?);
    query.finish()?;
    let refused = |why: String| Error::Malformed(refusals::verbatim(why));
    let format = match format.as_deref() {
        None => FORMATS[0],
        Some(asked) => *FORMATS
            .iter()
            .find(|known| **known == asked)
            .ok_or_else(|| refused("the parameter format must be jsonl or keys.d".to_owned()))?,
    };
    let limit = limit.unwrap_or(KEYS_MAX as u64);
    if !(1..=KEYS_MAX as u64).contains(&limit) {
        return Err(refused(format!(
            "the parameter limit must be 1 to {KEYS_MAX}"
        )));
    }
    let after = after.map(|text| {
        let why = "the parameter cursor must be that of the Link header of an earlier answer";
        KeyId::parse(&text).ok_or_else(|| refused(why.to_owned()))
    });
    let after = after.transpose()?;
    let (keys, next) = export_keys(call.app, call.caller()?, format, after, limit as usize)?;
    let (media_type, start, write): (_, _, fn(&_) -> Result<String>) = match format {
        "keys.d" => (TOML, FILE_START, stanza),
        _ => (JSON_LINES, "", |key| Ok(line(key))),
    };
    let mut text = String::new();
    if after.is_none() {
        text.push_str(start);
    }
    for key in &keys {
        text.push_str(&write(key)?);
    }
    let reply = Reply::new(200).body(media_type, text.into_bytes());
    Ok(match next {
        None => reply,
        Some(id) => {
            let next = format!("{EXPORT}?format={format}&limit={limit}&cursor={id}");
            reply.with("link", format!("<{next}>; rel=\"next\""))
        }
    })
}
