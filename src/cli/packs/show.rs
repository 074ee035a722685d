//! `latchkey pack show`: the head of a pack, who signed it, and whether it is good.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::print::table::harmless;
use crate::cli::print::{self, Common, aligned};
use crate::cli::prompt;
use crate::config::folder::is_ours;
use crate::domain::hex::hex;
use crate::domain::packs::content::Content;
use crate::domain::packs::file;
use crate::domain::packs::head::Head;
use crate::domain::packs::note::PublicKey;
use crate::domain::packs::table::Table;
use crate::refusals::Refusal;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

#[derive(clap::Args, Clone, Debug)]
pub struct ShowArgs {
    /// The pack
    file: PathBuf,
    /// The public key of the server, as GET /v1/packs/signing-keys lists it [default: those of the data folder, at the server and at a site]
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct KeysAnswer {
    items: Vec<KeyAnswer>,
}

#[derive(Deserialize)]
struct KeyAnswer {
    public_key: String,
}

/// What is known about the signatures.
enum Signed {
    By(Vec<String>),
    NotChecked(Vec<String>),
    Refused(Refusal),
}

pub fn run(args: &ShowArgs) -> Result<End> {
    let bytes = prompt::bytes(&args.file)?;
    let refused = |why: Refusal| {
        Failure::refused(format!(
            "{}: {why}",
            harmless(&args.file.display().to_string())
        ))
    };
    let parts = file::split(&bytes).map_err(refused)?;
    let (note, head) = Head::peek(parts.head).map_err(refused)?;
    let names = note.signatures.iter();
    let names: Vec<String> = names
        .map(|one| format!("{}+{}", one.name, hex(&one.hash)))
        .collect();
    let trusted = trusted(args)?;
    let signed = match trusted.as_slice() {
        [] => Signed::NotChecked(names),
        keys => match Head::open(parts.head, keys) {
            Ok(head) => Signed::By(head.signed_by.iter().map(PublicKey::to_text).collect()),
            Err(why) => Signed::Refused(why),
        },
    };
    let body = file::body_of(&head, parts.body);
    let counts = body.as_ref().map(|body| {
        let count = |table: Table| {
            let counts = json!({ "put": body.count(table), "gone": body.gone_count(table) });
            (table.as_str().to_owned(), counts)
        };
        Value::Object(Table::ALL.into_iter().map(count).collect::<Map<_, _>>())
    });
    let counts = counts.ok();
    let body = body.and_then(|body| match body.base() {
        None => Content::of(body).map(drop),
        Some(_) => Ok(()),
    });
    let is_good = body.is_ok() && !matches!(signed, Signed::Refused(_));
    match args.common.json {
        true => print::print(&as_json(&head, &signed, &body, counts).to_string())?,
        false => print::print(&in_words(&head, &signed, &body, parts.body.len()))?,
    }
    Ok(if is_good { End::Done } else { End::Found })
}

/// The keys that signatures are compared with.
fn trusted(args: &ShowArgs) -> Result<Vec<PublicKey>> {
    let parse = |text: &String| {
        let no_key = || Failure::Usage(format!("{} is no public key", harmless(text)));
        PublicKey::parse(text).ok_or_else(no_key)
    };
    if !args.keys.is_empty() {
        return args.keys.iter().map(parse).collect();
    }
    // A pack can be looked at without any folder of Latchkey.
    let data = &args.common.data.data;
    if !data.exists() || !is_ours(data) {
        return Ok(Vec::new());
    }
    let server = Server::reach(data)?;
    let answer = server.get(&Target::of(&["packs", "signing-keys"]))?;
    let keys: KeysAnswer = answer.json()?;
    let texts = keys.items.iter().map(|key| &key.public_key);
    texts.map(parse).collect()
}

fn as_json(
    head: &Head,
    signed: &Signed,
    body: &std::result::Result<(), Refusal>,
    counts: Option<Value>,
) -> Value {
    let (by, why) = match signed {
        Signed::By(names) => (names.clone(), None),
        Signed::NotChecked(_) => (Vec::new(), Some("no key to check it with".to_owned())),
        Signed::Refused(why) => (Vec::new(), Some(why.to_string())),
    };
    json!({
        "server": head.origin,
        "server_uid": head.server.to_string(),
        "reign": head.reign,
        "site": head.site,
        "pack": head.pack,
        "base": head.base,
        "events": head.events,
        "events_sha256": hex(&head.events_hash),
        "made_at": head.made.to_string(),
        "until": head.until.to_string(),
        "keys": head.keys,
        "bytes": head.bytes,
        "sha256": hex(&head.sha256),
        "signed_by": by,
        "not_signed": why,
        "damaged": body.as_ref().err().map(ToString::to_string),
        "tables": counts,
    })
}

fn in_words(
    head: &Head,
    signed: &Signed,
    body: &std::result::Result<(), Refusal>,
    bytes: usize,
) -> String {
    let what = match head.base {
        0 => format!("{}, whole", head.pack),
        base => format!("{}, the difference from {base}", head.pack),
    };
    let lines = [
        ("pack", what),
        ("for site", head.site.clone()),
        (
            "of",
            format!("{} ({}), reign {}", head.origin, head.server, head.reign),
        ),
        ("made", head.made.to_string()),
        ("until", head.until.to_string()),
        ("includes", format!("audit events up to {}", head.events)),
        ("keys at the site", head.keys.to_string()),
        ("body", format!("{bytes} bytes")),
        (
            "signed by",
            match signed {
                Signed::By(names) => names.join(", "),
                Signed::NotChecked(names) => format!(
                    "{} (not checked: name the key with --key, or the data folder with --data)",
                    names.join(", ")
                ),
                Signed::Refused(why) => format!("nobody who counts: {why}"),
            },
        ),
        (
            "state",
            match body {
                Ok(()) if matches!(signed, Signed::By(_)) => "good".to_owned(),
                Ok(()) => "whole, but see who signed it".to_owned(),
                Err(why) => why.to_string(),
            },
        ),
    ];
    let line = |(name, value): &(&str, String)| vec![(*name).to_owned(), harmless(value)];
    aligned(&lines.iter().map(line).collect::<Vec<_>>())
}
