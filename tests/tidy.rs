//! Tests of the source tree: layers, homes of third-party crates, words, headings, documents.
//!
//! This structure keeps the security model readable; to change the structure, change these tables first.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/clocks.rs"]
mod clocks;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/installers.rs"]
mod installers;
#[path = "tidy/postgres.rs"]
mod postgres;

use std::fs;
use std::path::PathBuf;

/// A module may use modules of a lower rank and itself. `main`, `cli` and `config` may use all.
#[rustfmt::skip]
const RANKS: &[(&str, u8)] = &[
    ("fuzz", 0), ("refusals", 0), ("error", 1), ("domain", 2), ("files", 2), ("store", 3), ("index", 3), ("http1", 3), ("authz", 4), ("ops", 5),
    ("http", 6), ("dialects", 7), ("sinks", 7), ("config", 8), ("cli", 9),
];

/// The files in which each third-party crate may be used. `log` may be used everywhere above `domain`.
#[rustfmt::skip]
const HOMES: &[(&str, &[&str])] = &[
    ("arc_swap",       &["src/domain/keys/versions.rs", "src/http/client.rs", "src/http1/tls/", "src/index/foreign.rs"]),
    ("argon2",         &["src/domain/keys/passphrase.rs", "src/domain/keys/scheme.rs", "src/domain/users/password.rs"]),
    ("askama",         &["src/dialects/console/"]),
    ("base32ct",       &["src/domain/authenticators/"]),
    ("base64ct",       &["src/domain/authenticators/", "src/domain/keys/redaction.rs", "src/domain/keys/scheme.rs", "src/domain/leak_keys.rs", "src/domain/notices/sink.rs", "src/domain/packs/", "src/http/bodies/imports/digests.rs", "src/http/credential.rs"]),
    ("bcrypt",         &["src/domain/keys/scheme.rs"]),
    ("bytes",          &["src/http1/", "src/store/postgres/"]),
    ("clap",           &["src/cli/", "src/config/"]),
    ("clap_complete",  &["src/cli/completions.rs"]),
    ("clap_mangen",    &["src/cli/man.rs"]),
    ("crossbeam_utils", &["src/domain/locks.rs"]),
    ("env_logger",     &["src/cli/log_format.rs", "src/main.rs"]),
    ("futures_core",   &["src/store/postgres/"]),
    ("getrandom",      &["src/domain/", "src/files/"]),
    ("jiff",           &["src/domain/time.rs", "src/domain/time_zone.rs"]),
    ("libflate",       &["src/cli/bill.rs", "src/cli/scan/gzip.rs", "src/dialects/console/text/"]),
    ("listenfd",       &["src/cli/serve/systemd.rs"]),
    ("memchr",         &["src/cli/scan/", "src/domain/keys/finder.rs", "src/domain/keys/redaction.rs", "src/ops/keys/list/search.rs"]),
    ("prometheus_client", &["src/dialects/metrics/"]),
    ("qrcodegen",      &["src/domain/authenticators/qr.rs"]),
    ("ring",           &["src/domain/", "src/http1/tls/"]),
    ("rcgen",          &["src/cli/certificate.rs", "src/store/postgres/"]),
    ("rusqlite",       &["src/store/sqlite/"]),
    ("rustls",         &["src/http1/tls/", "src/store/postgres/tls.rs"]),
    ("rustix",         &["src/cli/", "src/config/", "src/files/", "src/http1/", "src/sinks/", "src/store/"]),
    ("sd_notify",      &["src/cli/serve/systemd.rs"]),
    ("serde",          &["src/cli/", "src/config/", "src/dialects/", "src/http/", "src/sinks/"]),
    ("serde_json",     &["src/cli/", "src/config/", "src/dialects/", "src/http/", "src/sinks/"]),
    ("smol_str",       &["src/domain/keys/live.rs"]),
    ("strsim",         &["src/config/suggestions.rs", "src/dialects/forward_auth/"]),
    ("tokio",          &["src/http1/", "src/store/postgres/"]),
    ("tokio_postgres", &["src/store/postgres/"]),
    ("tokio_rustls",   &["src/http1/tls/", "src/store/postgres/tls.rs"]),
    ("toml",           &["src/config/declared/", "src/config/file.rs", "src/config/table.rs"]),
    ("x509_cert",      &["src/http1/tls/"]),
    ("yaml_rust2",     &["src/http/bodies/tree/yaml.rs"]),
];

