//! The commands that prepare files of keys, and need neither a server nor a data folder: draw and digest.

use crate::cli::failure::{End, Failure, Result};
use crate::cli::print::print;
use crate::cli::prompt;
use crate::config::file::quoted;
use crate::domain::declared::sha256;
use crate::domain::hex::hex;
use crate::domain::keys::KeyId;
use crate::domain::keys::secret::{PREFIX_DEFAULT, Presented, Secret, check_prefix, generate_id};
use crate::domain::text;
use serde_json::json;
use std::path::PathBuf;

/// The arguments of `latchkey key draw`.
#[derive(clap::Args, Clone, Debug)]
pub struct DrawArgs {
    /// The name of the key, which identifies it in the files
    name: String,
    /// The start of the secret; an empty one for a secret of letters and digits alone
    #[arg(long, value_name = "PREFIX", default_value = PREFIX_DEFAULT)]
    prefix: String,
    /// The id of the key that gets a new secret; without it the key is a new one
    #[arg(long, value_name = "ID", value_parser = id)]
    id: Option<KeyId>,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

/// The arguments of `latchkey key digest`.
#[derive(clap::Args, Clone, Debug)]
pub struct DigestArgs {
    /// A file whose first line is the secret; otherwise it is typed or piped in
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

fn id(text: &str) -> std::result::Result<KeyId, String> {
    KeyId::parse(text).ok_or_else(|| "an id has ten letters and digits".to_owned())
}

pub fn draw(args: &DrawArgs) -> Result<End> {
    text::check_name("the name", &args.name)?;
    if !args.prefix.is_empty() {
        check_prefix("the prefix", &args.prefix)?;
    }
    let id = args.id.map_or_else(generate_id, Ok)?;
    let secret = Secret::generate(&args.prefix, id)?;
    let digest = digest_of(secret.expose());
    let stanza = format!(
        "[[key]]\nname = {}\nid = \"{id}\"\nhint = \"{}\"\ndigest = \"{digest}\"",
        quoted(&args.name),
        secret.hint()
    );
    if args.json {
        let body = json!({
            "name": args.name,
            "id": id.to_string(),
            "hint": secret.hint(),
            "digest": digest,
            "secret": secret.expose(),
            "stanza": stanza,
        });
        print(&body.to_string())?;
        return Ok(End::Done);
    }
    print(&format!(
        "The secret of {}; keep it safe, it is stored nowhere:\n\n{}\n\nIts stanza for a file of keys:\n\n{stanza}",
        args.name,
        secret.expose()
    ))?;
    Ok(End::Done)
}

pub fn digest(args: &DigestArgs) -> Result<End> {
    let secret = prompt::secret("Secret", "secret", args.secret_file.as_deref())?;
    if let Some(blank) = secret.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(Failure::refused(format!(
            "the secret has the character U+{:04X}, which no request can present",
            u32::from(blank)
        )));
    }
    let digest = digest_of(&secret);
    let own = Presented::parse(&secret);
    if args.json {
        let body = json!({
            "digest": digest,
            "id": own.map(|secret| secret.id.to_string()),
            "hint": own.map(|secret| secret.hint()),
        });
        print(&body.to_string())?;
        return Ok(End::Done);
    }
    if let Some(own) = own {
        // Without the id it would count as the secret of another system.
        print(&format!("id = \"{}\"\nhint = \"{}\"", own.id, own.hint()))?;
    }
    print(&format!("digest = \"{digest}\""))?;
    Ok(End::Done)
}

fn digest_of(secret: &str) -> String {
    format!("sha256:{}", hex(&sha256(secret.as_bytes())))
}
