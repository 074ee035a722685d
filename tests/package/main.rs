//! The Debian package: installed, started by hand, upgraded, removed and purged, in a folder that serves as the root of
//! a machine. Also checks the units with systemd's own tools.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

mod ansible;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

#[path = "../server/support/wait.rs"]
#[allow(dead_code)]
mod wait;

/// A folder that serves as the root of a machine without any package.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Machine {
        let name = format!("package-{name}-{}", std::process::id());
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&root);
        for folder in ["etc", "var/lib/dpkg/updates", "var/lib/dpkg/info"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["status", "available"] {
            fs::write(root.join("var/lib/dpkg").join(file), "").unwrap();
        }
        Machine { root }
    }

    /// Runs dpkg on this root. The package's scripts run outside of it and receive its path.
    #[track_caller]
    fn dpkg(&self, args: &[&str]) -> String {
        let output = Command::new("dpkg")
            .arg(format!("--root={}", self.root.display()))
            .arg(format!("--log={}", self.root.join("log").display()))
            .args([
                "--force-script-chrootless",
                "--force-depends",
                "--force-confold",
            ])
            .args(args)
            .stdin(Stdio::null())
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    #[track_caller]
    fn expect_file(&self, path: &str, mode: u32) {
        let found = fs::symlink_metadata(self.path(path));
        let found = found.unwrap_or_else(|err| panic!("{path}: {err}"));
        assert_eq!(found.mode() & 0o7777, mode, "{path}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// A server of the installed binary; stopped on drop.
struct Serving {
    child: Child,
    socket: PathBuf,
}

impl Serving {
    fn start(machine: &Machine) -> Serving {
        let child = Command::new(machine.path("usr/bin/latchkey"))
            .args(["serve", "--config"])
            .arg(machine.path("etc/latchkey/latchkey.toml"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(machine.path("var/lib/latchkey"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let socket = machine.path("var/lib/latchkey/latchkey.sock");
        let serving = Serving { child, socket };
        wait::until("the server is ready", || {
            let answer = serving.get("/readyz");
            answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200 "))
        });
        serving
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nLatchkey-Local: 1\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn runs(command: &str) -> bool {
    let found = Command::new(command).arg("--version").output();
    found.is_ok_and(|output: Output| output.status.success())
}

/// Whether a command is missing, so that a test is left out; fails where every test must run.
fn is_left_out(command: &str) -> bool {
    let is_there = runs(command);
    let must_run = std::env::var_os("LATCHKEY_TEST_ALL").is_some();
    assert!(is_there || !must_run, "{command} is missing");
    if !is_there {
        println!("left out: {command} is not installed (dev/test installs it)");
    }
    !is_there
}

/// Builds a package of the binary under test.
fn package(version: &str) -> PathBuf {
    build_package("latchkey", &[], version)
}

/// The same with the options of `dev/package` for another package.
fn build_package(name: &str, options: &[&str], version: &str) -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{version}.deb"));
    let output = Command::new("dev/package")
        .args(options)
        .arg(env!("CARGO_BIN_EXE_latchkey"))
        .arg(&out)
        .arg(version)
        .arg("--fast")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    out
}

/// Whether packages cannot be installed here.
fn no_packages() -> bool {
    if ["dpkg-deb", "systemd-sysusers"]
        .iter()
        .any(|command| is_left_out(command))
    {
        return true;
    }
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("left out: only root can give files to the new user");
    }
    !is_root
}

#[test]
fn the_package_installs_serves_upgrades_and_goes() {
    if no_packages() {
        return;
    }
    let machine = Machine::new("alone");
    let (first, second) = (package("0.1.0-1"), package("0.1.1-1"));

    let said = machine.dpkg(&["--install", first.to_str().unwrap()]);
    assert!(
        said.contains("latchkey init --data /var/lib/latchkey"),
        "{said}"
    );
    for (path, mode) in [
        ("usr/bin/latchkey", 0o755),
        ("etc/latchkey/latchkey.toml", 0o644),
        ("var/lib/latchkey", 0o700),
        ("usr/lib/sysusers.d/latchkey.conf", 0o644),
        ("usr/lib/systemd/system/latchkey.socket", 0o644),
        ("usr/share/man/man1/latchkey.1.gz", 0o644),
        ("usr/share/doc/latchkey/release.pub", 0o644),
        (
            "usr/share/doc/latchkey/examples/monitoring/latchkey.rules.yml",
            0o644,
        ),
        ("usr/share/doc/latchkey/THIRD-PARTY.txt", 0o644),
        ("usr/share/man/man1/latchkey-key-issue.1.gz", 0o644),
        ("usr/share/bash-completion/completions/latchkey", 0o644),
        ("usr/share/zsh/vendor-completions/_latchkey", 0o644),
        ("usr/share/fish/vendor_completions.d/latchkey.fish", 0o644),
        ("usr/share/doc/latchkey/CHANGELOG.md", 0o644),
        ("usr/share/doc/latchkey/README.md", 0o644),
        ("usr/share/doc/latchkey/SECURITY.md", 0o644),
        ("usr/share/doc/latchkey/copyright", 0o644),
        ("usr/share/doc/latchkey/docs/operations.md", 0o644),
        ("usr/share/doc/latchkey/examples/nginx/nginx.conf", 0o644),
        (
            "usr/share/doc/latchkey/examples/systemd/latchkey-backup.timer",
            0o644,
        ),
        ("usr/share/doc/latchkey/THIRD-PARTY.txt", 0o644),
    ] {
        machine.expect_file(path, mode);
    }
    let units = ["usr/lib/systemd/system", "lib/systemd/system"];
    let unit = units
        .iter()
        .map(|folder| machine.path(folder).join("latchkey.service"));
    assert_eq!(unit.filter(|path| path.exists()).count(), 1);
    let users = fs::read_to_string(machine.path("etc/passwd")).unwrap();
    let user = users
        .lines()
        .find(|line| line.starts_with("latchkey:"))
        .unwrap();
    let uid: u32 = user.split(':').nth(2).unwrap().parse().unwrap();
    let folder = fs::metadata(machine.path("var/lib/latchkey")).unwrap();
    assert_eq!(folder.uid(), uid, "{user}");

    // The user of this test starts the server by hand, so the folder belongs to that user meanwhile.
    let data = machine.path("var/lib/latchkey");
    std::os::unix::fs::chown(&data, Some(0), Some(0)).unwrap();
    let init = Command::new(machine.path("usr/bin/latchkey"))
        .args(["init", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(init.status.success(), "{init:?}");
    drop(Serving::start(&machine));

    let settings = machine.path("etc/latchkey/latchkey.toml");
    let changed = fs::read_to_string(&settings).unwrap() + "log_level = \"debug\"\n";
    fs::write(&settings, &changed).unwrap();
    machine.dpkg(&["--install", second.to_str().unwrap()]);
    assert_eq!(
        fs::read_to_string(&settings).unwrap(),
        changed,
        "settings were lost"
    );
    let serving = Serving::start(&machine);
    assert!(serving.get("/v1/keys").unwrap().contains("\"management\""));
    drop(serving);

    machine.dpkg(&["--remove", "latchkey"]);
    assert!(!machine.path("usr/bin/latchkey").exists());
    assert!(settings.exists() && data.join("latchkey.db").exists());
    let said = machine.dpkg(&["--purge", "latchkey"]);
    assert!(
        said.contains("/var/lib/latchkey holds keys and stays"),
        "{said}"
    );
    assert!(!settings.exists() && data.join("latchkey.db").exists());
    let left: Vec<_> = [
        "usr/bin",
        "usr/share/man/man1",
        "usr/lib/sysusers.d",
        "etc/latchkey",
    ]
    .iter()
    .filter(|folder| machine.path(folder).exists())
    .collect();
    assert!(left.is_empty(), "{left:?} stay");
}

#[test]
fn the_package_with_postgresql_takes_the_place_of_the_other_and_gives_it_back() {
    if cfg!(not(feature = "postgres")) {
        return println!("left out: the program has no PostgreSQL (--features postgres)");
    }
    if no_packages() {
        return;
    }
    let machine = Machine::new("cluster");
    let one = package("0.1.0-2");
    let cluster = build_package("latchkey-cluster", &["--cluster"], "0.1.0-2");
    machine.dpkg(&["--install", one.to_str().unwrap()]);
    let data = machine.path("var/lib/latchkey");
    std::os::unix::fs::chown(&data, Some(0), Some(0)).unwrap();
    let init = Command::new(machine.path("usr/bin/latchkey"))
        .args(["init", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(init.status.success(), "{init:?}");
    let settings = machine.path("etc/latchkey/latchkey.toml");
    let changed = fs::read_to_string(&settings).unwrap() + "log_level = \"debug\"\n";
    fs::write(&settings, &changed).unwrap();

    let installed = || {
        let found = ["latchkey", "latchkey-cluster"].map(|name| {
            let status = machine.dpkg(&["--status", name]);
            status.contains("\nStatus: install ok installed\n")
        });
        (found, machine.path("usr/bin/latchkey").exists())
    };
    let keeps_everything = || {
        assert_eq!(fs::read_to_string(&settings).unwrap(), changed);
        let serving = Serving::start(&machine);
        assert!(serving.get("/v1/keys").unwrap().contains("\"management\""));
    };
    let said = machine.dpkg(&["--install", cluster.to_str().unwrap()]);
    assert!(!said.contains("latchkey init"), "{said}");
    assert_eq!(installed(), ([false, true], true));
    // The documents name the program as `latchkey-cluster`.
    let own = fs::read_link(machine.path("usr/bin/latchkey-cluster")).unwrap();
    assert_eq!(own, Path::new("latchkey"));
    keeps_everything();
    // What is left of the package before is not its own any more.
    machine.dpkg(&["--purge", "latchkey"]);
    keeps_everything();

    machine.dpkg(&["--install", one.to_str().unwrap()]);
    assert_eq!(installed(), ([true, false], true));
    assert!(!machine.path("usr/bin/latchkey-cluster").exists());
    keeps_everything();
    let said = machine.dpkg(&["--purge", "latchkey-cluster"]);
    assert!(!said.contains("holds keys and stays"), "{said}");
    keeps_everything();
    machine.dpkg(&["--purge", "latchkey"]);
    assert!(!settings.exists() && data.join("latchkey.db").exists());

    // On an empty machine, it says where the steps are.
    let empty = Machine::new("empty");
    let said = empty.dpkg(&["--install", cluster.to_str().unwrap()]);
    assert!(said.contains("latchkey/docs/cluster.md"), "{said}");
    empty.dpkg(&["--purge", "latchkey-cluster"]);
    assert!(!empty.path("usr/bin").exists() && !empty.path("etc/latchkey").exists());
}

#[test]
fn systemd_finds_the_units_whole_and_well_closed() {
    if is_left_out("systemd-analyze") {
        return;
    }
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("units-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let timers = [
        "latchkey-backup.service",
        "latchkey-backup.timer",
        "latchkey-expiring.service",
        "latchkey-expiring.timer",
    ];
    let own = ["latchkey.service", "latchkey.socket"].map(|name| ("systemd", name));
    for (place, name) in own
        .into_iter()
        .chain(timers.map(|name| ("examples/systemd", name)))
    {
        let text = fs::read_to_string(Path::new(place).join(name)).unwrap();
        // `verify` requires that the program exists.
        let text = text.replace("/usr/bin/latchkey", env!("CARGO_BIN_EXE_latchkey"));
        fs::write(folder.join(name), text).unwrap();
    }
    let analyze = |args: &[&str]| {
        let output = Command::new("systemd-analyze")
            .args(args)
            .current_dir(&folder)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.success(), text.concat())
    };
    let (is_whole, said) = analyze(&[
        "verify",
        "--man=no",
        "./latchkey.service",
        "./latchkey.socket",
    ]);
    assert!(is_whole && said.trim().is_empty(), "{said}");
    for name in timers {
        let (is_whole, said) = analyze(&["verify", "--man=no", &format!("./{name}")]);
        assert!(is_whole && said.trim().is_empty(), "{name}: {said}");
    }
    let (_, said) = analyze(&[
        "security",
        "--offline=true",
        "--threshold=15",
        "./latchkey.service",
    ]);
    let score = said
        .split("Overall exposure level for latchkey.service: ")
        .nth(1);
    let score: f64 = score
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{said}"));
    assert!(score <= 1.5, "{score}\n{said}");
    // Compares with the score that the unit file states, if the installed systemd has the version that it names.
    let unit = fs::read_to_string("systemd/latchkey.service").unwrap();
    let (version, told) = unit
        .split_once("(systemd ")
        .and_then(|(_, rest)| rest.split_once("): "))
        .unwrap();
    let (_, own) = analyze(&["--version"]);
    if own.starts_with(&format!("systemd {version} ")) {
        assert!(told.starts_with(&format!("{score} ")), "{score}\n{said}");
    }
    let _ = fs::remove_dir_all(folder);
}
