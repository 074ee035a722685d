//! Asks git for the relevant files of a work tree: those that are tracked or not ignored.
//!
//! Only git knows this in all cases: a tracked file is relevant even if a pattern ignores it. The scanned tree may be
//! hostile, and its settings must not run a program or access a network: see [`SAFE`] and [`command`]. If git refuses,
//! this module returns an error, and the caller scans every file.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The maximum duration of one call of git.
const TIME_MAX: Duration = Duration::from_secs(60);
/// The maximum size of git's output. The names of a million files have about 60 MB.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The maximum size of git's error message.
const REASON_BYTES_MAX: usize = 4 * 1024;
/// The maximum number of characters of the error message that are displayed.
const REASON_CHARS_MAX: usize = 200;

/// Settings that override those of the tree. git runs no program that the tree names: it would run `core.fsmonitor`
/// when it lists files, and hooks when it writes an index. It fetches no missing object, and a bare repository among
/// the files does not count as a repository.
const SAFE: &[&str] = &[
    "--no-pager",
    "--no-optional-locks",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.sshCommand=false",
    "-c",
    "core.gitProxy=",
    "-c",
    "credential.helper=",
    "-c",
    "protocol.allow=never",
    "-c",
    "safe.bareRepository=explicit",
];

/// The path of the program, which is looked up only once.
pub struct Git(Option<PathBuf>);

/// The relevant files of a folder according to git.
pub enum Files {
    /// The folder is ignored, or is inside the `.git` folder of a repository: git does not decide about its files.
    All,
    /// Paths relative to the folder. A folder among them is another repository or a submodule.
    Listed(Vec<OsString>),
}

impl Git {
    /// Looks for the program in the absolute folders of PATH, because a relative one could be inside the scanned tree.
    pub fn look_up() -> Git {
        let is_program = |path: &PathBuf| {
            path.metadata()
                .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        Git(std::env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join("git"))
            .find(is_program))
    }

    /// The relevant files of a folder in a work tree; the error is the reason why git did not answer.
    pub fn files(&self, folder: &Path) -> Result<Files, String> {
        let Some(program) = &self.0 else {
            return Err("no program git was found in PATH".to_owned());
        };
        let ask = |args: &[&str]| answer(command(program, folder, args));
        let inside = ask(&["rev-parse", "--is-inside-work-tree"])?;
        if inside.status != Some(0) {
            return Err(inside.reason());
        }
        if inside.output.trim_ascii() != b"true" {
            return Ok(Files::All);
        }
        if folder.join(".git").symlink_metadata().is_ok() {
            // If this `.git` is not a repository, the folder belongs to the surrounding one, which may ignore it.
            let top = ask(&["rev-parse", "--show-toplevel"])?;
            let path = top.output.strip_suffix(b"\n").unwrap_or_default();
            let real = folder.canonicalize().map_err(|err| err.to_string())?;
            if top.status != Some(0) || path != real.as_os_str().as_bytes() {
                return Err("its .git is no repository for this folder".to_owned());
            }
        } else {
            let ignored = ask(&["check-ignore", "--quiet", "--no-index", "--", "."])?;
            match ignored.status {
                Some(0) => return Ok(Files::All),
                Some(1) => {}
                _ => return Err(ignored.reason()),
            }
        }
        let listed = ask(&[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])?;
        if listed.status != Some(0) {
            return Err(listed.reason());
        }
        names(&listed.output).map(Files::Listed)
    }
}

/// The names in git's output, without duplicates. A forged index may contain names outside the folder.
fn names(output: &[u8]) -> Result<Vec<OsString>, String> {
    let mut names: Vec<&[u8]> = output
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    names.dedup();
    let is_below = |name: &[u8]| {
        let mut parts = Path::new(OsStr::from_bytes(name)).components();
        parts.all(|part| matches!(part, Component::Normal(_)))
    };
    if !names.iter().all(|name| is_below(name)) {
        return Err("git lists a file outside the folder".to_owned());
    }
    Ok(names
        .into_iter()
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect())
}

