//! `latchkey site init`: makes the data folder of a site from an enrolment file.

use crate::cli::failure::{End, Failure, Result};
use crate::cli::serve::TIME;
use crate::cli::{print, prompt};
use crate::config::DataArgs;
use crate::config::folder::{Contents, Folder};
use crate::config::owner::as_caller;
use crate::domain::hex::hex;
use crate::domain::keys::keyfile::KeyKind;
use crate::domain::packs::enrolment::Enrolment;
use crate::files::private;
use crate::ops::site::enrol;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Clone, Debug)]
pub struct InitArgs {
    /// The enrolment file that `latchkey site add` has written at the server
    file: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// A file whose first line is the passphrase; otherwise it is typed or piped in
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Enrols the site.
pub fn init(args: &InitArgs) -> Result<End> {
    let file = prompt::whole(&args.file)?;
    let passphrase = prompt::secret("Passphrase", "passphrase", args.passphrase_file.as_deref())?;
    let mut enrolment = Enrolment::unlock(&passphrase, &file)?
        .map_err(|why| Failure::refused(format!("{}: {why}", args.file.display())))?;
    let folder = Folder::create(&args.data.data)?;
    let shown = folder.path().display().to_string();
    let (name, server) = (enrolment.site.clone(), enrolment.origin.clone());
    if folder.contents()? == Contents::Ready {
        let files = folder.read_key_files()?;
        let passed = enrol::create_again(&folder.database(), &files, &enrolment, TIME)?;
        print::print(&format!(
            "The state of {shown} was lost; it is the site {name} of {server} again. It takes no pack that was made before \
             {passed}, so make a new one at the server, unless a live link brings it:\n  \
             latchkey pack make --site {name} --whole --out DIR"
        ))?;
        return Ok(End::Done);
    }
    let pepper = enrolment
        .peppers
        .iter()
        .map(|(version, pepper)| format!("{version} {}\n", hex(pepper)));
    let pepper: String = pepper.collect();
    folder.put_key_file(KeyKind::Pepper.as_str(), pepper.as_bytes())?;
    let files = folder.make_key_files()?;
    let path = folder.new_database()?;
    // Before the mark: a site of a marked file has no uses until its server hears of it.
    enrol::check_node(&path)?;
    // A second site of an unmarked file could spend what was lent a second time.
    let was_used = enrolment.is_used;
    enrolment.is_used = true;
    let is_marked = was_used || mark(&args.file, &enrolment, &passphrase);
    enrolment.is_used = was_used || !is_marked;
    if enrolment.is_used {
        let why = match was_used {
            true => "a site was made of this file before",
            false => "the file cannot be marked as used",
        };
        eprintln!(
            "latchkey: {why}, so counted keys have no uses here until {} has taken in a report of this site, over a live link or from: \
             latchkey site report",
            enrolment.origin
        );
    }
    enrol::create(&path, &files, &enrolment, TIME)?;
    folder.install_database(&path)?;
    print::print(&format!(
        "{shown} is now the data folder of the site {name} of {server}. It has no keys yet. Apply a pack, and serve the site:\n  \
         latchkey pack apply FILE --data {shown}\n  latchkey serve --site --data {shown}\n\
         Or let the site get its keys over a live link, without packs:\n  latchkey serve --site --server URL --data {shown}\n\
         The enrolment file is not needed any more; destroy it."
    ))?;
    Ok(End::Done)
}

/// Replaces the enrolment file by one with the mark that a site was made of it. Whether that was possible.
fn mark(path: &Path, used: &Enrolment, passphrase: &str) -> bool {
    let Ok(text) = used.lock(passphrase) else {
        return false;
    };
    // Standard input, and what is no file, cannot be marked.
    let replaced = as_caller(|| {
        let path = std::fs::canonicalize(path)?;
        match path.is_file() {
            true => private::replace(&path, text.as_bytes()),
            false => Err(std::io::Error::other("it is not a file")),
        }
    });
    replaced.is_ok()
}
