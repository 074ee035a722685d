//! `latchkey secrets`: the key files outside the database.

mod backup;
mod versions;

use crate::cli::failure::{End, Result};
use crate::config::DataArgs;
use clap::Subcommand;
use std::path::PathBuf;

/// Save, restore and rotate the key files.
#[derive(Debug, Subcommand)]
pub enum SecretsCommand {
    /// Write pepper, sealing key, seal key and HMAC keys to a file that only the passphrase opens
    #[command(
        after_help = "Once is enough, as long as none of them changes; `latchkey secrets rotate` says when another one is \
                      needed. Keep the file apart from backups of the database: together they are everything. Where systemd \
                      hands them to the server, name their folder: CREDENTIALS_DIRECTORY=/etc/latchkey latchkey \
                      secrets backup FILE\n\n\
                      Examples:\n  latchkey secrets backup /media/usb/latchkey-secrets\n  \
                      latchkey secrets backup secrets.locked --passphrase-file /run/passphrase"
    )]
    Backup(SecretsArgs),
    /// Restore them from such a file; existing files are never replaced
    #[command(
        after_help = "Examples:\n  latchkey secrets restore /media/usb/latchkey-secrets --data /var/lib/latchkey"
    )]
    Restore(SecretsArgs),
    /// Show what stands under each version of the key files, and what is still to be saved or replaced
    #[command(
        after_help = "Examples:\n  latchkey secrets status\n  latchkey secrets status --json | jq '.files[] | select(.file == \"pepper\")'"
    )]
    Status(versions::StatusArgs),
    /// Add a version to a key file, and use it from now on, whether the server runs or not
    ///
    /// The pepper makes digests of secrets: nothing that has been issued ends, and each digest is replaced when its key is
    /// used. The seal key seals rows and binds passwords, the sealing key encrypts copies of secrets: rows and copies are
    /// made again at once. If a rotation was interrupted, the command finishes it.
    #[command(
        after_help = "Examples:\n  latchkey secrets rotate\n  latchkey secrets rotate seal-key --data /var/lib/latchkey && latchkey secrets backup /media/usb/latchkey-secrets"
    )]
    Rotate(versions::RotateArgs),
    /// Remove an older version from a key file, once nothing needs it
    #[command(
        after_help = "Examples:\n  latchkey secrets retire pepper 1\n  latchkey secrets retire pepper 1 --disable-unseen --yes --data /var/lib/latchkey"
    )]
    Retire(versions::RetireArgs),
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
        SecretsCommand::Backup(args) => backup::backup(args),
        SecretsCommand::Restore(args) => backup::restore(args),
        SecretsCommand::Status(args) => versions::status(args),
        SecretsCommand::Rotate(args) => versions::rotate(args),
        SecretsCommand::Retire(args) => versions::retire(args),
    }
}
