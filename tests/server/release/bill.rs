//! `latchkey sbom` and `latchkey licenses`: complete, and in the form of their standard.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{executable, fresh_folder};

/// The package with the schemas of CycloneDX; `dev/python` installs it below `target/`.
const PACKAGE: &str = "cyclonedx-python-lib[json-validation]==11.12.0";

/// Checks a file against the schema of CycloneDX 1.5, and refuses members that the schema does not know.
const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
sys.exit(str(fault) if fault else 0)
";

fn printed(command: &str) -> String {
    let output = executable(None).arg(command).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn bill() -> Value {
    serde_json::from_str(&printed("sbom")).unwrap()
}

/// The names and versions of all components that are crates.
fn crates(bill: &Value) -> BTreeSet<String> {
    let components = bill["components"].as_array().unwrap();
    let purls = components
        .iter()
        .map(|component| component["purl"].as_str().unwrap());
    purls
        .filter_map(|purl| purl.strip_prefix("pkg:cargo/"))
        .map(|name| name.replace('@', " v"))
        .collect()
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_bill_names_every_crate_that_cargo_links() {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let tree = cargo(&[
        "tree",
        "--locked",
        "--offline",
        "--target",
        host,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p}",
    ]);
    // The first line is this program itself.
    let linked: BTreeSet<String> = tree.lines().skip(1).map(str::to_owned).collect();
    assert!(linked.len() > 80, "{linked:?}");
    assert_eq!(crates(&bill()), linked);
}

#[test]
fn the_bill_names_what_else_is_linked_and_each_licence() {
    let bill = bill();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert_eq!(bill["specVersion"], "1.5");
    assert_eq!(bill["metadata"]["component"]["name"], "latchkey");
    assert_eq!(
        bill["metadata"]["component"]["version"],
        env!("CARGO_PKG_VERSION")
    );
    let components = bill["components"].as_array().unwrap();
    let named = |name: &str| {
        components
            .iter()
            .find(|component| component["name"] == name)
    };
    for name in ["tokio", "rusqlite", "rustls", "ring", "sqlite", "rust-std"] {
        let found = named(name).unwrap_or_else(|| panic!("{name} is not listed"));
        assert!(found["licenses"][0]["expression"].is_string(), "{found}");
    }
    assert!(named("clap_derive").is_none(), "a macro is listed");
    assert!(
        named("jsonschema").is_none(),
        "what only tests use is listed"
    );
    for component in components
        .iter()
        .filter(|one| one["purl"].as_str().unwrap().contains(":cargo/"))
    {
        let sum = component["hashes"][0]["content"]
            .as_str()
            .unwrap_or_default();
        assert_eq!(sum.len(), 64, "{component}");
    }
    // Every part but the program is needed by another one, and every need is a part.
    let refs: BTreeSet<&str> = components
        .iter()
        .map(|one| one["bom-ref"].as_str().unwrap())
        .collect();
    assert_eq!(refs.len(), components.len());
    let edges = bill["dependencies"].as_array().unwrap();
    let needed = edges
        .iter()
        .flat_map(|edge| edge["dependsOn"].as_array().unwrap());
    let needed: BTreeSet<&str> = needed.map(|name| name.as_str().unwrap()).collect();
    assert_eq!(needed, refs);
}

#[test]
fn the_bill_is_valid_by_the_schema_of_its_standard() {
    let Some(python) = validator() else {
        println!("left out: the schema of CycloneDX is not installed (dev/test installs it)");
        return;
    };
    let folder = fresh_folder();
    let check = |text: &str| {
        let file = folder.join("latchkey.cdx.json");
        fs::write(&file, text).unwrap();
        Command::new(&python)
            .arg("-c")
            .arg(VALIDATE)
            .arg(&file)
            .output()
            .unwrap()
    };
    let text = printed("sbom");
    let output = check(&text);
    assert!(output.status.success(), "{output:?}");
    let wrong = text.replacen("\"type\": \"library\"", "\"type\": \"thing\"", 1);
    assert_ne!(wrong, text);
    let output = check(&wrong);
    assert!(!output.status.success(), "the validator finds nothing");
    let _ = fs::remove_dir_all(folder);
}

/// Python with the schemas. `None` if it is not installed, which is a failure only where all tests must run.
fn validator() -> Option<PathBuf> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("LATCHKEY_TEST_ALL").is_some() {
        let mut install = Command::new(tree.join("dev/python"));
        let done = install.args(["cyclonedx", PACKAGE]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    let folder = tree.join("target/python/cyclonedx");
    let packages = fs::read_to_string(folder.join("packages")).unwrap_or_default();
    (packages.trim() == PACKAGE).then(|| folder.join("bin/python3"))
}

#[test]
fn licences_are_listed_for_each_part_with_their_texts() {
    let text = printed("licenses");
    let (list, texts) = text.split_once("\n\n====").unwrap();
    let bill = bill();
    for component in bill["components"].as_array().unwrap() {
        let name = component["name"].as_str().unwrap();
        let version = component["version"].as_str().unwrap();
        let licence = component["licenses"][0]["expression"].as_str().unwrap();
        let line = list
            .lines()
            .find(|line| line.starts_with(&format!("{name} {version} ")));
        assert!(
            line.is_some_and(|line| line.ends_with(licence)),
            "{name}: {line:?}"
        );
    }
    assert!(
        texts.contains("Carl Lerche"),
        "the licence of bytes is missing"
    );
    let rule = "=".repeat(100);
    let texts: Vec<&str> = text.split(&rule).skip(2).step_by(2).collect();
    let words = texts
        .iter()
        .map(|text| text.split_whitespace().collect::<Vec<_>>());
    let distinct = words.collect::<BTreeSet<_>>();
    assert!(distinct.len() > 40, "only {} texts", distinct.len());
    assert_eq!(
        distinct.len(),
        texts.len(),
        "texts are there more than once"
    );
}
