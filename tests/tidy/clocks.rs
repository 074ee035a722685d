//! No test judges by the clock: on a busy machine such a test fails, or passes without having tested anything.

use super::{Source, sources};

/// The only file that sleeps and measures times for the tests from outside.
const CLOCK_FILE: &str = "tests/server/support/wait.rs";

/// What no test contains. A unit test may name a point in time, which it hands over as "now".
const CLOCK_WORDS: &[&str] = &["sleep(", "sleep_until(", "elapsed(", "wait_timeout("];
/// What no test from outside contains.
const CLOCK_WORDS_OUTSIDE: &[&str] = &[
    "Instant",
    "read_timeout(Duration",
    "read_timeout(Some(Duration",
];

#[test]
fn no_test_judges_by_the_clock() {
    for file in sources("src").into_iter().chain(sources("tests")) {
        if [CLOCK_FILE, "tests/tidy/clocks.rs"].contains(&file.path.as_str()) {
            continue;
        }
        let outside = file.path.starts_with("tests/");
        let words = CLOCK_WORDS_OUTSIDE.iter().filter(|_| outside);
        let words: Vec<&&str> = CLOCK_WORDS.iter().chain(words).collect();
        for (number, line) in test_code(&file) {
            let word = words.iter().find(|word| line.contains(***word));
            assert!(
                word.is_none(),
                "{}:{number}: {word:?}; {CLOCK_FILE} waits without judging",
                file.path
            );
        }
    }
}

/// The lines of a file that only tests compile, with their numbers: all of `tests/` and of files that are named after
/// tests, and the module `tests` of other files. Comments are left out.
fn test_code(file: &Source) -> impl Iterator<Item = (usize, &str)> {
    let is_test = file.path.starts_with("tests/") || file.path.ends_with("tests.rs");
    let lines = (1..).zip(file.text.lines());
    let code = lines.skip_while(move |(_, line)| !is_test && *line != "mod tests {");
    code.filter(|(_, line)| !line.trim_start().starts_with("//"))
}