/// The names of the systems whose formats the dialects implement; lower layers must not contain them.
const DIALECT_WORDS: &[&str] = &["aware", "awaretrain", "adverity", "vspc", "veeam"];

/// The maximum length of a file with its unit tests. Most files have 100 to 300 lines.
const LINES_MAX: usize = 600;

struct Source {
    /// Separated by slashes, relative to the top of the tree.
    path: String,
    text: String,
}

#[test]
fn modules_use_only_lower_ranks() {
    for file in sources("src") {
        let own = module_of(&file.path);
        let Some(rank) = rank_of(own) else { continue };
        for other in words_after(&file.text, "crate::") {
            let lower = rank_of(other).is_some_and(|known| known < rank);
            assert!(
                lower || other == own,
                "{}: {own} must not use {other}",
                file.path
            );
        }
    }
}

#[test]
fn every_module_has_a_rank() {
    for entry in fs::read_dir("src").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.trim_end_matches(".rs");
        assert!(
            name == "main" || rank_of(name).is_some(),
            "{name} has no rank"
        );
    }
}

#[test]
fn dialects_are_strangers_to_one_another() {
    for file in sources("src/dialects") {
        let own = file.path.split('/').nth(2).unwrap();
        for other in words_after(&file.text, "dialects::") {
            assert!(
                own == "mod.rs" || other == own,
                "{} uses {other}",
                file.path
            );
        }
        let deep = file.path.split('/').count() - 3;
        assert!(
            !file.text.contains(&"super::".repeat(deep + 1)),
            "{} reaches out of its folder",
            file.path
        );
    }
}

#[test]
fn third_party_crates_stay_at_home() {
    for file in sources("src") {
        for (name, homes) in HOMES {
            let named = file.text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or("");
                mentions(code, &format!("{name}::"))
            });
            let at_home = homes.iter().any(|home| file.path.starts_with(home));
            assert!(
                !named || at_home,
                "{}: {name} has its home in {homes:?}",
                file.path
            );
        }
    }
}

#[test]
fn every_dependency_has_a_home() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let dependencies = manifest
        .split("[dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    for line in dependencies.lines().filter(|line| line.contains(" = ")) {
        let name = line.split(" = ").next().unwrap().replace('-', "_");
        let known = HOMES.iter().any(|(home, _)| *home == name) || name == "log";
        assert!(
            known,
            "{name} is in Cargo.toml and has no home in tests/tidy.rs"
        );
    }
}

#[test]
fn nothing_below_the_dialects_knows_their_words() {
    let below = [
        "src/domain",
        "src/store",
        "src/index",
        "src/ops",
        "src/http",
        "src/http1",
    ];
    let schema = Source {
        path: "schema.sql".to_owned(),
        text: fs::read_to_string("schema.sql").unwrap(),
    };
    for file in below.into_iter().flat_map(sources).chain([schema]) {
        let text = file.text.to_lowercase();
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            assert!(!DIALECT_WORDS.contains(&word), "{} says {word}", file.path);
        }
    }
}

/// The files below the dialects with texts that no client of the console reads: for the start, the command line or the
/// log, the words of a parser, and a text that the console has translated already.
#[rustfmt::skip]
const WITHOUT_CODES: &[&str] = &[
    "src/http/bodies/catalog.rs", "src/http/bodies/tree/yaml.rs", "src/http/route/mounts.rs", "src/http1/tls/", "src/ops/restore/", "src/ops/self_test.rs",
    "src/store/migrations/", "src/store/postgres/", "src/store/sqlite/checks.rs",
];

#[test]
fn refusals_below_the_dialects_have_codes() {
    for folder in ["authz", "domain", "http", "http1", "index", "ops", "store"] {
        for file in sources(&format!("src/{folder}")) {
            let may = WITHOUT_CODES.iter().any(|it| file.path.starts_with(it));
            let has = file.text.contains("verbatim") || file.text.contains("invalid_text(");
            assert!(
                may || !has,
                "{}: a refusal that the console cannot translate",
                file.path
            );
        }
    }
}