/// A call of git, without environment variables that select another repository or programs to run.
fn command(program: &Path, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"GIT_") {
            command.env_remove(name);
        }
    }
    command
        .args(SAFE)
        .args(args)
        .current_dir(folder)
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The result of a call of git.
struct Answer {
    /// `None` if a signal ended the process.
    status: Option<i32>,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Answer {
    /// The first line of git's error message, without control characters, which a terminal would interpret.
    fn reason(&self) -> String {
        let errors = String::from_utf8_lossy(&self.errors);
        let line = errors.lines().find(|line| !line.trim().is_empty());
        let line = line.unwrap_or("git ended without a reason");
        line.chars()
            .filter(|char| !char.is_control())
            .take(REASON_CHARS_MAX)
            .collect()
    }
}

fn answer(mut command: Command) -> Result<Answer, String> {
    let mut child = command
        .spawn()
        .map_err(|err| format!("git cannot be started: {err}"))?;
    let answer = gather(&mut child, Instant::now() + TIME_MAX);
    if answer.is_err() {
        // The process may already have ended.
        let _ = child.kill();
        let _ = child.wait();
    }
    answer
}

/// Reads both outputs to their ends and waits for the process, both before the deadline.
fn gather(child: &mut Child, deadline: Instant) -> Result<Answer, String> {
    let late = || format!("git did not answer within {} s", TIME_MAX.as_secs());
    let unread = |err: &dyn std::fmt::Display| format!("git's answer cannot be read: {err}");
    let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(unread(&"no pipe"));
    };
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let (mut out_open, mut err_open) = (true, true);
    let mut part = vec![0; 64 * 1024];
    while out_open || err_open {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        let wait = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let [out_ready, err_ready] = {
            let wanted = |open| match open {
                true => PollFlags::IN,
                false => PollFlags::empty(),
            };
            let mut fds = [
                PollFd::new(&out, wanted(out_open)),
                PollFd::new(&err, wanted(err_open)),
            ];
            match poll(&mut fds, Some(&wait)) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(err) => return Err(unread(&err)),
            }
            fds.map(|fd| !fd.revents().is_empty())
        };
        if out_open && out_ready {
            let count = out.read(&mut part).map_err(|err| unread(&err))?;
            out_open = count > 0;
            output.extend_from_slice(&part[..count]);
            if output.len() > ANSWER_BYTES_MAX {
                return Err(format!(
                    "git's answer is larger than {ANSWER_BYTES_MAX} bytes"
                ));
            }
        }
        if err_open && err_ready {
            let count = err.read(&mut part).map_err(|err| unread(&err))?;
            err_open = count > 0;
            let room = REASON_BYTES_MAX.saturating_sub(errors.len());
            errors.extend_from_slice(&part[..count.min(room)]);
        }
        // A closed pipe is always ready, so this loop waits for the other pipe in short steps.
        if (out_ready && !out_open && err_open) || (err_ready && !err_open && out_open) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                return Ok(Answer {
                    status: status.code(),
                    output,
                    errors,
                });
            }
            Ok(None) if Instant::now() >= deadline => return Err(late()),
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(err) => return Err(unread(&err)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lie_below_the_folder_and_come_once() {
        let all = names(b"b\0a/c\0b\0nested/\0").unwrap();
        assert_eq!(all, ["a/c", "b", "nested/"]);
        for bad in [&b"../x\0"[..], b"/etc/passwd\0", b"a/../../x\0"] {
            assert!(names(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_process_that_does_not_end_is_ended() {
        let mut sleeper = Command::new("sleep");
        sleeper
            .arg("100")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = sleeper.spawn().unwrap();
        let ended = gather(&mut child, Instant::now() + Duration::from_millis(50));
        assert!(ended.is_err());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn what_git_said_has_no_control_characters() {
        let answer = Answer {
            status: Some(128),
            output: Vec::new(),
            errors: b"\nfatal: \x1b[31mred\nmore".to_vec(),
        };
        assert_eq!(answer.reason(), "fatal: [31mred");
    }
}
