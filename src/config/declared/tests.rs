//! Tests of reading files that declare keys. The files with errors are in `tests/fixtures/keys.d/bad`: their first lines
//! name the errors, each with its line.

use super::*;
use crate::domain::declared::Absent;
use crate::domain::keys::secret::{Secret, generate_id};
use crate::domain::time::Timestamp;
use std::fs;

const BAD: &str = "tests/fixtures/keys.d/bad";

fn read(folders: &[Folder]) -> Found<Declared> {
    load(folders).and_then(|sources| (sources.parse)())
}

fn parsed(text: &str) -> Found<Declared> {
    parsed_of("/etc/x.toml", text).and_then(|content| merged(vec![vec![content]]))
}

fn parsed_of(path: &str, text: &str) -> Found<Content> {
    file::parse(&Bytes::new(path.to_owned(), text.as_bytes().to_vec()))
}

fn listed(complaints: &[Complaint]) -> String {
    let lines: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
    lines.join("\n")
}

fn digest_of(text: &str) -> String {
    let hash = crate::domain::declared::sha256(text.as_bytes());
    format!("sha256:{}", crate::domain::hex::hex(&hash))
}

#[test]
fn every_bad_file_is_refused_with_its_lines() {
    let mut seen = 0;
    for entry in fs::read_dir(BAD).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        let found = parsed_of(&name, &text);
        let found = found.and_then(|content| merged(vec![vec![content]]));
        let found = found.err().unwrap_or_else(|| panic!("{name} is accepted"));
        let heads = text.lines().map_while(|line| line.strip_prefix("# "));
        let expected: Vec<String> = heads
            .map(|head| format!("{name}:{}", head.replace("{path}", &name)))
            .collect();
        assert_eq!(found.len(), expected.len(), "{}", listed(&found));
        for (complaint, start) in found.iter().zip(&expected) {
            let shown = complaint.to_string();
            assert!(shown.starts_with(start.trim_end()), "{shown}\n{start}");
        }
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} files");
}

/// Large files are parsed in parts, which begin at headings.
#[test]
fn the_parts_of_a_file_mean_what_the_whole_file_means() {
    let key = |name: &str| {
        format!(
            "[[key]]\nname = \"{name}\"\ndigest = \"{}\"\n",
            digest_of(name)
        )
    };
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let mut read = 0;
    for text in [
        format!("version = 1\nabsent = \"delete\"\n{a}{b}{c}"),
        format!("\u{feff}version = 1\r\n# ü\n{a}\n\n{b}# [[key]]\n\t{c}"),
        format!("version = 1\n{a}[key.metadata]\nx = 1\n{b}[[policy]]\nname = \"p\"\n{c}"),
        format!("version = 1\n[[policy]]\nname = \"p\"\n{a}[[policy]]\nname = \"q\"\n{b}"),
        format!("version = 1\n{a}metadata = {{ x = \"\"\"\n[[key]]\n\"\"\" }}\n{b}"),
        format!("version = 1\n{a}metadata.x = '''\n[[key]]\nname = 1\n'''\n{b}"),
        // These have errors, each in its line.
        format!("version = 1\nkey = []\n{a}{b}"),
        format!("version = 1\nkey = [{{ name = \"x\" }}]\n{a}"),
        format!("version = 1\nkey = [\n[[key]]\n]\n{a}"),
        format!("version = 1\nkey.x = 1\n{a}{b}"),
        format!("version = 1\n[key]\n{a}{b}"),
        format!("version = 1\n{a}[key]\n{b}"),
        format!("version = 1\n[[policy]]\nname = \"p\"\n{a}[policy.x]\n{b}"),
        format!("version = 1\n{a}[version]\n{b}"),
        format!("{a}{b}[[key]]\nversion = 1\n"),
        format!("version = 1\n{a}x = 1\n{b}y = 2\n{c}name = 3\n"),
        format!("version = 1\n{a}{b}digest = \"\n{c}"),
    ] {
        let file = Bytes::new("/etc/x.toml".to_owned(), text.clone().into_bytes());
        let whole = file::parse(&file);
        read += usize::from(whole.is_ok());
        for bytes in [0, 1, 40, 120] {
            let in_parts = file::parse_by(&file, bytes);
            assert_eq!(format!("{whole:?}"), format!("{in_parts:?}"), "{text}");
        }
    }
    assert_eq!(read, 6);
}

