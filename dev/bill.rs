//! What the program is made of, for `latchkey sbom` and `latchkey licenses`: a bill of materials (CycloneDX 1.5, JSON) and
//! every licence.
//!
//! Only what is linked is listed: no build tools, no macros, nothing that only tests use. Besides crates that is SQLite,
//! which one of them brings, Rust's standard library, and the C library where the program is static. Cargo itself says
//! what is linked; nothing is downloaded. The bill has a time only if `SOURCE_DATE_EPOCH` is set, as `dev/release` does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Both documents.
pub struct Bill {
    pub sbom: String,
    pub licences: String,
}

/// Something that is linked.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Part {
    name: String,
    version: String,
    /// An expression of SPDX.
    licence: String,
    repository: String,
    about: &'static str,
}

impl Part {
    /// The package URL, which is also the part's name within the bill.
    fn purl(&self) -> String {
        let kind = if self.about.is_empty() {
            "cargo"
        } else {
            "generic"
        };
        format!("pkg:{kind}/{}@{}", self.name, self.version)
    }

    fn name_and_version(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// Makes both documents; the environment is that of a build script.
pub fn make() -> io::Result<Bill> {
    let target = variable("TARGET")?;
    let tree = cargo(&[
        "tree",
        "--target",
        &target,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "depth",
        "--format",
        "|{p}|{l}|{r}|",
    ])?;
    let (root, parts, needs) = read_tree(&tree)?;
    let folders = folders(&target)?;
    let others = others(&folders)?;
    Ok(Bill {
        sbom: sbom(&root, &parts, &needs, &others, &checksums()?),
        licences: licences(&parts, &others, &folders)?,
    })
}

/// The program itself, the crates that are linked into it, and what each needs, by package URL.
type Tree = (Part, BTreeSet<Part>, BTreeMap<String, BTreeSet<String>>);

/// Reads lines such as `2|ring v0.17.14|Apache-2.0 AND ISC|https://…|`, whose number is the depth. Cargo writes what a
/// crate needs only where it names the crate first.
fn read_tree(tree: &str) -> io::Result<Tree> {
    let mut parts = BTreeSet::new();
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut above: Vec<Part> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = line.split('|').collect();
        let [depth, package, licence, repository, _] = columns.as_slice() else {
            return Err(unreadable(line));
        };
        let mut package = package.split(' ');
        let (Ok(depth), Some(name), Some(version)) =
            (depth.parse::<usize>(), package.next(), package.next())
        else {
            return Err(unreadable(line));
        };
        if licence.is_empty() {
            return Err(io::Error::other(format!("{name} names no licence")));
        }
        let part = Part {
            name: name.to_owned(),
            version: version.trim_start_matches('v').to_owned(),
            licence: licence.replace('/', " OR "),
            repository: (*repository).to_owned(),
            about: "",
        };
        above.truncate(depth);
        needs.entry(part.purl()).or_default();
        if let Some(by) = above.last() {
            needs.entry(by.purl()).or_default().insert(part.purl());
            parts.insert(part.clone());
        }
        above.push(part);
    }
    match above.into_iter().next() {
        Some(root) => Ok((root, parts, needs)),
        None => Err(io::Error::other("cargo tree names nothing")),
    }
}

/// What is linked and is no crate.
fn others(folders: &BTreeMap<(String, String), PathBuf>) -> io::Result<Vec<Part>> {
    let bundled = folders
        .iter()
        .find(|((name, _), _)| name == "libsqlite3-sys");
    let bundled = bundled.ok_or_else(|| io::Error::other("there is no libsqlite3-sys"))?;
    let header = fs::read(bundled.1.join("sqlite3/sqlite3.h"))?;
    let header = String::from_utf8_lossy(&header);
    let sqlite = header.split("#define SQLITE_VERSION ").nth(1);
    let sqlite = sqlite.and_then(|rest| rest.split('"').nth(1));
    let rust = run(Command::new(variable("RUSTC")?).arg("-vV"))?;
    let rust = rust.lines().find_map(|line| line.strip_prefix("release: "));
    let part = |name: &str, version: Option<&str>, licence: &str, about| Part {
        name: name.to_owned(),
        version: version.unwrap_or("unknown").to_owned(),
        licence: licence.to_owned(),
        repository: String::new(),
        about,
    };
    let mut found = vec![
        part(
            "sqlite",
            sqlite,
            "blessing",
            "the bundled source of libsqlite3-sys",
        ),
        part(
            "rust-std",
            rust,
            "MIT OR Apache-2.0",
            "Rust's standard library",
        ),
    ];
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    let library = env::var("CARGO_CFG_TARGET_ENV").unwrap_or_default();
    if is_static && library == "gnu" {
        let version = run(Command::new("getconf").arg("GNU_LIBC_VERSION")).ok();
        let version = version
            .as_deref()
            .and_then(|text| text.split_whitespace().last());
        found.push(part(
            "glibc",
            version,
            "LGPL-2.1-or-later",
            "the C library, linked statically",
        ));
    } else if is_static && library == "musl" {
        found.push(part(
            "musl",
            None,
            "MIT",
            "the C library, linked statically",
        ));
    }
    Ok(found)
}

/// SHA-256 of each crate as it was downloaded, from Cargo.lock.
fn checksums() -> io::Result<BTreeMap<(String, String), String>> {
    let lock = fs::read_to_string("Cargo.lock")?;
    let mut found = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.strip_prefix(" = \"")?.strip_suffix('"'))
        };
        if let (Some(name), Some(version), Some(sum)) =
            (value("name"), value("version"), value("checksum"))
        {
            found.insert((name.to_owned(), version.to_owned()), sum.to_owned());
        }
    }
    Ok(found)
}

