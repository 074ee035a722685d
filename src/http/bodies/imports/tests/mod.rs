//! Files of every source: what is taken, and how malformed ones are refused. One file for each source.

mod apisix;
mod better_auth;
mod drf;
mod htpasswd;
mod kong;
mod litellm;
mod named;
mod tyk;
mod unkey;

use super::*;
use crate::domain::keys::KeyId;
use crate::domain::keys::secret::Secret;
use std::path::Path;

/// The files of a source below `tests/fixtures/imports`.
const FIXTURES: [(Source, &[&str]); 10] = [
    (Source::Apisix, &["consumers.json"]),
    (Source::BetterAuth, &["apikey.json"]),
    (Source::Csv, &["keys.csv"]),
    (Source::Drf, &["keys.csv", "keys.json"]),
    (Source::Htpasswd, &["htpasswd"]),
    (Source::Jsonl, &["keys.jsonl"]),
    (Source::Kong, &["kong.yaml", "admin.json"]),
    (Source::Litellm, &["tokens.json", "tokens.csv"]),
    (Source::Tyk, &["keys.json"]),
    (Source::Unkey, &["keys.json", "keys.csv"]),
];

fn fixture(source: Source, file: &str) -> Vec<u8> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tree.join("tests/fixtures/imports").join(source.as_str());
    std::fs::read(folder.join(file)).unwrap()
}

/// What a file holds, a line for each key and for each thing that is not taken.
fn shown(parsed: &Parsed) -> String {
    let keys = parsed.keys.iter().map(ImportedKey::to_line);
    let left_out = parsed.left_out.iter().map(|it| {
        let kind = if it.drops_key { "no key" } else { "not taken" };
        format!("{kind}, line {}: {}: {}", it.line, it.what, it.why)
    });
    keys.chain(left_out).map(|line| line + "\n").collect()
}

/// The file `NAME.expected` next to a fixture has what is read from it. After a change that is meant, copy the text that
/// the failure prints.
#[test]
fn each_fixture_gives_its_keys_and_names_what_is_not_taken() {
    for (source, files) in FIXTURES {
        for file in files {
            let parsed = parse(source, &fixture(source, file)).unwrap();
            let expected = fixture(source, &format!("{file}.expected"));
            let (found, expected) = (shown(&parsed), String::from_utf8(expected).unwrap());
            assert_eq!(found, expected, "{} {file}:\n{found}", source.as_str());
        }
    }
}

/// Two exports of the same keys give the same keys.
#[test]
fn the_formats_of_a_source_agree() {
    let keys = |source, file| {
        let parsed = parse(source, &fixture(source, file)).unwrap();
        let bare = parsed
            .keys
            .into_iter()
            .map(|key| ImportedKey { line: 0, ..key });
        bare.map(|key| key.to_line()).collect::<Vec<_>>()
    };
    assert_eq!(
        keys(Source::Litellm, "tokens.json"),
        keys(Source::Litellm, "tokens.csv")
    );
    assert_eq!(
        keys(Source::Drf, "keys.json"),
        keys(Source::Drf, "keys.csv")
    );
    let (json, csv) = (
        keys(Source::Unkey, "keys.json"),
        keys(Source::Unkey, "keys.csv"),
    );
    assert_eq!(json[..3], csv[..]);
}

/// The digest of each key is the one of its secret in `secrets.json`.
#[test]
fn each_key_of_a_fixture_has_the_digest_of_its_secret() {
    for (source, files) in FIXTURES {
        let parsed = parse(source, &fixture(source, files[0])).unwrap();
        let secrets = tree::rows(&String::from_utf8(fixture(source, "secrets.json")).unwrap());
        let mut seen = 0;
        for row in secrets.ok().unwrap() {
            let part = |name: &str| row.get(name).unwrap().text().unwrap().to_owned();
            let (name, secret) = (part("name"), part("secret"));
            let Some(key) = parsed.keys.iter().find(|key| key.name == name) else {
                continue;
            };
            seen += 1;
            let given = GivenDigest::parse(&key.digest, key.found_by.as_deref()).unwrap();
            let is_same = match given.scheme.digest(&secret) {
                Some(digest) => digest == given.bytes,
                None => given.matches_slowly(&secret),
            };
            let is_right = !secret.ends_with("another password");
            assert_eq!(is_same, is_right, "{}: {name}", source.as_str());
        }
        assert!(seen >= 2, "{}", source.as_str());
    }
}

/// One change of a record that is good: what is replaced by what; then the line and a part of the reason.
type Change<'a> = (&'a str, &'a str, usize, &'a str);

