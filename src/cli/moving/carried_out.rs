//! The steps of a move. An interrupted one leaves at most one place in use, and the same command finishes it.
//!
//! To PostgreSQL: the copy is committed there together with the event of the departure, so it is not in use; then that event is
//! committed here, and here is not in use either; then the copy arrives, and the folder remembers it. To a folder: the
//! departure is committed, the copy is made and checked, the schema gets another name, which ends every node that still runs,
//! and the copy arrives.

use super::MoveArgs;
use crate::cli::failure::{End, Failure, Result};
use crate::cli::print::print;
use crate::cli::prompt;
use crate::cli::serve::TIME;
use crate::config::data_folder;
use crate::config::database::{DatabaseArgs, is_remembered};
use crate::config::folder::{Contents, Folder, not_initialised};
use crate::config::key_files::{hmac_files, text_of};
use crate::dialects::PRESETS;
use crate::domain::keys::keyfile::KeyKind;
use crate::error::Error;
use crate::ops::doctor::{self, Finding};
use crate::ops::moving::{Departure, Mover, departure};
use crate::ops::nodes::require_others_stopped;
use crate::ops::{App, restore, setup};
use crate::store::postgres::{Address, set_aside};
use crate::store::{Location, Store, schema_upgrade, transfer};
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};

/// The name of the copy in a folder until it is complete.
const ARRIVING: &str = "latchkey.db.arriving";

pub fn run(args: &MoveArgs) -> Result<End> {
    let data = &args.data.data;
    if !data.exists() {
        return Err(not_initialised(data).into());
    }
    let folder = Folder::open(data)?;
    if folder.contents()? != Contents::Ready {
        return Err(not_initialised(data).into());
    }
    let is_address = args.to.starts_with("postgres://")
        || args.to.starts_with("postgresql://")
        || args.to.contains("dbname=");
    match (
        is_address,
        is_remembered(data) && !folder.database().exists(),
    ) {
        (true, false) => to_server(args, &folder)?,
        (true, true) => {
            return Err(Failure::refused(
                "the database is on PostgreSQL already; use the tools of PostgreSQL to move it to another server, and then \
                 latchkey serve --database",
            ));
        }
        (false, _) => to_folder(args, &folder)?,
    }
    Ok(End::Done)
}

fn to_server(args: &MoveArgs, folder: &Folder) -> Result<()> {
    let settings = DatabaseArgs {
        database: Some(args.to.clone()),
        database_password_file: args.database_password_file.clone(),
        database_ca: args.database_ca.clone(),
        database_certificate: args.database_certificate.clone(),
        database_key: args.database_key.clone(),
        allow_plain_database: args.allow_plain_database,
        no_notify: false,
    };
    settings.check(folder.path())?;
    let own = folder.database();
    let address = settings.address(folder.path(), &args.to)?;
    let location = Location::on_a_server(&own, address.clone());
    require_others_stopped(&location)?;
    let mover = match Store::read_copy(&own, departure)? {
        None => {
            let mover = mover(folder, Location::from(&own))?;
            confirm(
                args,
                "Every node that will use it needs the key files of this folder.",
            )?;
            let (copier, to) = (mover.clone(), address.clone());
            mover.leave(&own, &args.to, move |from| {
                copier.load(&to, from, watched())
            })?;
            mover
        }
        Some(left) if left.to == args.to => mover_of(folder)?,
        Some(left) => return Err(left.refusal().into()),
    };
    let left = recorded(Store::read_copy(&own, departure)?)?;
    mover.arrive(location.clone(), &left, &own.display().to_string())?;
    folder.remember(&settings)?;
    let kept = folder.keep_left(&left)?;
    let note = format!(
        "The old file is kept as {}; it is not used any more.",
        kept.display()
    );
    tell(folder, location, &note)
}

fn to_folder(args: &MoveArgs, folder: &Folder) -> Result<()> {
    let to = std::path::absolute(&args.to)
        .map_err(|err| Failure::refused(format!("{}: {err}", args.to)))?;
    let place = to.display().to_string();
    let is_own = std::fs::canonicalize(&to).ok() == std::fs::canonicalize(folder.path()).ok();
    // Another folder is locked as well.
    let other = match is_own {
        true => None,
        false => Some(Folder::create(&to)?),
    };
    let target = other.as_ref().unwrap_or(folder);
    let settings = crate::config::database::remembered(folder.path())?;
    let Some((settings, database)) = settings.and_then(DatabaseArgs::named) else {
        return Err(Failure::refused(format!(
            "the database of {} is a file already; stop the server and move the folder",
            folder.path().display()
        )));
    };
    let address = settings.address(folder.path(), &database)?;
    let location = Location::on_a_server(&folder.database(), address.clone());
    require_others_stopped(&location)?;
    copy_key_files(folder, target)?;
    let own = target.database();
    let arriving = match own.exists() {
        true => Some(Store::read_copy(&own, departure)?),
        false => None,
    };
    let (mover, left) = match arriving {
        // The copy is complete, so it is enough to finish.
        Some(Some(left)) if left.to == place => (mover_of(target)?, left),
        Some(_) => {
            return Err(Failure::refused(format!(
                "{} is there already and has data; it was left as it is",
                own.display()
            )));
        }
        None => {
            let (mover, left) = leave_server(args, folder, location, &place)?;
            fetch(&mover, &address, target, &left)?;
            (mover, left)
        }
    };
    let aside = set_aside(&address, left.event)?;
    mover.arrive(&own, &left, &database)?;
    if is_own {
        folder.forget()?;
    }
    tell(
        target,
        Location::from(&own),
        &format!(
            "The schema on the server is kept as {aside}; drop it when you do not need it any more."
        ),
    )
}