/// The folder of the sources of each crate, by name and version.
fn folders(target: &str) -> io::Result<BTreeMap<(String, String), PathBuf>> {
    let metadata = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        target,
    ])?;
    let mut found = BTreeMap::new();
    for rest in metadata.split("\"manifest_path\":\"").skip(1) {
        let path = Path::new(rest.split('"').next().unwrap_or_default());
        let manifest = fs::read_to_string(path)?;
        let package = manifest.split("[package]").nth(1).unwrap_or_default();
        let value = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start().strip_prefix('=')?.split('"').nth(1)
        };
        if let (Some(name), Some(version), Some(folder)) =
            (value("name"), value("version"), path.parent())
        {
            found.insert((name.to_owned(), version.to_owned()), folder.to_owned());
        }
    }
    Ok(found)
}

fn sbom(
    root: &Part,
    parts: &BTreeSet<Part>,
    needs: &BTreeMap<String, BTreeSet<String>>,
    others: &[Part],
    sums: &BTreeMap<(String, String), String>,
) -> String {
    let component = |part: &Part, kind: &str| {
        let mut text = format!(
            "{{\"type\": \"{kind}\", \"bom-ref\": {purl}, \"name\": {}, \"version\": {}, ",
            quoted(&part.name),
            quoted(&part.version),
            purl = quoted(&part.purl()),
        );
        if !part.about.is_empty() {
            text += &format!("\"description\": {}, ", quoted(part.about));
        }
        if let Some(sum) = sums.get(&(part.name.clone(), part.version.clone())) {
            text += &format!(
                "\"hashes\": [{{\"alg\": \"SHA-256\", \"content\": {}}}], ",
                quoted(sum)
            );
        }
        text += &format!(
            "\"licenses\": [{{\"expression\": {}}}], ",
            quoted(&part.licence)
        );
        text += &format!("\"purl\": {}", quoted(&part.purl()));
        if !part.repository.is_empty() {
            let url = quoted(&part.repository);
            text += &format!(", \"externalReferences\": [{{\"type\": \"vcs\", \"url\": {url}}}]");
        }
        text + "}"
    };
    let components = parts
        .iter()
        .chain(others)
        .map(|part| component(part, "library"));
    let components: Vec<String> = components.collect();
    let edges = needs.iter().map(|(by, on)| {
        let more = others.iter().map(Part::purl).filter(|_| *by == root.purl());
        let on: Vec<String> = on
            .iter()
            .cloned()
            .chain(more)
            .map(|on| quoted(&on))
            .collect();
        format!(
            "{{\"ref\": {}, \"dependsOn\": [{}]}}",
            quoted(by),
            on.join(", ")
        )
    });
    let lone = others
        .iter()
        .map(|part| format!("{{\"ref\": {}, \"dependsOn\": []}}", quoted(&part.purl())));
    let edges: Vec<String> = edges.chain(lone).collect();
    let time = env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.parse().ok());
    let time = time.map(|at| format!("\"timestamp\": \"{}\", ", date_time(at)));
    let body = format!(
        " \"version\": 1,\n \"metadata\": {{{}\"component\": {}}},\n \"components\": [\n  {}\n ],\n \"dependencies\": [\n  {}\n ]\n}}\n",
        time.unwrap_or_default(),
        component(root, "application"),
        components.join(",\n  "),
        edges.join(",\n  "),
    );
    format!(
        "{{\n \"bomFormat\": \"CycloneDX\",\n \"specVersion\": \"1.5\",\n \"serialNumber\": \"urn:uuid:{}\",\n{body}",
        uuid(&body)
    )
}

