//! Transcripts: requests and answers as plain text, played against the running server. The format is in `README.md`.
//!
//! A dialect has a folder here with its transcripts and a `mod.rs` that calls [`play_all`] and [`table::check`].

mod adverity;
mod aware;
mod awaretrain;
mod names;
mod pattern;
mod player;
mod reader;
mod table;
mod vspc;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use reader::Transcript;

/// Plays every transcript of a dialect, each with a fresh server, and reports all that fail.
#[track_caller]
pub fn play_all(dialect: &str) {
    let files = Mutex::new(files(dialect));
    let failures = Mutex::new(Vec::new());
    let next = || files.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                while let Some(path) = next() {
                    let played = catch_unwind(AssertUnwindSafe(|| play(&path)));
                    let panicked = |_| Err(format!("=== {}\nit panicked", path.display()));
                    if let Err(failure) = played.unwrap_or_else(panicked) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of the transcripts fail\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

fn play(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|err| format!("{}: {err}", path.display()))?;
    if text.contains("{{today") {
        names::wait_for_a_day_that_lasts();
    }
    let transcript = Transcript::read(&text);
    let played = transcript.and_then(|transcript| player::play(&transcript));
    played.map_err(|(line, why)| format!("=== {}:{line}\n{why}", path.display()))
}

/// At least two threads, even on the smallest machine: a transcript spends most of its time waiting.
fn threads() -> usize {
    thread::available_parallelism().map_or(2, |count| count.get().max(2))
}

fn folder(dialect: &str) -> PathBuf {
    Path::new("tests/server/transcripts").join(dialect)
}

/// The transcripts of a dialect. `TRANSCRIPT=1C-4` selects those whose names contain the text.
fn files(dialect: &str) -> Vec<PathBuf> {
    let wanted = std::env::var("TRANSCRIPT").unwrap_or_default();
    let entries = fs::read_dir(folder(dialect)).expect("a dialect has a folder of transcripts");
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .filter(|path| path.to_string_lossy().contains(&wanted))
        .collect();
    assert!(!found.is_empty(), "there are no transcripts of {dialect}");
    // Taken from the end.
    found.sort_by(|a, b| b.cmp(a));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the line and the message with which a transcript of this text fails; the heading is added.
    #[track_caller]
    fn fails(text: &str, line: usize, why: &str) {
        let text = format!("1C-1  A test of the runner\n\n{text}");
        let played = Transcript::read(&text).and_then(|transcript| player::play(&transcript));
        match played {
            Err((at, said)) => {
                assert!(said.contains(why), "{said}");
                assert_eq!(at, line, "{said}");
            }
            Ok(()) => panic!("it was accepted: {text}"),
        }
    }

    #[test]
    fn a_right_transcript_passes() {
        let text = "1C-1  A test of the runner\nProse.\n\n\
            @ start --verify-from-loopback=false\n\
            -> POST /v1/workspaces HTTP/1.1\nAuthorization: Bearer {{admin}}\nContent-Type: application/json\n\n\
            {\"slug\": \\\n\"emea\"}\n\n\
            <- 201\nContent-Type: application/json\n!Set-Cookie\n\n\
            { \"uid\": \"{{uid:[0-9a-f-]{36}}}\", \"slug\":\"emea\",\n  {{*}}, \"created_at\": \"{{at}}\" }\n\n\
            # Prose between exchanges.\n@ restart\n\
            -> GET /v1/workspaces/{{uid}}\nAuthorization: Bearer {{admin}}\n\n\
            <- 200\n\n{\"uid\":\"{{uid}}\",{{*}}\"created_at\":\"{{at}}\"}\n\n\
            @ as socket\n@ repeat 2\n-> GET /v1/workspaces/{{uid}}\nLatchkey-Local: 1\n\n<- 200\n\n{{*}}\n\n\
            @ together 2\n-> POST /v1/workspaces HTTP/1.1\nAuthorization: Bearer {{admin}}\nContent-Type: application/json\n\n\
            {\"slug\": \"apac\"}\n\
            <- 201\n\n{\"uid\":\"{{winner}}\",{{*}}}\n<- 409\n\n{{*}}\n";
        let played = Transcript::read(text).and_then(|transcript| player::play(&transcript));
        assert_eq!(played, Ok(()));
    }

    #[test]
    fn a_wrong_transcript_fails_where_it_is_wrong() {
        let ask = "-> GET /v1/whoami\nAuthorization: Bearer {{admin}}\n\n";
        fails(&format!("{ask}<- 201\n\n{{{{*}}}}"), 6, "status");
        fails(
            &format!("{ask}<- 200\nContent-Type: text/plain\n\n{{{{*}}}}"),
            7,
            "content-type: application/json",
        );
        fails(
            &format!("{ask}<- 200\n!X-Request-Id\n\n{{{{*}}}}"),
            7,
            "must be absent",
        );
        fails(&format!("{ask}<- 200\n"), 6, "no body");
        fails(&format!("{ask}<- 200\n\n{{\"id\":1}}"), 8, "here");
        fails(
            &format!("{ask}<- 200\n\n{{\"id\":\"{{{{id:[0-9]}}}}\",{{{{*}}}}}}"),
            8,
            "here",
        );
        // The order of members counts, and an additional or missing member is an error.
        fails(
            &format!("{ask}<- 200\n\n{{\"hint\":\"{{{{*}}}}\",\"id\":{{{{*}}}}}}"),
            8,
            "here",
        );
        fails(
            &format!(
                "{ask}<- 200\n\n{{\"id\":\"{{{{same}}}}\",\"hint\":\"{{{{same}}}}\",{{{{*}}}}}}"
            ),
            8,
            "same",
        );
        let exactly = format!("@ bytes\n{ask}<- 200\n\n{{ {{{{*}}}}");
        fails(&exactly, 9, "here");
    }

    #[test]
    fn of_two_at_once_exactly_one_wins() {
        let both = "@ together 2\n-> GET /healthz\n\n<- 200\n\n{{*}}\n<- 409\n\n{{*}}\n";
        fails(both, 6, "2 of 2 answers have the status 200");
    }

    #[test]
    fn what_is_no_transcript_is_refused() {
        let refused = |text: &str, why: &str| {
            let (_, said) = Transcript::read(text).unwrap_err();
            assert!(said.contains(why), "{said}");
        };
        refused("A title alone", "first line");
        refused("1C-1  Title\n", "no exchange");
        refused("1C-1  Title\n-> GET\n<- 200\n", "a request");
        refused("1C-1  Title\n-> GET /\n", "no answer");
        refused("1C-1  Title\n<- 200\n", "no request");
        refused("1C-1  Title\n-> GET /\n<- two\n", "a status");
        refused("1C-1  Title\n@ dance\n-> GET /\n<- 200\n", "dance");
        refused("1C-1  Title\n-> GET /\nno header\n<- 200\n", "a header");
        refused("1C-1  Title\n-> GET /\n<- 200\n<- 400\n", "together");
        refused("1C-1  Title\n-> GET /\n<- 200\n\n{{a b}}\n", "{{a b}}");
        fails("-> GET /{{unknown}}\n<- 200\n", 3, "unknown");
    }
}
