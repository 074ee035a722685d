//! What a walk leaves out: the pattern files that count in a folder, and which of them has the word.
//!
//! As git does it, and for .ignore files as ripgrep does. From strong to weak: .ignore files; .gitignore files of the
//! same repository; its info/exclude; the user's own file, `git/ignore` in `$XDG_CONFIG_HOME` or in `$HOME/.config`.
//! Of files with the same name the nearest has the word, of its patterns the last that matches. The files of the folders
//! above the one that was named count too, .gitignore files up to the repository's top folder; without a repository
//! all of them. What is below a folder that is left out is never met, so no pattern brings it back.
//!
//! The user's file is found by environment variables alone. Another one that `core.excludesFile` of git's settings
//! names is not read, as those settings include one another and know conditions: its patterns leave nothing out here.

use super::patterns::{Patterns, Place, Word};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::iter::successors;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Size of a file with patterns. One that is larger is not applied, and told.
const PATTERNS_BYTES_MAX: u64 = 1024 * 1024;
/// Size of a file that git keeps a path in.
const POINTER_BYTES_MAX: u64 = 8 * 1024;

/// What could not be applied, each with its file and the reason.
pub type Unapplied = Vec<String>;

/// The user's own patterns; they count in all repositories.
pub struct User(Arc<Patterns>);

/// The rules in one folder.
pub struct Rules {
    /// The folder's path without links, with a slash at its end.
    folder: Vec<u8>,
    nearest: Option<Arc<Level>>,
    user: Arc<Patterns>,
}

/// What the files of one folder say. Folders that say nothing have none.
struct Level {
    /// How much of a path names this folder, the slash included. Patterns see what follows.
    folder_bytes: usize,
    /// .ignore
    own: Patterns,
    /// .gitignore
    git: Patterns,
    /// Weaker than those of .gitignore, the stronger first.
    weak: Vec<Arc<Patterns>>,
    /// Whether git sees nothing above.
    is_top: bool,
    above: Option<Arc<Level>>,
}

impl User {
    pub fn read(unapplied: &mut Unapplied) -> User {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let settings = set("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".config")));
        User(Arc::new(settings.map_or_else(Patterns::default, |it| {
            patterns(&it.join("git/ignore"), unapplied)
        })))
    }
}

impl Rules {
    /// Those of the folders above one that was named; [`Rules::with_files`] adds its own.
    pub fn above(named: &Path, user: &User, unapplied: &mut Unapplied) -> Rules {
        let mut rules = Rules {
            folder: with_slash(named),
            nearest: None,
            user: Arc::clone(&user.0),
        };
        let real = match named.canonicalize() {
            Ok(real) => real,
            Err(err) => {
                unapplied.push(told(named, &err));
                return rules;
            }
        };
        let top = real.ancestors().find(|it| it.join(".git").exists());
        let mut above: Vec<&Path> = real.ancestors().skip(1).collect();
        above.reverse();
        for folder in above {
            rules.folder = with_slash(folder);
            let is_seen_by_git = top.is_none_or(|top| folder.starts_with(top));
            rules.add(folder, is_seen_by_git, unapplied);
        }
        rules.folder = with_slash(&real);
        if top.is_none() && !rules.user.is_empty() {
            rules.nearest = Some(Arc::new(Level {
                folder_bytes: rules.folder.len(),
                own: Patterns::default(),
                git: Patterns::default(),
                weak: vec![Arc::clone(&rules.user)],
                is_top: false,
                above: rules.nearest.take(),
            }));
        }
        rules
    }

    /// Those of a folder in this one, without its own files.
    pub fn inside(&self, name: &OsStr) -> Rules {
        let mut folder = Vec::with_capacity(self.folder.len() + name.len() + 1);
        folder.extend_from_slice(&self.folder);
        folder.extend_from_slice(name.as_bytes());
        folder.push(b'/');
        Rules {
            folder,
            nearest: self.nearest.clone(),
            user: Arc::clone(&self.user),
        }
    }

    /// Adds the files of this folder, read at `path`.
    pub fn with_files(mut self, path: &Path, unapplied: &mut Unapplied) -> Rules {
        self.add(path, true, unapplied);
        self
    }