#[test]
fn a_stanza_has_the_values_of_a_request() {
    let digest = digest_of("one");
    let text = format!(
        "version = 1\nabsent = \"delete\"\n\n[[key]]\nname = \"prometheus\"\nid = \"k3J9aQ0xZb\"\n\
         digest = \"{digest}\"\nhint = \"lk_k3J9aQ0xZb…9fQ2\"\nworkspace = \"emea\"\nowner = \"alice\"\n\
         policy = \"short\"\ncatalog = \"metrics\"\nscopes = [\"metrics:read\"]\nread_only = true\nenabled = false\n\
         not_before = 2027-01-01\nexpires_at = \"2027-12-31\"\nallowed_ips = [\"10.0.0.0/8\"]\nuses_left = 0x10\n\
         description = \"\"\ncontact = \"ops\"\n[key.rate_limit]\nlimit = 60\nwindow_s = 60\n\
         [key.metadata]\ncustomer = 7\nshare = 0.5\nplans = [\"gold\"]\n"
    );
    let declared = parsed(&text).unwrap_or_else(|found| panic!("{}", listed(&found)));
    assert_eq!(declared.files[0].absent, Absent::Delete);
    let (stanza, key) = &declared.keys.stanzas[0];
    assert_eq!(stanza.place.source(), "file:/etc/x.toml:4");
    assert_eq!(key.digest_text, digest);
    assert_eq!(key.id.unwrap().to_string(), "k3J9aQ0xZb");
    let members = &key.members;
    let at = |text: &str| Some(Some(Timestamp::parse("", text).unwrap()));
    assert_eq!(members.expires_at, at("2028-01-01T00:00:00Z"));
    assert_eq!(members.not_before, at("2027-01-01T00:00:00Z"));
    assert_eq!(members.uses_left, Some(Some(16)));
    assert_eq!(members.owner, Some(Some("alice".to_owned())));
    assert_eq!(members.enabled, Some(false));
    let metadata = r#"{"customer":7,"plans":["gold"],"share":0.5}"#;
    assert_eq!(members.metadata.as_deref(), Some(metadata));
    for member in crate::domain::keys::Member::editable() {
        assert!(members.has(member), "{}", member.word());
    }
}

#[test]
fn the_state_of_a_stanza_is_what_it_declares_and_not_its_form() {
    let digest = digest_of("one");
    let states: Vec<[u8; 32]> = [
        format!("version = 1\n[[key]]\nname = \"a\"\ndigest = \"{digest}\"\nexpires_at = 2027-12-31\n"),
        format!("# moved\nversion = 1\n\n[[key]]\nexpires_at = '2027-12-31'\n\ndigest='{digest}' # x\nname='a'\n"),
        format!("version = 1\nkey = [{{ name = \"a\", digest = \"{digest}\", expires_at = 2028-01-01T00:00:00Z }}]\n"),
        format!("version = 1\n[[key]]\nname = \"a\"\ndigest = \"{digest}\"\nexpires_at = 2027-12-30\n"),
    ]
    .iter()
    .map(|text| parsed(text).unwrap().keys.stanzas[0].0.state)
    .collect();
    assert_eq!(states[0], states[1]);
    assert_eq!(states[0], states[2]);
    assert_ne!(states[0], states[3]);
}

#[test]
fn a_secret_anywhere_in_the_file_is_refused_and_never_shown() {
    for prefix in ["lk", ""] {
        let secret = Secret::generate(prefix, generate_id().unwrap()).unwrap();
        let secret = secret.expose();
        for text in [
            format!("version = 1\n# {secret}\n"),
            format!("version = 1\n[[key]] name = \"{secret}\"\n"),
            format!("version = 1\n[[key]]\nname = \"x\"\nmetadata = {{ a = [\"x {secret}\"] }}\n"),
            format!("\n{secret} = = 1\n"),
        ] {
            let found = parsed(&text).err().unwrap();
            let line = text.lines().position(|line| line.contains(secret)).unwrap() + 1;
            assert_eq!(found.len(), 1);
            let shown = found[0].to_string();
            assert!(shown.starts_with(&format!("/etc/x.toml:{line}: this line holds a secret")));
            assert!(shown.contains("put its digest here: latchkey key digest"));
            assert!(!shown.contains(&secret[secret.len() - 20..]), "{shown}");
        }
    }
}

