//! `latchkey secrets`: saves the pepper and the sealing key to a file that a passphrase protects, and restores them.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::output_file::Output;
use crate::cli::print::print;
use crate::cli::prompt;
use crate::config::DataArgs;
use crate::config::folder::{Folder, KEY_FILES, key_file_text};
use crate::domain::keys::passphrase;
use crate::files::Readers;
use clap::Subcommand;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Save pepper and sealing key under a passphrase, and restore them.
#[derive(Debug, Subcommand)]
pub enum SecretsCommand {
    /// Write pepper and sealing key to a file that only the passphrase opens
    #[command(
        after_help = "Once is enough, as long as neither changes. Keep the file apart from backups of the database: \
                      together they are everything. Where systemd hands \
                      pepper and sealing key to the server, name their folder: CREDENTIALS_DIRECTORY=/etc/latchkey latchkey \
                      secrets backup FILE\n\n\
                      Examples:\n  latchkey secrets backup /media/usb/latchkey-secrets\n  \
                      latchkey secrets backup secrets.locked --passphrase-file /run/passphrase"
    )]
    Backup(SecretsArgs),
    /// Restore pepper and sealing key from such a file; existing files are never replaced
    #[command(
        after_help = "Examples:\n  latchkey secrets restore /media/usb/latchkey-secrets --data /var/lib/latchkey"
    )]
    Restore(SecretsArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct SecretsArgs {
    /// The file that the passphrase protects
    file: PathBuf,
    /// A file whose first line is the passphrase; otherwise it is typed or piped in
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
}

pub fn run(command: &SecretsCommand) -> Result<End> {
    match command {
        SecretsCommand::Backup(args) => backup(args),
        SecretsCommand::Restore(args) => restore(args),
    }
}

fn backup(args: &SecretsArgs) -> Result<End> {
    let data = &args.data.data;
    let server = Server::reach(data)?;
    // Creates the file before it asks for the passphrase, so that errors come early, and removes it again, because the
    // user may cancel the prompt.
    drop(output(args)?);
    let passphrase = prompt::new_secret("New passphrase", args.passphrase_file.as_deref())?;
    let mut text = String::new();
    for name in KEY_FILES {
        let content = key_file_text(data, name).map_err(Failure::Refused)?;
        text.push_str(&format!("[{name}]\n{}\n", content.trim_end()));
    }
    let locked = passphrase::lock(&passphrase, &text)?;
    let target = Target::of(&["backups", "secrets"]);
    server.ask("POST", &target, Some(&json!({})))?;
    let mut output = output(args)?;
    output.write_text(&locked)?;
    output.put_in_place()?;
    print(&format!(
        "{} holds pepper and sealing key. Without the passphrase it is worth nothing; keep both, and apart from backups.",
        args.file.display()
    ))?;
    Ok(End::Done)
}

/// The passphrase protects the file, so a file system without access modes is acceptable.
fn output(args: &SecretsArgs) -> Result<Output> {
    Output::create(&args.file, Readers::OwnerIfKept)
}

fn restore(args: &SecretsArgs) -> Result<End> {
    let file = prompt::whole(&args.file)?;
    let passphrase = prompt::secret("Passphrase", args.passphrase_file.as_deref())?;
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
    // Both files are checked before either is written.
    for (name, content) in &parts {
        let path = folder.path().join(name);
        if path.exists() {
            let there = fs::read_to_string(&path).map_err(|err| unreadable(&path, &err))?;
            if there.trim_end() != content.trim_end() {
                return Err(Failure::refused(format!(
                    "{} is there and is another one; it was left as it is. Move it away if it is wrong",
                    path.display()
                )));
            }
        }
    }
    let mut written = Vec::new();
    for (name, content) in &parts {
        let path = folder.path().join(name);
        if !path.exists() {
            folder.put_key_file(name, content)?;
            written.push(*name);
        }
    }
    let shown = args.data.data.display();
    print(&match written.as_slice() {
        [] => format!("{shown} has both already; nothing was changed"),
        names => format!("{} put back into {shown}", names.join(" and ")),
    })?;
    Ok(End::Done)
}

/// The files by name, in the order of [`KEY_FILES`].
fn parts(text: &str) -> Option<Vec<(&'static str, String)>> {
    let mut rest = text;
    let mut found = Vec::new();
    for (position, name) in KEY_FILES.iter().enumerate() {
        rest = rest.strip_prefix(&format!("[{name}]\n"))?;
        let next = KEY_FILES.get(position + 1);
        let end = next.map_or(Some(rest.len()), |next| rest.find(&format!("[{next}]\n")))?;
        let (content, after) = rest.split_at(end);
        found.push((*name, content.to_owned()));
        rest = after;
    }
    Some(found)
}

fn unreadable(path: &Path, err: &std::io::Error) -> Failure {
    Failure::refused(format!("{} cannot be read: {err}", path.display()))
}