/// Records the departure in a database on a server, unless an interrupted move has.
fn leave_server(
    args: &MoveArgs,
    folder: &Folder,
    location: Location,
    place: &str,
) -> Result<(Mover, Departure)> {
    let found = location.database.open_reader()?;
    let (version, own) = schema_upgrade::versions(&found)?;
    if version != own {
        return Err(Failure::refused(format!(
            "nothing was moved, because the database has schema {version} and this program is of schema {own}; bring the database \
             there first with latchkey cluster upgrade, or move it with the program of its schema"
        )));
    }
    let left = departure(&found)?;
    drop(found);
    match left {
        Some(left) if left.to == place => return Ok((mover_of(folder)?, left)),
        Some(left) => return Err(left.refusal().into()),
        None => {}
    }
    let mover = mover(folder, location.clone())?;
    confirm(
        args,
        "Stop every node first; none of them can be used afterwards.",
    )?;
    mover.leave(location.clone(), place, |_| Ok(()))?;
    let left = recorded(departure(&location.database.open_reader()?)?)?;
    Ok((mover, left))
}

fn recorded(left: Option<Departure>) -> Result<Departure> {
    let left = left.ok_or_else(|| Error::internal("the departure was not recorded"));
    Ok(left?)
}

/// Copies a database from a server into the folder, where it ends with the departure.
fn fetch(mover: &Mover, address: &Address, target: &Folder, left: &Departure) -> Result<()> {
    let path = target.new_file(ARRIVING)?;
    let reader = Location::on_a_server(&path, address.patient());
    let reader = reader.database.open_reader()?;
    transfer::to_file(&reader, &path, watched())?;
    restore::check(&path, &mover.files, mover.now)?;
    if Store::read_copy(&path, departure)?.as_ref() != Some(left) {
        return Err(Failure::refused(
            "something was written to the database after it was left, so another node still runs; stop every node, and repeat the \
             move",
        ));
    }
    Ok(target.install_database(&path)?)
}

/// Checks the database, and returns who moves it and when. The database is closed again.
fn mover(folder: &Folder, location: Location) -> Result<Mover> {
    let files = folder.read_key_files()?;
    let app = setup::open_for_a_command(location, files.clone(), PRESETS, TIME)?;
    let now = app.now().wall;
    let is_site = app.site().is_some();
    let failed = failures(&app);
    app.close();
    if is_site {
        return Err(Failure::refused(
            "a site has its database in its folder; it is not moved",
        ));
    }
    match failed.is_empty() {
        true => Ok(Mover {
            files,
            actor: actor(),
            now,
        }),
        false => Err(Failure::refused(format!(
            "nothing was moved, because the database is not as it should be ({}); latchkey doctor says what to do",
            failed.join("; ")
        ))),
    }
}

/// Who goes on with a move that was interrupted.
fn mover_of(folder: &Folder) -> Result<Mover> {
    Ok(Mover {
        files: folder.read_key_files()?,
        actor: actor(),
        now: (TIME.wall)(),
    })
}

/// The checks of the content that fail.
fn failures(app: &App) -> Vec<String> {
    let checks = doctor::of_content(app).into_iter();
    let failed = checks.filter(|check| check.finding == Finding::Failed);
    failed
        .map(|check| format!("{}: {}", check.name, check.found))
        .collect()
}

fn actor() -> String {
    format!("local:{}", rustix::process::geteuid().as_raw())
}

fn confirm(args: &MoveArgs, note: &str) -> Result<()> {
    prompt::confirm(
        &format!(
            "Move the database of {} to {}? {note}",
            args.data.data.display(),
            args.to
        ),
        args.yes,
    )
}

/// Shows the progress on a terminal.
fn watched() -> impl FnMut(u64, u64) + Send + 'static {
    let is_shown = stderr().is_terminal();
    let mut last = u64::MAX;
    move |done, all| {
        let percent = (done * 100).checked_div(all).unwrap_or(100);
        if is_shown && percent != last {
            last = percent;
            let end = if done == all { "\r      \r" } else { "" };
            let _ = write!(stderr(), "\r{percent:3} %{end}");
        }
    }
}

/// Puts the key files of one folder into another one that lacks them.
fn copy_key_files(from: &Folder, to: &Folder) -> Result<()> {
    if from.path() == to.path() {
        return Ok(());
    }
    for kind in KeyKind::ALL {
        if !crate::config::key_files::path_of(to.path(), kind).exists() {
            let text = text_of(from.path(), kind).map_err(Failure::refused)?;
            to.put_key_file(kind.as_str(), text.as_bytes())?;
        }
    }
    let unreadable =
        |err: std::io::Error| Failure::refused(format!("the HMAC keys cannot be read: {err}"));
    for (name, bytes) in hmac_files(from.path()).map_err(unreadable)? {
        let name: PathBuf = Path::new(crate::config::key_files::HMAC_KEYS).join(name);
        if !to.path().join(&name).exists() {
            to.put_key_file(&name.display().to_string(), &bytes)?;
        }
    }
    Ok(())
}

/// Checks the database in its new place, and prints what is there.
fn tell(folder: &Folder, location: Location, note: &str) -> Result<()> {
    let files = folder.read_key_files()?;
    let reader = location.database.open_reader()?;
    let app = setup::open_for_a_command(location, files, PRESETS, TIME)?;
    let failed = failures(&app);
    let rows = transfer::rows(&reader)?;
    // The last connection to a file removes its log.
    drop(reader);
    app.close();
    failed.iter().for_each(|failed| eprintln!("{failed}"));
    print(&format!(
        "Moved {rows} rows; every table has the same rows in both places. {note}\nServe it with:\n  {}",
        data_folder::start_command(folder.path())
    ))
}
