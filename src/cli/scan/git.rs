//! Asks git for the relevant files of a work tree: those that are tracked or not ignored.
//!
//! Only git knows this in all cases: a tracked file is relevant even if a pattern ignores it. The scanned tree may be
//! hostile, and its settings must not run a program or access a network: see [`SAFE`] and [`command`]. If git refuses,
//! this module returns an error, and the caller scans every file.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
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
/// The maximum size of git's messages. More of them count as a refusal, because an error could be among the rest.
const ERRORS_BYTES_MAX: usize = 64 * 1024;
/// The maximum number of characters of the error message that are displayed.
const REASON_CHARS_MAX: usize = 200;

/// The beginnings of messages after which the list of files is not complete, even if git ends without an error.
const REFUSALS: &[&str] = &["error:", "fatal:", "warning: could not open directory"];

/// The mode of a submodule in git's list of tracked files.
const SUBMODULE: &[u8] = b"160000 ";

/// Settings that override those of the tree. git runs no program that the tree names: it would run `core.fsmonitor`
/// when it lists files, and hooks when it writes an index. It fetches no missing object, and a bare repository among
/// the files does not count as a repository. Names that differ only in case are different files.
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
    "-c",
    "core.ignoreCase=false",
    "-c",
    "advice.sparseIndexExpanded=false",
];

/// The path of the program, which is looked up only once.
pub struct Git(Option<PathBuf>);

/// The relevant files of a folder according to git.
pub enum Files {
    /// The folder is ignored, or is inside the `.git` folder of a repository: git does not decide about its files.
    All,
    /// Paths relative to the folder. A path with a final slash is another repository or a submodule: git does not list
    /// the files below it.
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
        let ask = |args: &[&str]| {
            let answer = answer(command(program, folder, args))?;
            answer.refusal().map_or(Ok(answer), Err)
        };
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
        let tracked = ask(&["ls-files", "-z", "--cached", "--stage"])?;
        let others = ask(&["ls-files", "-z", "--others", "--exclude-standard"])?;
        for listed in [&tracked, &others] {
            if listed.status != Some(0) {
                return Err(listed.reason());
            }
        }
        names(&tracked.output, &others.output).map(Files::Listed)
    }
}

/// The names in git's two lists, each once. A forged index may contain names outside the folder.
fn names(tracked: &[u8], others: &[u8]) -> Result<Vec<OsString>, String> {
    let entries = |list| <[u8]>::split(list, |byte| *byte == 0).filter(|it| !it.is_empty());
    let mut names: BTreeMap<&[u8], bool> = BTreeMap::new();
    for entry in entries(tracked) {
        let tab = entry.iter().position(|byte| *byte == b'\t');
        let (about, name) = entry.split_at(tab.ok_or("git's list of files is not understood")?);
        *names.entry(&name[1..]).or_default() |= about.starts_with(SUBMODULE);
    }
    for entry in entries(others) {
        let name = entry.strip_suffix(b"/");
        *names.entry(name.unwrap_or(entry)).or_default() |= name.is_some();
    }
    let is_below = |name: &[u8]| {
        let mut parts = Path::new(OsStr::from_bytes(name)).components();
        !name.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
    };
    if !names.keys().all(|name| is_below(name)) {
        return Err("git lists a file outside the folder".to_owned());
    }
    let written = |(name, is_folder): (&[u8], bool)| match is_folder {
        true => OsString::from_vec([name, b"/"].concat()),
        false => OsString::from_vec(name.to_vec()),
    };
    Ok(names.into_iter().map(written).collect())
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
        // Older versions of git do not know the first variable. The second outranks all settings `protocol.NAME.allow`
        // of the tree: no protocol is allowed.
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_ALLOW_PROTOCOL", "")
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
    /// The first line of git's error message.
    fn reason(&self) -> String {
        let errors = String::from_utf8_lossy(&self.errors);
        let line = errors.lines().find(|line| !line.trim().is_empty());
        shown(line.unwrap_or("git ended without a reason"))
    }

    /// The message after which git's answer does not count, if there is one.
    fn refusal(&self) -> Option<String> {
        if self.errors.len() > ERRORS_BYTES_MAX {
            return Some(format!(
                "git's messages are larger than {ERRORS_BYTES_MAX} bytes"
            ));
        }
        let errors = String::from_utf8_lossy(&self.errors);
        let is_refusal = |line: &&str| REFUSALS.iter().any(|it| line.starts_with(it));
        errors.lines().find(is_refusal).map(shown)
    }
}

/// The beginning of a line without control characters, which a terminal would interpret.
fn shown(line: &str) -> String {
    line.chars()
        .filter(|char| !char.is_control())
        .take(REASON_CHARS_MAX)
        .collect()
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
            let room = (ERRORS_BYTES_MAX + 1).saturating_sub(errors.len());
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
        let tracked =
            b"100644 abc 0\tb\x00100644 abc 1\ta/c\x00100644 abc 2\ta/c\x00160000 abc 0\tsub\0";
        let all = names(tracked, b"a/d\0nested/\0b\0").unwrap();
        assert_eq!(all, ["a/c", "a/d", "b", "nested/", "sub/"]);
        for bad in [&b"../x\0"[..], b"/etc/passwd\0", b"a/../../x\0", b"/\0"] {
            assert!(names(b"", bad).is_err(), "{bad:?}");
            assert!(names(&[b"100644 abc 0\t", bad].concat(), b"").is_err());
        }
        assert!(names(b"b\0", b"").is_err());
    }

    #[test]
    fn an_error_is_a_refusal_whatever_the_exit_code() {
        let answer = |errors: Vec<u8>| Answer {
            status: Some(0),
            output: Vec::new(),
            errors,
        };
        for refused in [
            "hint: x\nerror: no",
            "fatal: no",
            "warning: could not open directory 'p/': no",
        ] {
            let line = refused.lines().last().map(str::to_owned);
            assert_eq!(answer(refused.into()).refusal(), line);
        }
        for no_matter in ["", "hint: an error: no", "warning: x\n"] {
            assert_eq!(answer(no_matter.into()).refusal(), None);
        }
        assert!(answer(vec![b'a'; ERRORS_BYTES_MAX + 1]).refusal().is_some());
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
