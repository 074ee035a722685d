//! The Ansible role of `examples/ansible`, run on this machine in a mount namespace of its own, where `/etc` is a copy.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use super::is_left_out;

const ANSIBLE: &str = "ansible-core==2.19.14";

/// The folder of Ansible's programs; `None` if it cannot be installed.
fn ansible() -> Option<PathBuf> {
    if is_left_out("python3") {
        return None;
    }
    let made = Command::new("dev/python")
        .args(["ansible", ANSIBLE])
        .output()
        .unwrap();
    let must_run = std::env::var_os("LATCHKEY_TEST_ALL").is_some();
    assert!(made.status.success() || !must_run, "{made:?}");
    if !made.status.success() {
        println!("left out: Ansible cannot be installed");
        return None;
    }
    let folder = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    Some(Path::new(&folder).join("bin"))
}

/// A playbook run, without input.
fn play(command: &mut Command, home: &Path) -> Output {
    command
        .current_dir("examples/ansible")
        .env("HOME", home)
        .env("ANSIBLE_NOCOLOR", "1")
        .env("ANSIBLE_LOCALHOST_WARNING", "false")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

#[test]
fn the_files_of_the_role_are_those_of_the_tree() {
    let role = Path::new("examples/ansible/roles/latchkey/files");
    let mut names: Vec<String> = fs::read_dir(role)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 5, "{names:?}");
    for name in names {
        let folder = match name.as_str() {
            "latchkey.service" => "systemd",
            _ => "examples/systemd",
        };
        let original = fs::read_to_string(Path::new(folder).join(&name)).unwrap();
        let copy = fs::read_to_string(role.join(&name)).unwrap();
        assert_eq!(copy, original, "copy {folder}/{name} to {}", role.display());
    }
}

#[test]
fn the_role_sets_a_machine_up_and_changes_nothing_the_second_time() {
    let probe = Command::new("unshare").args(["--mount", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return println!("left out: only root can make a mount namespace");
    }
    let Some(ansible) = ansible() else { return };
    let root = std::env::temp_dir().join(format!("latchkey-ansible-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();

    let checked = Command::new(ansible.join("ansible-playbook"))
        .args(["-i", "inventory.ini", "site.yml", "--syntax-check"])
        .current_dir("examples/ansible")
        .env("HOME", &root)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", text(&checked));

    let variables = json!({
        "ansible_become": false,
        "ansible_python_interpreter": "/usr/bin/python3",
        "latchkey_artifact": env!("CARGO_BIN_EXE_latchkey"),
        "latchkey_program_file": path("latchkey"),
        "latchkey_settings": {"data": path("data"), "listen": "127.0.0.1:0", "threads": 2, "allowed_hosts": ["keys.example"]},
        "latchkey_tls_certificate": "",
        "latchkey_tls_key": "",
        "latchkey_backup_into": path("backups"),
        "latchkey_backup_keep": 3,
        "latchkey_first_start": path("first-start.json"),
        "latchkey_start": false,
    });
    // What the role does to /etc is done to a copy, which is kept between the two runs.
    let script = "mkdir -p \"$0/etc\" && { [ -e \"$0/etc/passwd\" ] || cp -a /etc/. \"$0/etc/\"; } && mkdir -p \"$0/etc/systemd/system\" && \
                  mount --bind \"$0/etc\" /etc && exec \"$@\"";
    let run = || {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script])
            .arg(&root)
            .arg(ansible.join("ansible-playbook"))
            .args(["-i", "latchkey,", "-c", "local", "site.yml", "-e"])
            .arg(variables.to_string());
        let ran = play(&mut command, &root);
        assert!(ran.status.success(), "{}", text(&ran));
        text(&ran)
    };
    let first = run();
    assert!(
        first.contains("failed=0") && !first.contains("changed=0"),
        "{first}"
    );
    let etc = root.join("etc");
    let settings = fs::read_to_string(etc.join("latchkey/latchkey.toml")).unwrap();
    assert!(
        settings.contains("allowed_hosts = [\"keys.example\"]\n"),
        "{settings}"
    );
    assert!(settings.contains("threads = 2\n"), "{settings}");
    let unit = fs::read_to_string(etc.join("systemd/system/latchkey.service")).unwrap();
    assert!(
        unit.contains(&format!("ExecStart={} serve", path("latchkey"))),
        "{unit}"
    );
    let writable = format!("\nReadWritePaths={}\n", path("data"));
    assert!(unit.contains(&writable), "{unit}");
    let backup = fs::read_to_string(etc.join("systemd/system/latchkey-backup.service")).unwrap();
    let command = format!(
        "{} backup --into {} --keep 3\n",
        path("latchkey"),
        path("backups")
    );
    assert!(backup.contains(&command), "{backup}");
    let secrets = fs::metadata(path("first-start.json")).unwrap();
    assert_eq!(secrets.mode() & 0o777, 0o600);
    let secrets: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path("first-start.json")).unwrap()).unwrap();
    assert!(secrets["management_key"].is_string() && secrets["key"].is_null());
    let data = fs::metadata(path("data")).unwrap();
    assert_eq!(data.mode() & 0o777, 0o700);
    assert_ne!(data.uid(), 0);

    let second = run();
    assert!(
        second.contains("changed=0") && second.contains("failed=0"),
        "{second}"
    );
    let _ = fs::remove_dir_all(root);
}