#[test]
fn every_file_says_what_it_holds() {
    for file in sources("src").into_iter().chain(sources("tests")) {
        assert!(
            file.text.starts_with("//! "),
            "{} has no heading",
            file.path
        );
    }
}

#[test]
fn files_stay_small() {
    for file in sources("src").into_iter().chain(sources("tests")) {
        let lines = file.text.lines().count();
        assert!(
            lines <= LINES_MAX,
            "{} has {lines} lines; which noun is missing?",
            file.path
        );
    }
}

/// Words that make comments hard to read for people who know the field but not this project. One of them may be right
/// now and then; in 1,000 comment lines at most [`PRIVATE_WORDS_MAX`] have one.
#[rustfmt::skip]
const PRIVATE_WORDS: &[&str] = &[
    "door", "house", "guest", "guests", "errand", "errands", "lane", "lanes", "farewell", "told", "tell", "tells", "said", "says",
    "whoever", "whatever", "somebody", "nobody", "himself", "his", "keeping", "oversight", "seldom", "elsewhere", "kin", "rare",
    "born", "mighty", "anew", "beside", "wants", "foresees", "dawdles", "strangers", "glimpse", "losers", "mend", "mended",
];
const PRIVATE_WORDS_MAX: usize = 6;

#[test]
fn comments_are_in_plain_english() {
    for folder in ["src", "tests"] {
        let (mut lines, mut found) = (0, Vec::new());
        for file in sources(folder) {
            for (number, line) in file.text.lines().enumerate() {
                let Some(comment) = line.trim_start().strip_prefix("//") else {
                    continue;
                };
                lines += 1;
                let lower = comment.to_lowercase();
                let mut words = lower.split(|c: char| !c.is_alphanumeric() && c != '_');
                if words.any(|word| PRIVATE_WORDS.contains(&word)) {
                    found.push(format!("{}:{}:{comment}", file.path, number + 1));
                }
            }
        }
        assert!(
            found.len() * 1000 <= lines * PRIVATE_WORDS_MAX,
            "{} of {lines} comment lines in {folder} have words that need plainer ones:\n{}",
            found.len(),
            found.join("\n")
        );
    }
}

/// The only file that may contain unsafe code; its heading gives the reason.
const UNSAFE_FILE: &str = "src/http1/heap.rs";

/// The compiler refuses unsafe code except where an attribute allows it.
#[test]
fn unsafe_code_is_allowed_in_one_file() {
    let files = sources("src");
    let allowing: Vec<&str> = files
        .iter()
        .filter(|file| file.text.contains("unsafe_code"))
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(allowing, [UNSAFE_FILE]);
}

#[test]
fn unsafe_code_is_denied_and_the_release_unwinds() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    // attacks 260, 261
    for line in [
        "unsafe_code = \"deny\"",
        "panic = \"unwind\"",
        "overflow-checks = true",
    ] {
        assert!(manifest.contains(line), "Cargo.toml lacks {line}");
    }
}

fn rank_of(module: &str) -> Option<u8> {
    RANKS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, rank)| *rank)
}

/// `domain` for `src/domain/keys/mod.rs`, `error` for `src/error.rs`.
fn module_of(path: &str) -> &str {
    path.split('/').nth(1).unwrap().trim_end_matches(".rs")
}

/// The identifiers that follow each occurrence of `before`.
fn words_after<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    })
}

/// Whether the code contains a path that is not the end of a longer one.
fn mentions(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    })
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders(folder) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source {
                    path: path.to_str().unwrap().to_owned(),
                    text,
                });
            }
        }
    }
    assert!(!found.is_empty(), "{folder} holds no source");
    found
}

/// A folder and all folders below it.
fn folders(folder: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from(folder)];
    let mut next = 0;
    while next < found.len() {
        for entry in fs::read_dir(&found[next]).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.push(path);
            }
        }
        next += 1;
    }
    found
}
