//! `examples/image`: the tree that a maker puts into an image, started twice.

use crate::command_line::Line;
use crate::support::{Server, executable, fresh_folder};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Copies the tree, with the modes that files in an image have.
fn tree() -> PathBuf {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => copy(&entry.path(), &target),
                false => {
                    fs::copy(entry.path(), &target).unwrap();
                    let mode = fs::Permissions::from_mode(0o644);
                    fs::set_permissions(&target, mode).unwrap();
                }
            }
        }
    }
    let root = fresh_folder().join("image");
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/image"),
        &root,
    );
    root
}

#[test]
fn the_image_of_a_maker_has_its_keys_at_the_first_start_and_at_the_second() {
    let root = tree();
    let folder = |path: &str| root.join(path).to_str().unwrap().to_owned();
    let (maker, site) = (
        folder("usr/lib/latchkey/keys.d"),
        folder("etc/latchkey/keys.d"),
    );
    let config = folder("etc/latchkey/latchkey.toml");
    let args = ["--config", &config, "--keys", &maker, "--keys", &site];
    let mut server = Server::start_with(&args, &[]);
    let names = |server: &Server| {
        let page = server
            .local()
            .get("/v1/keys?source=file")
            .expect(200)
            .json();
        let items = page["items"].as_array().unwrap().iter();
        let mut names: Vec<String> = items
            .map(|key| key["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let ready = server.ready();
    assert_eq!(ready["files_refused"], json!([]), "{}", server.log());
    let first = names(&server);
    assert_eq!(first, ["backup agent", "prometheus", "site monitoring"]);
    let event = server.local().newest_event()["seq"].clone();
    server.restart();
    assert_eq!(names(&server), first);
    assert_eq!(
        server.local().newest_event()["seq"],
        event,
        "the second start changes nothing"
    );
    Line::of(&server).ok(&["keys", "drift"]);
    let scanned = executable(None)
        .args(["scan", "--no-ignore"])
        .arg(&root)
        .output()
        .unwrap();
    assert!(scanned.status.success(), "a secret is in the image");
    let _ = fs::remove_dir_all(root.parent().unwrap());
}