    /// Whether an entry of the folder is left out; a link to a folder is not a folder.
    pub fn leaves_out(&self, name: &OsStr, is_folder: bool) -> bool {
        if self.nearest.is_none() {
            return false;
        }
        let path = [&self.folder, name.as_bytes()].concat();
        let word = |level: &Level, patterns: &Patterns| {
            let place = Place {
                path: &path[level.folder_bytes..],
                name_at: self.folder.len() - level.folder_bytes,
                is_folder,
            };
            patterns.word(place)
        };
        let all = || successors(self.nearest.as_deref(), |it| it.above.as_deref());
        let git = || {
            successors(self.nearest.as_deref(), |it| {
                it.above.as_deref().filter(|_| !it.is_top)
            })
        };
        all()
            .find_map(|it| word(it, &it.own))
            .or_else(|| git().find_map(|it| word(it, &it.git)))
            .or_else(|| git().find_map(|it| it.weak.iter().find_map(|weak| word(it, weak))))
            == Some(Word::LeaveOut)
    }

    fn add(&mut self, path: &Path, is_seen_by_git: bool, unapplied: &mut Unapplied) {
        let mut level = Level {
            folder_bytes: self.folder.len(),
            own: patterns(&path.join(".ignore"), unapplied),
            git: Patterns::default(),
            weak: Vec::new(),
            is_top: false,
            above: None,
        };
        if is_seen_by_git {
            level.git = patterns(&path.join(".gitignore"), unapplied);
            if let Some(repository) = repository(path, unapplied) {
                let exclude = patterns(&repository.join("info/exclude"), unapplied);
                level.weak = vec![Arc::new(exclude), Arc::clone(&self.user)];
                level.is_top = true;
            }
        }
        if level.is_top || !level.own.is_empty() || !level.git.is_empty() {
            level.above = self.nearest.take();
            self.nearest = Some(Arc::new(level));
        }
    }
}

/// The patterns of a file; none if there is no such file, or a folder or the like in its place.
fn patterns(path: &Path, unapplied: &mut Unapplied) -> Patterns {
    let bytes = match small_file(path, PATTERNS_BYTES_MAX) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Patterns::default(),
        Err(err) => {
            unapplied.push(told(path, &err));
            return Patterns::default();
        }
    };
    let (patterns, fault) = Patterns::parse(bytes);
    if let Some(fault) = fault {
        let path = path.display();
        unapplied.push(format!(
            "{path}:{}: the line {}, so it leaves nothing out",
            fault.line, fault.why
        ));
    }
    patterns
}

/// Where git keeps what belongs to the repository whose top folder this is: mostly `.git`, or where a file of that name
/// leads for a submodule or a second working tree.
fn repository(top: &Path, unapplied: &mut Unapplied) -> Option<PathBuf> {
    let git = top.join(".git");
    let pointer = match fs::metadata(&git) {
        Ok(metadata) if metadata.is_dir() => return Some(git),
        Ok(_) => small_file(&git, POINTER_BYTES_MAX),
        Err(err) => Err(err),
    };
    let pointed = pointer.and_then(|pointer| {
        let Some(own) = pointer
            .as_deref()
            .and_then(|it| it.strip_prefix(b"gitdir:"))
        else {
            return Ok(git.clone());
        };
        let own = top.join(OsStr::from_bytes(own.trim_ascii()));
        let common = small_file(&own.join("commondir"), POINTER_BYTES_MAX)?;
        Ok(common.map_or_else(
            || own.clone(),
            |it| own.join(OsStr::from_bytes(it.trim_ascii())),
        ))
    });
    match pointed {
        Ok(repository) => Some(repository),
        Err(err) if err.kind() == ErrorKind::NotFound => None,
        Err(err) => {
            unapplied.push(told(&git, &err));
            None
        }
    }
}

/// The whole of a file that somebody else may have made: never waits for a pipe. `None` if there is no such file.
fn small_file(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let is_missing = |kind| matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        Err(err) if is_missing(err.kind()) => return Ok(None),
        Err(err) => return Err(err),
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let why = format!("larger than {bytes_max} bytes, not applied");
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    Ok(Some(bytes))
}

fn with_slash(folder: &Path) -> Vec<u8> {
    let mut bytes = folder.as_os_str().as_bytes().to_vec();
    if bytes.last() != Some(&b'/') {
        bytes.push(b'/');
    }
    bytes
}

fn told(path: &Path, err: &io::Error) -> String {
    format!("{}: {err}", path.display())
}