/// A list, then every text once with the names that it is for.
fn licences(
    parts: &BTreeSet<Part>,
    others: &[Part],
    folders: &BTreeMap<(String, String), PathBuf>,
) -> io::Result<String> {
    let mut lines = vec![
        "What Latchkey is made of, and under which licence.".to_owned(),
        String::new(),
    ];
    let mut texts: Vec<(String, Vec<String>)> = Vec::new();
    for part in parts.iter().chain(others) {
        lines.push(format!("{:40} {}", part.name_and_version(), part.licence));
        let Some(folder) = folders.get(&(part.name.clone(), part.version.clone())) else {
            continue;
        };
        let mut files: Vec<PathBuf> = fs::read_dir(folder)?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.retain(|path| path.is_file() && is_licence(path));
        files.sort();
        for file in files {
            let text = String::from_utf8_lossy(&fs::read(file)?).into_owned();
            let text: Vec<&str> = text.lines().map(str::trim_end).collect();
            let text = text.join("\n").trim_matches('\n').to_owned();
            // Many differ in nothing but blanks and line breaks.
            let is_same = |known: &str| known.split_whitespace().eq(text.split_whitespace());
            match texts.iter_mut().find(|(known, _)| is_same(known)) {
                Some((_, names)) => names.push(part.name_and_version()),
                None => texts.push((text, vec![part.name_and_version()])),
            }
        }
    }
    for (text, mut names) in texts {
        names.dedup();
        let rule = "=".repeat(100);
        lines.extend([
            String::new(),
            rule.clone(),
            names.join(", "),
            rule,
            String::new(),
            text,
        ]);
    }
    Ok(lines.join("\n") + "\n")
}

fn is_licence(path: &Path) -> bool {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let starts = ["licence", "license", "copying", "notice", "unlicense"];
    starts.iter().any(|start| name.starts_with(start))
}

/// A text of JSON.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A UUID of version 8 (RFC 9562) that follows from the text, so that two builds agree. It names a document and protects
/// nothing: FNV-1a.
fn uuid(text: &str) -> String {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in text.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    let hex = format!("{hash:032x}");
    format!(
        "{}-{}-8{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}

/// Seconds since 1970 as a date and time of RFC 3339; civil dates by the days of eras of 400 years from 1 March.
fn date_time(at: i64) -> String {
    let (days, second) = (at.div_euclid(86_400) + 719_468, at.rem_euclid(86_400));
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Runs the Cargo of this build, without a network.
fn cargo(args: &[&str]) -> io::Result<String> {
    let mut command = Command::new(variable("CARGO")?);
    command.args(args).args(["--locked", "--offline"]);
    if env::var_os("CARGO_FEATURE_POSTGRES").is_some() {
        command.args(["--features", "postgres"]);
    }
    // Flags and wrappers of the build, such as clippy's, are not for asking.
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        command.env_remove(name);
    }
    run(&mut command)
}

fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{command:?}: {}", why.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|err| io::Error::other(format!("{name}: {err}")))
}

fn unreadable(line: &str) -> io::Error {
    io::Error::other(format!("cargo tree writes {line:?}"))
}
