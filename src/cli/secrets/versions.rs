//! `latchkey secrets rotate`, `status` and `retire`: the versions of the key files.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Result};
use crate::cli::print::table::harmless;
use crate::cli::print::{self, Common, aligned};
use crate::cli::prompt;
use crate::domain::text::counted;
use serde::Deserialize;
use serde_json::json;

/// The names of the files.
const FILES: [&str; 3] = ["pepper", "seal-key", "sealing-key"];

#[derive(clap::Args, Clone, Debug)]
pub struct RotateArgs {
    /// The file that gets a new version
    #[arg(value_name = "FILE", value_parser = FILES, default_value = "pepper")]
    file: String,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct RetireArgs {
    /// The file that loses the version
    #[arg(value_name = "FILE", value_parser = FILES)]
    file: String,
    /// The version, as `latchkey secrets status` shows it
    #[arg(value_name = "VERSION")]
    version: u32,
    /// Disable the keys, end the sessions and remove the passwords that still need the version
    #[arg(long)]
    disable_unseen: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct StatusAnswer {
    files: Vec<FileAnswer>,
    foreign: Vec<ForeignAnswer>,
    upgrades_waiting: u64,
    unsaved: Vec<String>,
}

#[derive(Deserialize)]
struct FileAnswer {
    file: String,
    path: String,
    provided: bool,
    versions: Vec<VersionAnswer>,
}

#[derive(Deserialize)]
struct VersionAnswer {
    version: u32,
    newest: bool,
    added_at: Option<String>,
    backed_up_at: Option<String>,
    settled: bool,
    secrets: u64,
    sessions: u64,
    refresh_tokens: u64,
    passwords: u64,
    recovery_codes: u64,
    rows: u64,
    copies: u64,
    last_used_at: Option<String>,
}

#[derive(Deserialize)]
struct ForeignAnswer {
    scheme: String,
    hmac_key: Option<String>,
    count: u64,
    last_used_at: Option<String>,
}

#[derive(Deserialize)]
struct RotatedAnswer {
    file: String,
    version: u32,
    finished: bool,
}

#[derive(Deserialize)]
struct RetiredAnswer {
    keys_disabled: u64,
    secrets_ended: u64,
    sessions_ended: u64,
    refresh_tokens_ended: u64,
    passwords_removed: u64,
    recovery_codes_deleted: u64,
    marks_forgotten: u64,
    left_in: Option<String>,
}

pub fn rotate(args: &RotateArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    let body = json!({ "file": args.file });
    let answer = server.ask("POST", &Target::of(&["secrets", "rotate"]), Some(&body))?;
    if args.common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let rotated: RotatedAnswer = answer.json()?;
    let RotatedAnswer { file, version, .. } = &rotated;
    let words = file.replace('-', " ");
    let mut text = match rotated.finished {
        true => format!(
            "The rotation that was interrupted is finished: version {version} of the {words} is in use.\n"
        ),
        false => format!("Version {version} of the {words} is in use.\n"),
    };
    text.push_str(match file.as_str() {
        "pepper" => {
            "Digests under older versions stay valid; each is replaced when its key is used. See: latchkey secrets status"
        }
        "seal-key" => {
            "All rows are sealed under it. A password is bound to it when its user signs in. See: latchkey secrets status"
        }
        _ => "All copies of secrets are encrypted under it. See: latchkey secrets status",
    });
    text.push_str(&format!(
        "\nEvery older backup of the key files is stale, because it lacks this version. Make a new one: latchkey secrets backup \
         FILE\nand keep the older one as long as backups of the database from before today. When nothing needs it any more, \
         remove the version before: latchkey secrets retire {file} VERSION"
    ));
    print::print(&text)?;
    Ok(End::Done)
}

pub fn status(args: &StatusArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    let answer = server.get(&Target::of(&["secrets"]))?;
    if args.common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let status: StatusAnswer = answer.json()?;
    print::print(&status.written())?;
    Ok(End::Done)
}

pub fn retire(args: &RetireArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    if args.disable_unseen {
        prompt::confirm(
            &format!(
                "Disable every key, end every session and remove every password that still needs version {} of the {}?",
                args.version,
                args.words()
            ),
            args.yes,
        )?;
    }
    let body = json!({
        "file": args.file,
        "version": args.version,
        "disable_unseen": args.disable_unseen,
    });
    let answer = server.ask("POST", &Target::of(&["secrets", "retire"]), Some(&body))?;
    if args.common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let retired: RetiredAnswer = answer.json()?;
    let mut lines = vec![format!(
        "Version {} of the {} is retired: nothing is accepted under it any more.",
        args.version,
        args.words()
    )];
    for (count, what) in [
        (
            retired.keys_disabled,
            "keys disabled, whose secrets have ended; enable and rotate those that go on",
        ),
        (
            retired.secrets_ended,
            "older secrets of rotated keys ended before their grace periods",
        ),
        (retired.sessions_ended, "sessions ended"),
        (retired.refresh_tokens_ended, "refresh tokens ended"),
        (
            retired.passwords_removed,
            "users without a password now; set one with latchkey user password NAME",
        ),
        (
            retired.recovery_codes_deleted,
            "users without recovery codes now, who make new ones on their account page",
        ),
        (
            retired.marks_forgotten,
            "imported keys that a repeated import of the same file would issue again",
        ),
    ] {
        if count > 0 {
            lines.push(format!("{what}: {count}"));
        }
    }
    match &retired.left_in {
        Some(path) => lines.push(format!(
            "The service manager provides {}: remove the line that begins with `{} ` from its source before the next start, or \
             the version comes back.",
            harmless(path),
            args.version
        )),
        None => lines.push(
            "A backup of the database from before this needs the backup of the key files of its time; keep both or neither."
                .to_owned(),
        ),
    }
    print::print(&lines.join("\n"))?;
    Ok(End::Done)
}

impl RetireArgs {
    /// The name of the file in sentences.
    fn words(&self) -> String {
        self.file.replace('-', " ")
    }
}

impl StatusAnswer {
    fn written(&self) -> String {
        let mut lines = vec![
            ["FILE", "VERSION", "ADDED", "SAVED", "UNDER IT", "LAST USED"]
                .map(str::to_owned)
                .to_vec(),
        ];
        let or = |text: &Option<String>, otherwise: &str| {
            text.clone().unwrap_or_else(|| otherwise.to_owned())
        };
        for file in &self.files {
            for version in &file.versions {
                lines.push(vec![
                    file.file.clone(),
                    format!(
                        "{}{}",
                        version.version,
                        if version.newest { " (newest)" } else { "" }
                    ),
                    or(&version.added_at, "-"),
                    or(&version.backed_up_at, "never"),
                    version.things(),
                    or(&version.last_used_at, "-"),
                ]);
            }
        }
        for foreign in &self.foreign {
            let key = foreign.hmac_key.as_deref();
            lines.push(vec![
                "of other systems".to_owned(),
                key.map_or(foreign.scheme.clone(), |key| {
                    format!("{} {}", foreign.scheme, harmless(key))
                }),
                "-".to_owned(),
                "-".to_owned(),
                counted(foreign.count, "secret"),
                or(&foreign.last_used_at, "-"),
            ]);
        }
        let mut text = aligned(&lines);
        for file in &self.files {
            if file.provided {
                text.push_str(&format!(
                    "\nThe service manager provides {}.",
                    harmless(&file.path)
                ));
            }
            if file.versions.iter().any(|version| !version.settled) {
                text.push_str(&format!(
                    "\nNot everything is under the newest version of the {0} yet; a server finishes that at its start, or: latchkey \
                     secrets rotate {0}",
                    file.file
                ));
            }
        }
        if self.upgrades_waiting > 0 {
            text.push_str(&format!(
                "\nUsed, and to be replaced by one under the newest pepper soon: {}.",
                counted(self.upgrades_waiting, "digest")
            ));
        }
        if !self.unsaved.is_empty() {
            text.push_str(&format!(
                "\nNo backup of the key files has the newest version of: {}. Make one: latchkey secrets backup FILE",
                self.unsaved.join(", ")
            ));
        }
        text
    }
}

impl VersionAnswer {
    /// What is under the version, in words.
    fn things(&self) -> String {
        let all = [
            (self.secrets, "secret"),
            (self.sessions, "session"),
            (self.refresh_tokens, "refresh token"),
            (self.passwords, "password"),
            (self.recovery_codes, "recovery code"),
            (self.rows, "row"),
            (self.copies, "sealed secret"),
        ];
        let some: Vec<String> = all
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| counted(*count, what))
            .collect();
        match some.is_empty() {
            true => "nothing".to_owned(),
            false => some.join(", "),
        }
    }
}
