//! `latchkey secrets backup` and `restore`: the key files in one file that a passphrase protects.

use super::SecretsArgs;
use crate::cli::at_site::refuse_at_site;
use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::output_file::Output;
use crate::cli::print::print;
use crate::cli::prompt;
use crate::config::folder::Folder;
use crate::config::key_files::{HMAC_KEYS, hmac_files, text_of};
use crate::domain::hex::{hex, unhex};
use crate::domain::keys::keyfile::{KeyKind, fingerprints_in};
use crate::domain::keys::passphrase;
use crate::domain::keys::scheme::is_hmac_key_name;
use crate::files::Readers;
use crate::refusals;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

pub fn backup(args: &SecretsArgs) -> Result<End> {
    let data = &args.data.data;
    let server = Server::reach(data)?;
    refuse_at_site(&server, |origin| {
        refusals::site::key_files(origin).to_string()
    })?;
    // Creates the file and reads the key files before it asks for the passphrase, so that errors come early, and removes it again, because the
    // user may cancel the prompt.
    drop(output(args)?);
    let mut text = String::new();
    let mut newest = Map::new();
    for kind in KeyKind::ALL {
        let content = text_of(data, kind).map_err(Failure::Refused)?;
        text.push_str(&format!("[{}]\n{}\n", kind.as_str(), content.trim_end()));
        let versions = fingerprints_in(kind, &content).unwrap_or_default();
        let version = versions.last().map(|(version, _)| *version);
        newest.insert(kind.as_str().replace('-', "_"), json!(version));
    }
    let hmac = hmac_files(data).map_err(|err| unreadable(&data.join(HMAC_KEYS), &err))?;
    for (name, bytes) in &hmac {
        text.push_str(&format!("[{HMAC_KEYS}/{name}]\n{}\n", hex(bytes)));
    }
    let passphrase = prompt::new_secret(
        "New passphrase",
        "passphrase",
        args.passphrase_file.as_deref(),
    )?;
    let locked = passphrase::lock(&passphrase, &text)?;
    let mut output = output(args)?;
    output.write_text(&locked)?;
    let target = Target::of(&["backups", "secrets"]);
    server.ask("POST", &target, Some(&Value::Object(newest)))?;
    output.put_in_place()?;
    let others = match hmac.len() {
        0 => String::new(),
        1 => " and an HMAC key of another system".to_owned(),
        count => format!(" and {count} HMAC keys of other systems"),
    };
    print(&format!(
        "{} holds pepper, sealing key and seal key{others}. Without the passphrase it is worth nothing; keep both, and apart \
         from backups. An older file of this kind may lack a key or a version: keep it only with the backups of its time.",
        args.file.display()
    ))?;
    Ok(End::Done)
}

/// The passphrase protects the file, so a file system without access modes is acceptable.
fn output(args: &SecretsArgs) -> Result<Output> {
    Output::create(&args.file, Readers::OwnerIfKept)
}

pub fn restore(args: &SecretsArgs) -> Result<End> {
    let file = prompt::whole(&args.file)?;
    let passphrase = prompt::secret("Passphrase", "passphrase", args.passphrase_file.as_deref())?;
    let Some(text) = passphrase::unlock(&passphrase, &file)? else {
        return Err(Failure::refused(format!(
            "{} cannot be opened: the passphrase is another one, or the file is damaged; nothing was changed",
            args.file.display()
        )));
    };
    let parts = parts(&text).ok_or_else(|| {
        Failure::refused(format!(
            "{} does not hold what it should",
            args.file.display()
        ))
    })?;
    let folder = Folder::create(&args.data.data)?;
    // All files are checked before one is written.
    for (name, content) in &parts {
        let path = folder.path().join(name);
        if path.exists() {
            let there = fs::read(&path).map_err(|err| unreadable(&path, &err))?;
            if !has_all(&there, content) {
                return Err(Failure::refused(format!(
                    "{} is there and is another one; it was left as it is. Move it away if it is wrong",
                    path.display()
                )));
            }
        }
    }
    let mut written = Vec::new();
    for (name, content) in &parts {
        if !folder.path().join(name).exists() {
            folder.put_key_file(name, content)?;
            written.push(name.as_str());
        }
    }
    let shown = args.data.data.display();
    print(&match written.as_slice() {
        [] => format!("{shown} has them already; nothing was changed"),
        names => format!("{} put back into {shown}", names.join(", ")),
    })?;
    let seal_key = KeyKind::SealKey.as_str();
    if parts.iter().all(|(name, _)| name != seal_key) {
        eprintln!(
            "{} is of a version without a seal key. A database of that version gets one at its next start; a newer database \
             needs the {seal_key} that it was used with.",
            args.file.display()
        );
    }
    Ok(End::Done)
}

/// Whether a file has every line of a copy. A key file may have got newer versions since.
fn has_all(there: &[u8], copy: &[u8]) -> bool {
    let lines = |bytes| <[u8]>::split(bytes, |byte| *byte == b'\n');
    let mut wanted = lines(copy.trim_ascii_end());
    wanted.all(|line| lines(there).any(|known| known == line))
}

/// The files by their names in the data folder. An older file has no seal key and no HMAC keys.
fn parts(text: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for section in text.strip_prefix('[')?.split("\n[") {
        let (name, content) = section.split_once("]\n")?;
        let hmac_key = name
            .strip_prefix(HMAC_KEYS)
            .and_then(|rest| rest.strip_prefix('/'));
        let bytes = match (KeyKind::parse(name), hmac_key) {
            (Some(_), _) => format!("{}\n", content.trim_end()).into_bytes(),
            (None, Some(key)) if is_hmac_key_name(key) => unhex(content.trim_end())?,
            (None, _) => return None,
        };
        if found.iter().any(|(known, _)| known == name) {
            return None;
        }
        found.push((name.to_owned(), bytes));
    }
    let has = |kind: KeyKind| found.iter().any(|(name, _)| name == kind.as_str());
    (has(KeyKind::Pepper) && has(KeyKind::SealingKey)).then_some(found)
}

fn unreadable(path: &Path, err: &std::io::Error) -> Failure {
    Failure::refused(format!("{} cannot be read: {err}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_file_is_read_and_a_foreign_section_is_refused() {
        let old = "[pepper]\n1 ab\n2 cd\n[sealing-key]\n1 ef\n";
        let found = parts(old).unwrap();
        assert_eq!(found[0], ("pepper".to_owned(), b"1 ab\n2 cd\n".to_vec()));
        assert_eq!(found[1], ("sealing-key".to_owned(), b"1 ef\n".to_vec()));
        let new = format!("{old}[seal-key]\n1 ab\n[hmac-keys/old-1]\n5b0a\n");
        let found = parts(&new).unwrap();
        assert_eq!(found.len(), 4);
        assert_eq!(found[3], ("hmac-keys/old-1".to_owned(), b"[\n".to_vec()));
        for bad in [
            "",
            "[pepper]\n1 ab\n",
            "[sealing-key]\n1 ab\n",
            "[pepper]\n1 ab\n[sealing-key]\n1 ef\n[pepper]\n1 ab\n",
            "[pepper]\n1 ab\n[sealing-key]\n1 ef\n[passwd]\nx\n",
            "[pepper]\n1 ab\n[sealing-key]\n1 ef\n[hmac-keys/../x]\n00\n",
            "[pepper]\n1 ab\n[sealing-key]\n1 ef\n[hmac-keys/x]\nxyz\n",
        ] {
            assert!(parts(bad).is_none(), "{bad}");
        }
    }
}
