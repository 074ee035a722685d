//! Rotations and retirements that are killed before any of their steps.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use super::{in_database, in_file, with_copy};
use crate::command_line::Line;
use crate::faults::left_out;
use crate::keeping::kill::Killer;
use crate::keeping::restore::copy_folder;
use crate::support::{Issued, executable, fresh_folder};

/// Every such step counts: the commands write the same files many times.
const STRIDE: u32 = 3;

/// Runs a command on copies of a folder, killed before each of its steps, and checks each folder that is left: the
/// versions that the file and the database have, and that everything works.
fn each_step(original: &Path, args: &[&str], key: &Issued, check: impl Fn(&Line)) {
    let Some(killer) = Killer::build() else {
        return left_out("kills at each step: there is no C compiler");
    };
    let folder = fresh_folder();
    let data = folder.join("data");
    let (old, new) = (Cell::new(0), Cell::new(0));
    killer.each_step(
        STRIDE,
        || {
            let _ = fs::remove_dir_all(&data);
            copy_folder(original, &data);
            let mut command = executable(None);
            command.args(args).arg("--data").arg(&data);
            command
        },
        |step, output| {
            let line = Line::at(&data);
            let before = in_file(&data, args[2]);
            let verified = line.run_with_input(&["key", "verify"], &format!("{}\n", key.secret));
            assert!(
                verified.stdout.contains("VALID"),
                "step {step}: {verified:?}"
            );
            // Every start records what the file has.
            assert_eq!(in_database(&data, args[2]), before, "step {step}");
            match before.len() {
                1 => old.set(old.get() + 1),
                _ => new.set(new.get() + 1),
            }
            line.ok(&["doctor"]);
            if output.status.code().is_some() {
                assert!(output.status.success(), "{output:?}");
            }
            check(&line);
        },
    );
    assert!(old.get() > 0 && new.get() > 0, "{old:?} {new:?}");
    let _ = fs::remove_dir_all(folder);
}

// attacks 212
#[test]
fn a_rotation_that_is_killed_at_any_step_is_finished_or_has_no_effect() {
    for file in super::FILES {
        let (mut server, key) = with_copy();
        server.stop();
        let args = ["secrets", "rotate", file];
        each_step(&server.data, &args, &key, |line| {
            // The same command brings every possible rest to one state.
            let versions = in_file(line.data(), file).len();
            let rotated = line.json(&["secrets", "rotate", file]);
            assert!(rotated["version"].as_u64().unwrap() as usize >= versions);
            let status = line.json(&["secrets", "status"]);
            let files = status["files"].as_array().unwrap();
            let own = files.iter().find(|known| known["file"] == file).unwrap();
            let all = own["versions"].as_array().unwrap();
            let newest = all.last().unwrap();
            assert_eq!(newest["settled"], true, "{status}");
            for older in &all[..all.len() - 1] {
                assert_eq!(older["rows"], 0, "{status}");
                assert_eq!(older["copies"], 0, "{status}");
            }
        });
    }
}

// attacks 212
#[test]
fn a_retirement_that_is_killed_at_any_step_is_finished_or_has_no_effect() {
    for file in ["pepper", "sealing-key"] {
        let (mut server, key) = with_copy();
        server.stop();
        let line = Line::of(&server);
        line.ok(&["secrets", "rotate", file]);
        let used = line.run_with_input(&["key", "verify"], &format!("{}\n", key.secret));
        assert!(used.stdout.contains("VALID"), "{used:?}");
        let args = ["secrets", "retire", file, "1", "--disable-unseen", "--yes"];
        let args = match file {
            "pepper" => &args[..],
            _ => &args[..4],
        };
        each_step(&server.data, args, &key, |line| {
            let again = line.run(args);
            let left = in_file(line.data(), file);
            assert_eq!(left, [2], "{again:?}");
            let verified = line.run_with_input(&["key", "verify"], &format!("{}\n", key.secret));
            assert!(verified.stdout.contains("VALID"), "{verified:?}");
        });
    }
}
