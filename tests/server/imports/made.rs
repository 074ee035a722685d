//! Real systems make keys: better-auth from npm, djangorestframework-api-key from PyPI, and htpasswd from Debian.
//!
//! Only `dev/test` installs them. Their scripts are in `tests/fixtures/imports`; each writes the dump of its system, and
//! the secrets with what the system itself answers for them. `tests/proxies` uses this file too.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Packages from PyPI; `dev/python` installs them below `target/`.
const PYTHON: [&str; 3] = [
    "Django==5.2.19",
    "djangorestframework==3.16.1",
    "djangorestframework-api-key==3.1.0",
];

/// What a system has made.
pub struct Made {
    folder: PathBuf,
    pub secrets: Vec<MadeSecret>,
}

/// A secret, and whether the system that made it accepts it.
pub struct MadeSecret {
    /// The name of its key.
    pub name: String,
    /// What a client presents; for a password file, the user name, a colon and the password.
    pub secret: String,
    pub works: bool,
}

impl Made {
    /// A file of the dump.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The text of a file of the dump.
    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }

    fn read(folder: PathBuf) -> Made {
        let text = std::fs::read(folder.join("secrets.json")).unwrap();
        let rows: Vec<Value> = serde_json::from_slice(&text).unwrap();
        let secret = |row: &Value| MadeSecret {
            name: row["name"].as_str().unwrap().to_owned(),
            secret: row["secret"].as_str().unwrap().to_owned(),
            works: row["works"].as_bool().unwrap(),
        };
        let secrets = rows.iter().map(secret).collect();
        Made { folder, secrets }
    }
}

/// `auth.db` and `apikey.json` of better-auth; `None` if it is not installed.
pub fn better_auth() -> Option<&'static Made> {
    static MADE: OnceLock<Option<Made>> = OnceLock::new();
    MADE.get_or_init(|| {
        let (from, folder) = (scripts("better-auth"), target("better-auth"));
        if must_run() {
            install_better_auth(&from, &folder);
        }
        if !folder.join("node_modules/better-auth").is_dir() {
            return left_out("better-auth");
        }
        std::fs::copy(from.join("make.mjs"), folder.join("make.mjs")).unwrap();
        let out = fresh(&folder);
        run(Command::new("node")
            .current_dir(&folder)
            .arg("make.mjs")
            .arg(&out));
        Some(Made::read(out))
    })
    .as_ref()
}

/// Installs exactly the versions of `package-lock.json`, unless they are there.
fn install_better_auth(from: &Path, folder: &Path) {
    let lock = std::fs::read(from.join("package-lock.json")).unwrap();
    let done = folder.join("installed.json");
    if std::fs::read(&done).is_ok_and(|known| known == lock) {
        return;
    }
    std::fs::create_dir_all(folder).unwrap();
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(from.join(name), folder.join(name)).unwrap();
    }
    let quiet = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    run(Command::new("npm").current_dir(folder).args(quiet));
    std::fs::write(done, lock).unwrap();
}

/// `keys.csv` and `keys.json` of djangorestframework-api-key; `None` if it is not installed.
pub fn drf() -> Option<&'static Made> {
    static MADE: OnceLock<Option<Made>> = OnceLock::new();
    MADE.get_or_init(|| {
        if must_run() {
            run(Command::new(tree().join("dev/python"))
                .arg("imports")
                .args(PYTHON));
        }
        let folder = tree().join("target/python/imports");
        let packages = std::fs::read_to_string(folder.join("packages")).unwrap_or_default();
        if packages.trim() != PYTHON.join(" ") {
            return left_out("djangorestframework-api-key");
        }
        let out = fresh(&target("drf"));
        let script = scripts("drf").join("make.py");
        run(Command::new(folder.join("bin/python"))
            .arg(script)
            .arg(&out));
        Some(Made::read(out))
    })
    .as_ref()
}

/// The password file `htpasswd` of htpasswd; `None` if it is not installed.
pub fn htpasswd() -> Option<&'static Made> {
    static MADE: OnceLock<Option<Made>> = OnceLock::new();
    MADE.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = std::env::split_paths(&path).any(|it| it.join("htpasswd").is_file());
        assert!(is_there || !must_run(), "htpasswd is missing");
        if !is_there {
            return left_out("htpasswd");
        }
        let out = fresh(&target("htpasswd"));
        run(Command::new(scripts("htpasswd").join("make.sh")).arg(&out));
        Some(Made::read(out))
    })
    .as_ref()
}

fn left_out(system: &str) -> Option<Made> {
    println!("left out: {system} is not installed (dev/test installs it)");
    None
}

/// Whether every test must run.
fn must_run() -> bool {
    std::env::var_os("LATCHKEY_TEST_ALL").is_some()
}

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder with the scripts of a system.
fn scripts(system: &str) -> PathBuf {
    tree().join("tests/fixtures/imports").join(system)
}

/// The folder for what is installed and made.
fn target(system: &str) -> PathBuf {
    tree().join("target/imports").join(system)
}

/// An empty folder for one run.
fn fresh(folder: &Path) -> PathBuf {
    let out = folder.join("made");
    let _ = std::fs::remove_dir_all(&out);
    std::fs::create_dir_all(&out).unwrap();
    out
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let done = command
        .output()
        .unwrap_or_else(|err| panic!("{command:?}: {err}"));
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {complaint}");
    done
}
