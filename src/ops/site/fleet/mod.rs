//! A server and its sites in one process, each with a database in a folder of its own, for histories of thousands of packs. A
//! machine can be killed, and older copies of it can be put back.

mod copies;
mod histories;
mod stolen;
mod year;

use crate::authz::caller::{Caller, Origin};
use crate::domain::hex::hex;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::packs::enrolment::Enrolment;
use crate::error::Result;
use crate::ops::clock::Sources;
use crate::ops::packs::make::{self, Made, Wanted};
use crate::ops::packs::sites::{self, NewSite};
use crate::ops::packs::tests::new_site;
use crate::ops::setup::{self, OwnerPassword, SampleKey};
use crate::ops::site::{Applied, apply, enrol};
use crate::ops::{App, verify};
use crate::store::Durability;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with a database that is open.
struct Machine {
    app: Arc<App>,
    folder: PathBuf,
    files: KeyFiles,
    sources: Sources,
}

/// A folder that no other test uses.
fn fresh_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("latchkey-fleet-{}-{number}", std::process::id());
    // In memory where that can be had: a year commits some ten thousand times.
    let memory = Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => memory.join(name),
        false => std::env::temp_dir().join(name),
    };
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Copies a folder and what is in it.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_folder(&path, &copy),
            false => drop(fs::copy(&path, &copy).unwrap()),
        }
    }
}

impl Machine {
    /// A server.
    fn server(sources: Sources) -> Machine {
        let (folder, files) = (fresh_folder(), KeyFiles::generate());
        // A rotation of the pepper replaces its file.
        fs::write(folder.join("pepper"), pepper_file(&files.peppers.expose())).unwrap();
        setup::create(
            &folder.join("db"),
            files.clone(),
            &[],
            OwnerPassword::SetUp,
            SampleKey::None,
            sources,
        )
        .unwrap();
        Machine::open(folder, files, sources)
    }

    /// A site of an enrolment.
    fn site(enrolment: &Enrolment, sources: Sources) -> Machine {
        let (folder, files) = (fresh_folder(), KeyFiles::generate());
        let text = pepper_file(&enrolment.peppers);
        files.peppers.replace(Peppers::parse(&text).unwrap());
        enrol::create(&folder.join("db"), &files, enrolment, sources).unwrap();
        Machine::open(folder, files, sources)
    }

    fn open(folder: PathBuf, files: KeyFiles, sources: Sources) -> Machine {
        let app = open(&folder, &files, sources);
        Machine {
            app,
            folder,
            files,
            sources,
        }
    }

    /// Stops and starts again.
    fn reopen(&mut self) {
        self.app.close();
        self.app = open(&self.folder, &self.files, self.sources);
    }

    /// Counts the time that has passed, as the upkeep of a process does.
    fn pass_time(&self) {
        self.app.record_clock(Durability::Relaxed).unwrap();
    }

    /// What a process that is killed now leaves.
    fn copy(&self) -> PathBuf {
        let copy = fresh_folder();
        copy_folder(&self.folder, &copy);
        copy
    }

    /// Goes on with another folder in the place of the own one. Nothing of the process reaches it.
    fn go_on_with(&mut self, folder: PathBuf) {
        self.app.close();
        fs::remove_dir_all(&self.folder).unwrap();
        self.folder = folder;
        self.app = open(&self.folder, &self.files, self.sources);
    }

    /// Ends without writing anything any more, and starts again.
    fn kill(&mut self) {
        self.go_on_with(self.copy());
    }

    /// Puts the database of an older copy in the place of the own one, after a kill; the other files stay.
    fn put_database_back(&mut self, older: &Path) {
        let copy = self.copy();
        replace_database(&copy, older);
        self.go_on_with(copy);
    }

    /// The administrator of the machine.
    fn local(&self) -> Caller {
        Caller::local(&self.app.index.directory(), 0, Origin::default()).unwrap()
    }

    /// Enrols a site.
    fn enrol(&self, new: NewSite) -> Enrolment {
        sites::enrol(&self.app, &self.local(), new, None).unwrap().1
    }

    /// Makes a pack for each site, or for the named ones.
    fn make(&self, sites: Option<&[&str]>, whole: bool) -> Result<Vec<Made>> {
        let sites = sites.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        make::make(&self.app, &self.local(), Wanted { sites, whole })
    }

    fn apply(&self, bytes: &[u8]) -> Result<Applied> {
        apply::apply(&self.app, &self.local(), bytes)
    }

    /// The verdict on a question that spends nothing and ends no rotation; `None` if there is none at all, because a pack no
    /// longer counts.
    fn ask(&self, secret: &str, question: &Question<'_>) -> Option<Answer> {
        let answer = |verdict: &verify::Verdict<'_>| {
            let key = verdict.key;
            let owner = key.and_then(|key| key.shared.owner);
            let owner = owner.and_then(|uid| verdict.directory.user(uid));
            Answer {
                code: verdict.code,
                name: key.map(|key| key.name.to_string()).unwrap_or_default(),
                scopes: key
                    .map(|key| key.shared.scopes.to_vec())
                    .unwrap_or_default(),
                owner: owner.map(|user| user.user_name.clone()),
                metadata: key.map(|key| key.metadata().to_owned()).unwrap_or_default(),
            }
        };
        verify::verify_blocking(&self.app, secret, question, None, answer).ok()
    }

    fn code(&self, secret: &str) -> Option<Code> {
        let answer = self.ask(secret, &Question::default());
        answer.map(|answer| answer.code)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.app.close();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn open(folder: &Path, files: &KeyFiles, sources: Sources) -> Arc<App> {
    let app = setup::open(&folder.join("db"), files.clone(), &[], sources).unwrap();
    if app.site().is_none() {
        setup::load_keys(&app).unwrap();
    }
    app
}

/// The file of these versions of a pepper.
fn pepper_file<V: std::fmt::Display>(peppers: &[(V, [u8; 32])]) -> String {
    let line = |(version, bytes): &(V, [u8; 32])| format!("{version} {}\n", hex(bytes));
    peppers.iter().map(line).collect()
}

/// Puts a database, which no process has open, in the place of another.
fn replace_database(folder: &Path, older: &Path) {
    for end in ["", "-wal", "-shm"] {
        let name = format!("db{end}");
        let _ = fs::remove_file(folder.join(&name));
        if older.join(&name).exists() {
            fs::copy(older.join(&name), folder.join(&name)).unwrap();
        }
    }
}

/// What an answer to a verification depends on.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Answer {
    code: Code,
    name: String,
    scopes: Vec<Box<str>>,
    owner: Option<String>,
    metadata: String,
}

/// Numbers of a seed.
struct Random(crate::fuzz::Draw);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0.below(end)
    }

    /// Whether something happens that happens once in so many cases.
    fn once_in(&mut self, cases: usize) -> bool {
        self.below(cases) == 0
    }
}

/// The content of the files of a pack: the whole pack before the one that follows it, if it is needed.
fn bytes_of(made: &Made) -> Vec<u8> {
    let base = made.base.iter().flat_map(|path| fs::read(path).unwrap());
    base.chain(fs::read(&made.path).unwrap()).collect()
}
