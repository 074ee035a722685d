//! `latchkey restore`: replaces the database by a backup, without giving back access that was withdrawn since the
//! backup.

use crate::cli::failure::{End, Failure, Result};
use crate::cli::print::print;
use crate::cli::print::table::harmless;
use crate::cli::prompt;
use crate::cli::serve::wall_clock;
use crate::config::DataArgs;
use crate::config::data_folder;
use crate::config::folder::{Contents, Folder, socket_of};
use crate::config::owner::as_caller;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::text::counted;
use crate::domain::tombstones::Tombstones;
use crate::ops::backups::names;
use crate::ops::nodes::require_others_stopped;
use crate::ops::restore;
use crate::ops::restore::{RestoreOptions, Restored};
use crate::ops::setup::TOMBSTONES;
use crate::store::{Foreign, Location, Store};
use serde::Serialize;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// The file of tombstones to use, if the one in the data folder is lost and there is a copy of it
    #[arg(long, value_name = "FILE")]
    tombstones: Option<PathBuf>,
    /// Keep the uses that counted keys have in the backup, although some may have been spent since
    #[arg(long)]
    keep_uses: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

/// The result, for scripts.
#[derive(Serialize)]
struct RestoredBody<'a> {
    backup: String,
    backup_latest_event_at: String,
    backup_events: i64,
    /// Whether there was a record of what has ended since the backup.
    tombstones: bool,
    closed: &'a [String],
    /// Objects in the backup that had been changed outside Latchkey; they were disabled, too.
    altered: &'a [String],
    /// Tables and other objects in the backup that do not belong to Latchkey.
    left_out: Vec<String>,
    /// The sites in the backup. Those that were added since are not known any more.
    sites: &'a [String],
    old_database: Option<String>,
    /// The time at which the restored database continues.
    now: String,
    /// A later time in the backup or in the tombstones that was not accepted.
    doubted: Option<String>,
}

pub fn run(args: &RestoreArgs) -> Result<End> {
    let data = &args.data.data;
    let folder = open(data)?;
    let mut backup = open_backup(&args.file, &folder)?;
    let files = keys_of(&folder, &backup)?;
    let location = folder.location(None)?;
    let (tombstones, known) = tombstones(args, &folder)?;
    if !known && (location.database.is_shared() || folder.database().exists()) {
        eprintln!(
            "There is no file of tombstones, so it is not known what was deleted or disabled since the backup."
        );
    }
    prompt::confirm(
        &format!(
            "Put {} in the place of the database in {}?",
            args.file.display(),
            data.display()
        ),
        args.yes,
    )?;
    require_others_stopped(&location)?;
    let staged = folder.stage(&mut backup, &args.file)?;
    let now = wall_clock();
    let uid = rustix::process::geteuid().as_raw();
    let prepared = restore::prepare(
        &staged,
        &files,
        RestoreOptions {
            tombstones: tombstones.clone(),
            keeps_uses: args.keep_uses,
            actor: format!("local:{uid}"),
            backup: args.file.display().to_string(),
            now,
        },
    );
    let restored = match prepared {
        Ok(restored) => restored,
        Err(err) => {
            folder.unstage();
            return Err(told(err, &args.file, &staged));
        }
    };
    let old = install(&folder, location, &staged, &now.compact())?;
    restore::settle(&folder.path().join(TOMBSTONES), &tombstones, &restored)?;
    tell(args, &restored, known, old.as_deref())?;
    Ok(End::Done)
}

/// Puts the restored database in the place of the old one. Returns where the old one is kept, if there was one.
fn install(
    folder: &Folder,
    location: Location,
    staged: &Path,
    now: &str,
) -> Result<Option<String>> {
    if !location.database.is_shared() {
        let old = folder.install_staged(&format!("latchkey.db.before-{now}"))?;
        return Ok(old.map(|old| old.display().to_string()));
    }
    let kept = format!("latchkey_before_{}", now.to_ascii_lowercase());
    let old = Store::replace(location, staged, &kept);
    folder.unstage();
    Ok(old?.then(|| format!("the schema {kept} of the database on the server")))
}

/// Opens the folder to restore into; its server must not run. `latchkey secrets restore` creates a folder that does not
/// exist yet.
fn open(data: &Path) -> Result<Folder> {
    if !data.exists() {
        return Err(Failure::refused(format!(
            "the data folder {} is not there; on a new machine put the key files back first: latchkey secrets \
             restore FILE --data {}",
            data.display(),
            data.display()
        )));
    }
    match Folder::open_unless_locked(data)? {
        Some(folder) => Ok(folder),
        None => Err(Failure::refused(format!(
            "a server or another command uses {} (its socket is {}); stop it first, nothing was changed",
            data.display(),
            socket_of(data).display()
        ))),
    }
}

fn keys_of(folder: &Folder, backup: &File) -> Result<KeyFiles> {
    if folder.contents()? == Contents::Empty {
        return Err(Failure::refused(format!(
            "{} has no pepper, and without the right one no key of a backup can be verified; put it back first: \
             latchkey secrets restore FILE --data {}",
            folder.path().display(),
            folder.path().display()
        )));
    }
    Ok(folder.read_key_files_for(|| Ok(Store::schema_in(backup)))?)
}

