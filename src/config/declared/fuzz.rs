//! Mutated files that declare keys: each error names a line of the file and shows no secret, and a file that is read has what
//! a plain count of its stanzas has, in whatever parts it is parsed.

use super::file::{self, Bytes};
use crate::fuzz::Target;
use std::collections::BTreeSet;
use toml::de::{DeTable, DeValue};

/// A secret with a right checksum, as an administrator pastes it by mistake.
const SECRET: &str = "lk_k3J9aQ0xZbv7Qm2XoT5cYw8RkLp1Ns4Hd6Gf9Jb3Va0Ue7Iy2Wq5Zx8CkE1A9fQ2";

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "version = 1\n", "version = 2\n", "[[key]]\n", "[[policy]]\n", "[[catalog]]\n", "name = \"a\"\n", "absent = \"disable\"\n", "absent = \"keep\"\n",
    "digest = \"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n", "scopes = [\"a:read\"]\n", "expires_at = 2030-01-01T00:00:00Z\n",
    "workspace = \"root\"\n", "owner = \"alice\"\n", "uses_left = 5\n", "rate_limit = { limit = 1, window_s = 60 }\n", "metadata = { a = 1 }\n", "read_only = true\n",
    "operations = []\n", "\"\"\"", "'''", "#", "=", "\n", "inf", "0x1", "1_000", "[key]\n", "key.name = 1\n", "é", "lk_k3J9aQ0xZb",
];

fn judge(bytes: &[u8]) -> String {
    let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
    let shows = |text: &str| text.contains(SECRET);
    let whole = Bytes::new("x.toml".to_owned(), bytes.to_vec());
    let found = file::parse(&whole);
    for part_bytes in [1, 50] {
        let in_parts = file::parse_by(&whole, part_bytes);
        assert_eq!(
            format!("{found:?}"),
            format!("{in_parts:?}"),
            "{part_bytes}"
        );
    }
    match found {
        Err(complaints) => {
            assert!(!complaints.is_empty(), "refused without a reason");
            for complaint in &complaints {
                let line = complaint.line.unwrap_or(1);
                assert!((1..=lines + 1).contains(&line), "line {line} of {lines}");
                assert!(!shows(&complaint.to_string()), "an error shows a secret");
            }
            let codes: BTreeSet<&str> = complaints.iter().map(|it| it.why.code()).collect();
            format!(
                "refused {:?}",
                codes.into_iter().take(2).collect::<Vec<_>>()
            )
        }
        Ok(content) => {
            let text = std::str::from_utf8(bytes).expect("a file is text");
            let table = DeTable::parse(text).expect("a file is TOML").into_inner();
            let count = |name: &str| match table.get(name).map(|value| value.get_ref()) {
                Some(DeValue::Array(items)) => items.len(),
                _ => 0,
            };
            let counts = ["key", "policy", "catalog"].map(count);
            assert_eq!(
                counts,
                [
                    content.keys.len(),
                    content.policies.len(),
                    content.catalogs.len()
                ]
            );
            let version = table.get("version").map(|value| value.get_ref());
            assert!(matches!(version, Some(DeValue::Integer(number)) if number.as_str() == "1"));
            format!("read {:?}", counts.map(|count| count.min(2)))
        }
    }
}

#[test]
fn mutated_files_of_keys_are_refused_with_a_line_or_read_whole() {
    Target {
        name: "keys-files",
        words: WORDS,
        mutations: 2_500,
    }
    .run(judge);
}