#[test]
fn what_is_written_twice_in_two_folders_counts_once() {
    let one = digest_of("one");
    let two = digest_of("two");
    let content = |path: &str, text: String| parsed_of(path, &text).unwrap();
    let stanza =
        |name: &str, digest: &str| format!("[[key]]\nname = \"{name}\"\ndigest = \"{digest}\"\n");
    let maker = format!("version = 1\n{}{}", stanza("a", &one), stanza("b", &two));
    let site = format!(
        "version = 1\n[[key]]\nname = \"a\"\nmask = true\n{}",
        stanza("c", &one)
    );
    let folders = vec![
        vec![content("/usr/10.toml", maker)],
        vec![content("/etc/10.toml", site)],
    ];
    let declared = merged(folders).unwrap();
    let names: Vec<&str> = declared
        .keys
        .stanzas
        .iter()
        .map(|(it, _)| it.name.as_str())
        .collect();
    // The digest of the masked key is free for another one.
    assert_eq!(names, ["c", "b"]);
    assert_eq!(declared.keys.masks[0].name, "a");
    assert_eq!(declared.files.len(), 2);
}

#[test]
fn files_are_read_in_the_order_of_their_names_and_only_if_nobody_else_can_write_them() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = std::env::temp_dir().join(format!("latchkey-keys-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    };
    let named = |path: &Path| Folder {
        path: path.to_owned(),
        is_named: true,
    };
    let text = format!(
        "version = 1\n[[key]]\nname = \"a\"\ndigest = \"{}\"\n",
        digest_of("a")
    );
    write("20.toml", "version = 1\n");
    let first = write("10.toml", &text);
    write(".hidden.toml", "no");
    write("README", "no");
    symlink(folder.join("20.toml"), folder.join("30.toml")).unwrap();
    let names = |declared: &Declared| -> Vec<String> {
        let paths = declared
            .files
            .iter()
            .map(|file| file.path.rsplit('/').next().unwrap().to_owned());
        paths.collect()
    };
    let declared = read(&[named(&folder)]).unwrap();
    assert_eq!(names(&declared), ["10.toml", "20.toml", "30.toml"]);
    assert_eq!(declared.keys.stanzas.len(), 1);

    for mode in [0o664, 0o646, 0o666] {
        fs::set_permissions(&first, fs::Permissions::from_mode(mode)).unwrap();
        let found = read(&[named(&folder)]).err().unwrap();
        let shown = listed(&found);
        assert!(shown.contains("can be changed by other users"), "{shown}");
        assert!(
            shown.contains(&format!("chmod go-w {}", first.display())),
            "{shown}"
        );
    }
    fs::remove_file(&first).unwrap();
    fs::create_dir(&first).unwrap();
    assert!(listed(&read(&[named(&folder)]).err().unwrap()).contains("no plain file"));
    let absent = folder.join("absent");
    assert!(listed(&read(&[named(&absent)]).err().unwrap()).contains("cannot be read"));
    let optional = Folder {
        path: absent.clone(),
        is_named: false,
    };
    let sources = load(&[optional]).unwrap();
    assert!(sources.files.is_empty());
    assert_eq!(sources.missing, [absent]);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_folders_are_those_of_the_maker_the_site_and_the_setting() {
    let shown = |setting: &[&str]| -> Vec<String> {
        let setting: Vec<PathBuf> = setting.iter().map(PathBuf::from).collect();
        let folders = folders(&setting);
        folders
            .iter()
            .map(|folder| folder.path.display().to_string())
            .collect()
    };
    assert_eq!(shown(&[]), [MAKER, SITE]);
    assert_eq!(shown(&["/a", "/b"]), [MAKER, SITE, "/a", "/b"]);
    assert!(shown(&["x"])[2].ends_with("/x"));
    assert!(shown(&["none"]).is_empty());
}
