//! `latchkey cluster check`.

use super::{CheckArgs, patroni};
use crate::cli::doctor::{Check, Doctor};
use crate::cli::failure::{End, Failure, Result};
use crate::config::database::{DatabaseArgs, remembered};
use crate::config::folder::Folder;
use crate::domain::keys::keyfile::KeyFiles;
use crate::ops::doctor::{self, cluster};
use crate::ops::schema_upgrade::LIVE_MS_MIN;
use crate::store::postgres::{Address, facts};
use crate::store::{Location, Read, quoted};
use std::path::Path;

/// What this cannot see.
const UNSEEN: [&str; 2] = [
    "whether the machines of the database, its standbys and etcd can fail one by one: where they stand is not known here",
    "the version of etcd, which must be 3.4.22 or later",
];

pub fn run(args: &CheckArgs) -> Result<End> {
    let (settings, database) = settings(args)?;
    settings.check(&args.data.data)?;
    let address = settings.address(&args.data.data, &database)?;
    let limits = args.cluster.limits(true)?.unwrap_or_default();
    let mut checks = of_server(&address, &args.data.data);
    for url in &args.patroni {
        checks.extend(patroni::checks(url, limits.refuse_after_ms));
    }
    let unseen = UNSEEN.map(str::to_owned).to_vec();
    Doctor::of(checks, unseen).print(args.json)
}

/// The database of the options, otherwise the one that the folder remembers.
fn settings(args: &CheckArgs) -> Result<(DatabaseArgs, String)> {
    let found = match &args.database.database {
        Some(_) => Some(args.database.clone()),
        None => remembered(&args.data.data)?,
    };
    let found = found.and_then(DatabaseArgs::named);
    found.ok_or_else(|| {
        Failure::refused(format!(
            "{} has no database on PostgreSQL; name the one to check with --database",
            args.data.data.display()
        ))
    })
}

fn of_server(address: &Address, data: &Path) -> Vec<Check> {
    let name = "PostgreSQL";
    let unusable = |why: String| vec![Check::failed(name, &why, "mend what it says and ask again")];
    let facts = match facts(address) {
        Ok(facts) => facts,
        Err(err) => return unusable(shown(err)),
    };
    let mut found: Vec<Check> = cluster::of_server(&facts).iter().map(Check::of).collect();
    if !facts.has_schema && !facts.may_create {
        found.push(Check::failed(
            "schema",
            &format!(
                "there is no database of Latchkey yet, and the user {} may not create its schema in the database {}",
                facts.user, facts.database
            ),
            &format!(
                "GRANT CREATE ON DATABASE {} TO {}",
                quoted(&facts.database),
                quoted(&facts.user)
            ),
        ));
        return found;
    }
    if !facts.has_schema {
        found.push(Check::warning(
            "schema",
            "there is no database of Latchkey yet",
            "create it with: latchkey init --database ADDRESS",
        ));
        return found;
    }
    let reader = Location::on_a_server(data, address.clone());
    match reader.database.open_reader() {
        Ok(read) => found.extend(of_schema(&read, data)),
        Err(err) => found.push(Check::failed(
            "schema",
            &shown(err),
            "start a node of the version that wrote it",
        )),
    }
    found
}

fn of_schema(read: &Read, data: &Path) -> Vec<Check> {
    let mut found = Vec::new();
    match doctor::schema_of(read, LIVE_MS_MIN) {
        Ok(check) => found.push(Check::of(&check)),
        Err(err) => found.push(Check::failed(
            "schema",
            &shown(err),
            "look into the log of the server",
        )),
    }
    match key_files(data) {
        Ok(None) => {}
        Ok(Some(files)) => match cluster::key_files_fit(read, &files) {
            Ok(check) => found.push(Check::of(&check)),
            Err(err) => found.push(Check::failed("key files", &shown(err), "")),
        },
        Err(why) => found.push(Check::warning(
            "key files",
            &why,
            "stop the server, or ask latchkey doctor, which compares them with the database",
        )),
    }
    found
}

/// The key files of the folder; `None` if it has none. They are read with the lock of the folder, which a server that runs has.
fn key_files(data: &Path) -> std::result::Result<Option<KeyFiles>, String> {
    if !crate::config::folder::is_ours(data) {
        return Ok(None);
    }
    let folder = Folder::open_unless_locked(data).map_err(shown)?;
    let Some(folder) = folder else {
        return Err("not compared with the database, because a server uses the folder".to_owned());
    };
    folder.read_key_files().map(Some).map_err(shown)
}

fn shown(err: crate::error::Error) -> String {
    let (Failure::Refused(why) | Failure::Usage(why)) = Failure::from(err);
    why
}
