//! `pack make --every --repeat`: packs for a diode that loses some of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::Pair;
use crate::support::{executable, wait};

/// The command, with what it writes to stderr in a file.
struct Sender {
    child: Child,
    log: PathBuf,
}

impl Sender {
    fn start(pair: &Pair, out: &Path) -> Sender {
        let log = pair.site.path("sender.log");
        let mut command: Command = executable(None);
        let child = command
            .args([
                "pack", "make", "--all", "--every", "1s", "--repeat", "3", "--out",
            ])
            .arg(out)
            .arg("--data")
            .arg(&pair.server.data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Sender { child, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn goes_on(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it as a service manager does.
    fn stop(mut self) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

/// Takes the packs out of a folder, as a diode does, and counts how often each has come.
#[derive(Default)]
struct Diode {
    seen: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Diode {
    fn take(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.ends_with(".lkpack") {
                let bytes = fs::read(entry.path()).unwrap();
                fs::remove_file(entry.path()).unwrap();
                self.seen.entry(name).or_default().push(bytes);
            }
        }
    }

    /// How often each difference has come.
    fn differences(&self) -> impl Iterator<Item = usize> {
        let seen = self.seen.iter().filter(|(name, _)| name.contains("-of-"));
        seen.map(|(_, copies)| copies.len())
    }

    /// How often the pack with this number has come.
    fn times(&self, number: u64) -> usize {
        let of = |name: &str| name[..6].parse::<u64>().ok() == Some(number);
        let mut seen = self.seen.iter().filter(|(name, _)| of(name));
        seen.next().map_or(0, |(_, copies)| copies.len())
    }
}

#[test]
fn each_pack_is_sent_as_often_as_wanted_and_a_folder_may_be_lost_for_a_while() {
    let pair = Pair::new();
    let key = pair.server.admin().issue(json!({ "name": "k" }));
    let out = pair.site.path("out");
    let folder = out.join("plant-7");
    // What a command that was killed has left.
    fs::create_dir_all(&folder).unwrap();
    let left = folder.join(".latchkey-00112233445566778899aabbccddeeff.partial");
    fs::write(&left, "half").unwrap();
    let mut sender = Sender::start(&pair, &out);
    let mut diode = Diode::default();
    // On a busy machine a copy can be replaced by the next before it is taken.
    wait::until("a difference came three times", || {
        diode.take(&folder);
        diode.differences().any(|copies| copies == 3)
    });
    assert!(diode.differences().all(|copies| copies <= 3));
    for copies in diode.seen.values() {
        assert!(
            copies.iter().all(|copy| *copy == copies[0]),
            "copies differ"
        );
    }
    assert!(!left.exists(), "what was left is still there");

    // Its folder cannot be written for a while; another folder can.
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "no folder").unwrap();
    wait::until("the command has noticed", || {
        sender.log().contains("the next try is in")
    });
    assert!(sender.goes_on());
    fs::remove_file(&folder).unwrap();
    let newest = pair.line().json(&["site", "show", "plant-7"])["pack"]
        .as_u64()
        .unwrap();
    wait::until("a later pack has come", || {
        diode.take(&folder);
        (newest..newest + 3).any(|number| diode.times(number) > 0)
    });
    // The server is restarted meanwhile, or does not run at all.
    let mut pair = pair;
    pair.server.restart();
    let newest = pair.line().json(&["site", "show", "plant-7"])["pack"]
        .as_u64()
        .unwrap();
    wait::until("a pack of the restarted server has come", || {
        diode.take(&folder);
        (newest + 1..newest + 5).any(|number| diode.times(number) > 0)
    });
    sender.stop();
    diode.take(&folder);
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with(".latchkey-"), "{name}");
    }
    // Any newest pack together with its base is enough.
    let spool = pair.site.path("spool");
    fs::create_dir(&spool).unwrap();
    for (name, copies) in &diode.seen {
        fs::write(spool.join(name), &copies[0]).unwrap();
    }
    pair.site
        .line
        .ok(&["pack", "apply", spool.to_str().unwrap()]);
    assert_eq!(pair.site.serve().local().verdict(&key.secret), "VALID");
}