/// Checks that a file has one key, and that each change of it makes the file, or its only key, refused.
#[track_caller]
fn refused(source: Source, good: &str, changes: &[Change<'_>]) {
    let keys = parse(source, good.as_bytes()).map(|parsed| parsed.keys.len());
    assert_eq!(keys.ok(), Some(1), "{good}");
    assert!(changes.len() >= 20, "only {} changes", changes.len());
    let mut wrong = Vec::new();
    for (from, to, line, why) in changes {
        assert!(
            from.is_empty() || good.contains(from),
            "{from} is not there"
        );
        let bad = match *from {
            "" => (*to).to_owned(),
            from => good.replacen(from, to, 1),
        };
        wrong.extend(fault(source, bad.as_bytes(), *line, why));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks that nothing of a file is taken, and that this line is named with this reason.
#[track_caller]
fn refused_whole(source: Source, bad: &[u8], line: usize, why: &str) {
    let wrong = fault(source, bad, line, why);
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
}

/// How the refusal of a file differs from what is expected.
fn fault(source: Source, bad: &[u8], line: usize, why: &str) -> Option<String> {
    let start = format!("line {line}: ");
    let (fits, found) = match parse(source, bad) {
        Err(err) => {
            let found = err.to_string();
            (found.starts_with(&start) && found.contains(why), found)
        }
        Ok(parsed) => {
            let fits = |it: &LeftOut| {
                let said = format!("{}: {}", it.what, it.why);
                it.drops_key && it.line == line && said.contains(why)
            };
            let is_named = parsed.left_out.iter().any(fits);
            (parsed.keys.is_empty() && is_named, shown(&parsed))
        }
    };
    let text = String::from_utf8_lossy(&bad[..bad.len().min(2_000)]);
    (!fits).then(|| format!("{text}\nexpected: {start}… {why}\nfound: {found}\n"))
}

#[test]
fn words_and_sources_belong_together() {
    for (source, word) in Source::ALL {
        assert_eq!(Source::parse(word), Some(source));
        assert_eq!(source.as_str(), word);
    }
    assert_eq!(Source::parse("Kong"), None);
}

#[test]
fn what_is_no_text_or_too_much_of_it_is_refused() {
    for (source, _) in Source::ALL {
        for (bytes, line, why) in [
            (&b""[..], 1, ""),
            (b"\xff\xfe[\0]\0", 1, "UTF-16"),
            (b"a\nb\xe9\n", 2, "UTF-8"),
            (b"a\n\n\0", 3, "UTF-16"),
        ] {
            refused_whole(source, bytes, line, why);
        }
    }
    let large = vec![b'#'; FILE_BYTES_MAX + 1];
    let too_large = parse(Source::Htpasswd, &large);
    assert!(matches!(too_large, Err(Error::TooLarge { .. })));
    refused_whole(Source::Htpasswd, &large[..FILE_BYTES_MAX], 1, "no keys");
}

#[test]
fn one_secret_is_one_key() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let csv = format!(
        "name,digest\na,{digest}\nb,sha256:{}\n\nc,{digest}\n",
        "cd".repeat(32)
    );
    let err = parse(Source::Csv, csv.as_bytes()).unwrap_err().to_string();
    assert!(
        err.starts_with("line 5: ") && err.contains("line 2"),
        "{err}"
    );
    // A secret and its digest are the same.
    let lines = "{\"name\":\"a\",\"secret\":\"abc\"}\n{\"name\":\"b\",\"digest\":\"sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}";
    let err = parse(Source::Jsonl, lines.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        err.starts_with("line 2: ") && err.contains("line 1"),
        "{err}"
    );
    let users = "alice:$2y$05$NBlwv5fCvYsg/vlZjmDp9uONalQpKIB1o8wOFSSn2ZzSg6UE8jERC\nalice:$2y$05$XBlwv5fCvYsg/vlZjmDp9uONalQpKIB1o8wOFSSn2ZzSg6UE8jERC\n";
    let err = parse(Source::Htpasswd, users.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        err.starts_with("line 2: ") && err.contains("line 1"),
        "{err}"
    );
}

#[test]
fn a_secret_of_this_server_is_never_imported() {
    let own = Secret::generate("lk", KeyId(7)).unwrap();
    let (own, good) = (own.expose(), "a".repeat(40));
    for (source, file, line) in [
        (
            Source::Kong,
            "_format_version: '3.0'\nconsumers:\n- username: a\n  keyauth_credentials:\n  - key: SECRET\n",
            5,
        ),
        (
            Source::Apisix,
            r#"[{"username":"a","plugins":{"key-auth":{"key":"SECRET"}}}]"#,
            1,
        ),
        (Source::Csv, "name,secret\na,SECRET\n", 2),
        (Source::Csv, "name,secret\nSECRET,abcdef\n", 2),
        (Source::Csv, "name,digest\na,SECRET\n", 2),
        (
            Source::Jsonl,
            "\n{\"name\":\"a\",\"secret\":\"SECRET\"}\n",
            2,
        ),
        (
            Source::Jsonl,
            "{\"name\":\"a\",\"secret\":\"abcdef\",\"description\":\"SECRET\"}\n",
            1,
        ),
    ] {
        let err = parse(source, file.replace("SECRET", own).as_bytes()).unwrap_err();
        let err = err.to_string();
        assert!(err.starts_with(&format!("line {line}: ")), "{file}: {err}");
        assert!(err.contains("secret"), "{file}: {err}");
        assert!(!err.contains(own), "{err}");
        if !file.contains("digest") {
            let parsed = parse(source, file.replace("SECRET", &good).as_bytes()).unwrap();
            assert!(!format!("{parsed:?}").contains(&good));
            assert!(
                !parsed.keys[0].to_line().contains(&good)
                    || parsed.keys[0].name == good
                    || file.contains("description")
            );
        }
    }
}
