//! A short run of `dev/soak`: everything at the same time, with kills, faults and restores. And the proof that it notices
//! what must not happen.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::faults::left_out;
use crate::support::together;

/// What the driver can do behind its own back.
const VIOLATIONS: [&str; 5] = ["revive", "lose", "accept", "log", "descriptors"];

fn has_python() -> bool {
    let asked = Command::new("python3")
        .args(["-c", "import sys; sys.exit(sys.version_info < (3, 10))"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

fn soak(args: &[&str]) -> Output {
    Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("dev/soak"))
        .args(["--binary", env!("CARGO_BIN_EXE_latchkey")])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("python3 can be started")
}

fn shown(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{stdout}\n{stderr}")
}

#[test]
fn a_disturbed_server_keeps_its_promises() {
    if !has_python() {
        return left_out("the soak: there is no python3");
    }
    let ran = soak(&["--rounds", "90", "--keys", "30", "--seed", "16"]);
    assert_eq!(ran.status.code(), Some(0), "{}", shown(&ran));
    let text = shown(&ran);
    for done in ["  kill ", "  restore ", "  whole checks "] {
        assert!(text.contains(done), "there was no{done}in\n{text}");
    }
}

#[test]
fn the_driver_finds_what_is_done_behind_its_back() {
    if !has_python() {
        return left_out("the proof of the soak: there is no python3");
    }
    together(VIOLATIONS.len(), |own| {
        let kind = VIOLATIONS[own];
        let args = ["--rounds", "60", "--keys", "20", "--faults", ""];
        let ran = soak(&[&args[..], &["--seed", "16", "--violate", kind]].concat());
        let text = shown(&ran);
        assert_eq!(ran.status.code(), Some(1), "{kind}: {text}");
        assert!(text.contains("VIOLATION"), "{kind}: {text}");
        assert!(text.contains("seed 16"), "{kind}: {text}");
    });
}