/// Opens the backup; refuses a file that `latchkey backup` cannot have made.
fn open_backup(file: &Path, folder: &Folder) -> Result<File> {
    let shown = file.display();
    let opened = as_caller(|| {
        let found = fs::metadata(file)?;
        // Opening a pipe would wait for a process that writes to it.
        match found.is_file() {
            true => File::open(file).map(Some),
            false => Ok(None),
        }
    });
    let unreadable = |err: std::io::Error| {
        Failure::refused(format!(
            "{shown} cannot be read: {err}; nothing was changed"
        ))
    };
    let Some(opened) = opened.map_err(unreadable)? else {
        return Err(Failure::refused(format!(
            "{shown} is not a file; nothing was changed"
        )));
    };
    let found = opened.metadata().map_err(unreadable)?;
    if let Ok(database) = fs::metadata(folder.database())
        && (database.dev(), database.ino()) == (found.dev(), found.ino())
    {
        return Err(Failure::refused(format!(
            "{shown} is the database itself; nothing was changed"
        )));
    }
    for suffix in ["-wal", "-journal"] {
        let beside = format!("{shown}{suffix}");
        if as_caller(|| fs::metadata(&beside)).is_ok_and(|log| log.len() > 0) {
            return Err(Failure::refused(format!(
                "{beside} lies beside it: this is a copy of a database in use and not whole; make backups with: latchkey \
                 backup FILE. Nothing was changed"
            )));
        }
    }
    Ok(opened)
}

/// Reads the record of what has ended, and returns whether there is one.
fn tombstones(args: &RestoreArgs, folder: &Folder) -> Result<(Tombstones, bool)> {
    let path = args
        .tombstones
        .clone()
        .unwrap_or_else(|| folder.path().join(TOMBSTONES));
    let read = match args.tombstones {
        Some(_) => as_caller(|| fs::read(&path)),
        None => fs::read(&path),
    };
    let read = match read {
        Ok(bytes) => Tombstones::parse(&bytes),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound && args.tombstones.is_none() => {
            return Ok((Tombstones::default(), false));
        }
        Err(err) => {
            let advice = match err.kind() {
                // Root works as the owner of the folder, and a file that root has copied there may be root's.
                std::io::ErrorKind::PermissionDenied if args.tombstones.is_none() => format!(
                    "; give it to the owner of the folder: chown --reference={} {}",
                    folder.path().display(),
                    path.display()
                ),
                _ => String::new(),
            };
            return Err(Failure::refused(format!(
                "{} cannot be read: {err}; nothing was changed{advice}",
                path.display()
            )));
        }
    };
    if read.damaged > 0 {
        eprintln!(
            "{}: {} passed over, because damaged, and {} good",
            path.display(),
            counted(read.damaged as u64, "line"),
            read.lines
        );
    }
    Ok((read, true))
}

/// Makes an error refer to the backup instead of to the temporary copy that was examined.
fn told(err: crate::error::Error, file: &Path, staged: &Path) -> Failure {
    let staged = staged.display().to_string();
    match Failure::from(err) {
        Failure::Refused(sentence) => Failure::Refused(format!(
            "{}; the database is as it was",
            sentence.replace(&staged, &file.display().to_string())
        )),
        other => other,
    }
}

fn tell(args: &RestoreArgs, restored: &Restored, known: bool, old: Option<&str>) -> Result<()> {
    let closed = restored.closed.lines();
    if args.json {
        let body = RestoredBody {
            backup: args.file.display().to_string(),
            backup_latest_event_at: restored.at.to_string(),
            backup_events: restored.events,
            tombstones: known,
            closed: &closed,
            altered: &restored.altered,
            left_out: restored.left_out.iter().map(Foreign::shown).collect(),
            sites: &restored.sites,
            old_database: old.map(str::to_owned),
            now: restored.now.to_string(),
            doubted: restored.doubted.map(|at| at.to_string()),
        };
        return print(&serde_json::to_string(&body).unwrap_or_default());
    }
    let mut text = format!(
        "Restored {}: {}, the latest of {}.\n",
        args.file.display(),
        counted(restored.events.unsigned_abs(), "event"),
        restored.at
    );
    for line in &closed {
        text.push_str(&format!("  {}\n", harmless(line)));
    }
    if !restored.altered.is_empty() {
        text.push_str(&format!(
            "  changed in the backup past Latchkey, closed and to be looked at ({}): {}\n",
            restored.altered.len(),
            harmless(&restored.altered.join(", "))
        ));
    }
    if !restored.left_out.is_empty() {
        text.push_str(&format!(
            "  left out, because it is not Latchkey's: {}\n",
            harmless(&names(&restored.left_out))
        ));
    }
    if let Some(doubted) = restored.doubted {
        text.push_str(&format!(
            "  it is {}; the time {doubted}, which the backup or the tombstones know of, was not believed. Keys that had ended by then \
             are disabled: enable those that should go on, with latchkey key enable ID\n",
            restored.now
        ));
    }
    if !known {
        text.push_str("  what was deleted or disabled since the backup is not known: look through users and keys\n");
    }
    if let Some(old) = old {
        text.push_str(&format!("The old database is kept as {old}.\n"));
    }
    text.push_str(&about_sites(&restored.sites));
    text.push_str(&format!(
        "Serve it with:\n  {}",
        data_folder::start_command(&args.data.data)
    ));
    print(&text)
}

/// What is to be done at sites, which do not follow a restored server before their operators have decided. A site that was added after the
/// backup is in none of its tables.
fn about_sites(sites: &[String]) -> String {
    if sites.is_empty() {
        return String::new();
    }
    format!(
        "Sites in the backup: {}. When the server runs:\n  \
         a site that knows more than the backup keeps what it has; at each of them run: latchkey site reset\n  \
         then bring it a new pack: latchkey pack make --site NAME --out DIR; a linked site gets it itself\n  \
         take in the newest report of each: latchkey site collect DIR\n  \
         a site that was added since the backup has to be enrolled again: latchkey site add\n",
        harmless(&sites.join(", "))
    )
}
