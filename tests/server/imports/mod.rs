//! The import and export of keys. What real systems make has the form of the fixtures, which the unit tests of
//! `src/http/bodies/imports` read.

mod api;
mod console;
mod made;
mod moving;

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// The digest of a secret, in its text form.
fn digest(secret: &str) -> String {
    format!("sha256:{}", hex(&ring::digest::SHA256, secret))
}

/// JSON lines of keys `key N` whose secrets are `secret N`.
fn lines(numbers: std::ops::RangeInclusive<usize>) -> String {
    let line = |number: usize| {
        let digest = digest(&format!("secret {number}"));
        format!("{{\"name\":\"key {number}\",\"digest\":\"{digest}\"}}\n")
    };
    numbers.map(line).collect()
}

fn fixture(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/imports");
    std::fs::read_to_string(folder.join(path)).unwrap()
}

/// The names and the types of all members of all rows; a null in a row has no type.
fn members(rows: &[Value]) -> BTreeSet<String> {
    let kind = |value: &Value| match value {
        Value::Array(_) => "list",
        Value::Bool(_) => "flag",
        Value::Null => "null",
        Value::Number(_) => "number",
        Value::Object(_) => "object",
        Value::String(_) => "text",
    };
    let of_row = |row: &Value| {
        let members = row.as_object().unwrap().iter();
        let named = members.map(|(name, value)| format!("{name}: {}", kind(value)));
        named.collect::<Vec<_>>()
    };
    rows.iter().flat_map(of_row).collect()
}

fn rows(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

/// Lower-case hexadecimal digits of a digest.
fn hex(algorithm: &'static ring::digest::Algorithm, secret: &str) -> String {
    let digest = ring::digest::digest(algorithm, secret.as_bytes());
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Base64 for URLs without padding.
fn base64url(hex: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = hex.chars().flat_map(|digit| {
        let value = digit.to_digit(16).unwrap();
        (0..4).rev().map(move |bit| value >> bit & 1)
    });
    let bits: Vec<u32> = bits.collect();
    let digit = |six: &[u32]| {
        let value = (0..6).fold(0, |sum, place| sum * 2 + six.get(place).unwrap_or(&0));
        char::from(DIGITS[value as usize])
    };
    bits.chunks(6).map(digit).collect()
}

#[test]
fn better_auth_writes_what_its_fixture_has() {
    let Some(made) = made::better_auth() else {
        return;
    };
    let (real, known) = (
        rows(&made.text("apikey.json")),
        rows(&fixture("better-auth/apikey.json")),
    );
    assert_eq!(members(&real), members(&known));
    assert!(
        std::fs::read(made.file("auth.db"))
            .unwrap()
            .starts_with(b"SQLite format 3\0")
    );
    assert_eq!(made.secrets.len(), real.len());
    for it in &made.secrets {
        let row = real
            .iter()
            .find(|row| row["name"] == it.name.as_str())
            .unwrap();
        let digest = base64url(&hex(&ring::digest::SHA256, &it.secret));
        assert_eq!(row["key"], digest.as_str(), "{}", it.name);
        assert_eq!(it.works, it.name != "disabled", "{}", it.name);
    }
}

#[test]
fn djangorestframework_api_key_writes_what_its_fixtures_have() {
    let Some(made) = made::drf() else {
        return;
    };
    let (real, known) = (
        rows(&made.text("keys.json")),
        rows(&fixture("drf/keys.json")),
    );
    let fields = |rows: &[Value]| {
        rows.iter()
            .map(|row| row["fields"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(members(&fields(&real)), members(&fields(&known)));
    let header = |csv: &str| csv.lines().next().unwrap().to_owned();
    assert_eq!(
        header(&made.text("keys.csv")),
        header(&fixture("drf/keys.csv"))
    );
    for it in &made.secrets {
        let row = real
            .iter()
            .find(|row| row["fields"]["name"] == it.name.as_str());
        let stored = row.unwrap()["fields"]["hashed_key"].as_str().unwrap();
        match it.name.as_str() {
            "of version 2" => assert!(stored.starts_with("pbkdf2_sha256$"), "{stored}"),
            _ => assert_eq!(
                stored,
                format!("sha512$${}", hex(&ring::digest::SHA512, &it.secret))
            ),
        }
        let ended = ["ended", "revoked"].contains(&it.name.as_str());
        assert_eq!(it.works, !ended, "{}", it.name);
    }
}

#[test]
fn htpasswd_writes_what_its_fixture_has() {
    let Some(made) = made::htpasswd() else {
        return;
    };
    // Salts and digests differ each time; the kinds of digests do not.
    let starts = [
        "alice:$2y$05$",
        "bob:$2y$07$",
        "carol:$apr1$",
        "dave:{SHA}",
        "erin:$6$",
    ];
    for file in [made.text("htpasswd"), fixture("htpasswd/htpasswd")] {
        let lines = file.lines().filter(|line| line.contains(':'));
        let fits: Vec<bool> = lines
            .zip(starts)
            .map(|(line, start)| line.starts_with(start))
            .collect();
        assert_eq!(fits, [true; 5], "{file}");
    }
    let answers: Vec<bool> = made.secrets.iter().map(|it| it.works).collect();
    assert_eq!(answers, [true, true, false, true]);
}
