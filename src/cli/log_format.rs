//! The format of log lines: text, or one JSON object for each event. Repeated lines are counted instead of written.
//!
//! A lasting fault causes the same line again and again, which would fill a disk that may be full already. Of warnings
//! and errors that differ only in numbers and ids, the first [`TOLD_MAX`] within a period are written and the others
//! are counted; their count is written when the period is over ([`tell_folded`]).

use crate::domain::locks::lock;
use env_logger::fmt::Formatter;
use log::{Level, Record};
use serde::Serialize;
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many lines of one kind are written within one period.
const TOLD_MAX: u64 = 3;
/// The length of a period.
const WHILE: Duration = Duration::from_secs(10);
/// How many kinds are remembered at once; lines of further kinds are always written.
const KINDS_MAX: usize = 512;

static JSON: AtomicBool = AtomicBool::new(false);
static FOLDS: Mutex<Option<HashMap<u64, RepeatedLines>>> = Mutex::new(None);

thread_local! {
    /// How many events the current line stands for.
    static COUNT: Cell<u64> = const { Cell::new(1) };
}

/// Lines of one kind.
struct RepeatedLines {
    since: Instant,
    told: u64,
    untold: u64,
    level: Level,
    target: String,
    last: String,
}

/// One event as JSON.
#[derive(Serialize)]
struct EventBody<'a> {
    at: String,
    level: &'static str,
    target: &'a str,
    message: &'a str,
    /// How many events this line stands for, if more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

/// Selects JSON or text for the following lines.
pub fn set_json(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// Writes one line, or counts it.
pub fn write(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let message = record.args().to_string();
    let count = COUNT.get();
    if count == 1 && record.level() <= Level::Warn && is_folded(record, &message, Instant::now()) {
        return Ok(());
    }
    let at = out.timestamp_millis().to_string();
    let line = line(&at, record.level(), record.target(), &message, count);
    out.write_all(line.as_bytes())
}

/// Writes the counts of the lines that were left out in periods that are over.
pub fn tell_folded() {
    for (fold, untold) in take_untold(Instant::now()) {
        COUNT.set(untold);
        log::logger().log(
            &Record::builder()
                .level(fold.level)
                .target(&fold.target)
                .args(format_args!("{}", fold.last))
                .build(),
        );
        COUNT.set(1);
    }
}

fn is_folded(record: &Record<'_>, message: &str, now: Instant) -> bool {
    let mut folds = lock(&FOLDS);
    let folds = folds.get_or_insert_with(HashMap::new);
    let kind = kind(record.target(), message);
    if folds.len() >= KINDS_MAX && !folds.contains_key(&kind) {
        folds.retain(|_, fold| fold.untold > 0 || now.duration_since(fold.since) < WHILE);
        if folds.len() >= KINDS_MAX {
            return false;
        }
    }
    let fold = folds.entry(kind).or_insert_with(|| RepeatedLines {
        since: now,
        told: 0,
        untold: 0,
        level: record.level(),
        target: record.target().to_owned(),
        last: String::new(),
    });
    if now.duration_since(fold.since) >= WHILE && fold.untold == 0 {
        fold.since = now;
        fold.told = 0;
    }
    if fold.told < TOLD_MAX {
        fold.told += 1;
        return false;
    }
    fold.untold += 1;
    message.clone_into(&mut fold.last);
    true
}

fn take_untold(now: Instant) -> Vec<(RepeatedLines, u64)> {
    let mut folds = lock(&FOLDS);
    let Some(folds) = folds.as_mut() else {
        return Vec::new();
    };
    let over = |fold: &RepeatedLines| now.duration_since(fold.since) >= WHILE;
    let mut told = Vec::new();
    for fold in folds
        .values_mut()
        .filter(|fold| over(fold) && fold.untold > 0)
    {
        let copy = RepeatedLines {
            target: fold.target.clone(),
            last: std::mem::take(&mut fold.last),
            ..*fold
        };
        told.push((copy, fold.untold));
        // In the next period no single line is written: a lasting fault causes one line in each period.
        fold.since = now;
        fold.told = TOLD_MAX;
        fold.untold = 0;
    }
    folds.retain(|_, fold| now.duration_since(fold.since) < WHILE);
    told
}

/// A hash of what lines have in common if they differ only in numbers and ids.
fn kind(target: &str, message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    for c in message.chars().filter(|c| !c.is_ascii_hexdigit()) {
        c.hash(&mut hasher);
    }
    hasher.finish()
}

/// One line with its line end. No character in it can end it early, or move the cursor of a terminal (attacks 201).
fn line(at: &str, level: Level, target: &str, message: &str, count: u64) -> String {
    let many = (count > 1).then_some(count);
    if !JSON.load(Ordering::Relaxed) {
        let times = many.map_or(String::new(), |count| format!(" ({count} times)"));
        return format!("[{at} {level:<5} {target}] {}{times}\n", harmless(message));
    }
    let event = EventBody {
        at: at.to_owned(),
        level: match level {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        },
        target,
        message: &harmless(message),
        count: many,
    };
    let mut line = serde_json::to_string(&event).unwrap_or_default();
    line.push('\n');
    line
}

/// The text with special characters escaped: control characters, line and paragraph separators, and marks that change
/// the direction of text.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let ends = matches!(c, '\u{2028}' | '\u{2029}');
        if c.is_control() || turns || ends {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str, now: Instant) -> bool {
        let args = format_args!("");
        let record = Record::builder()
            .level(Level::Warn)
            .target("test")
            .args(args)
            .build();
        !is_folded(&record, message, now)
    }

    // attacks 210
    #[test]
    fn what_is_said_again_and_again_is_counted() {
        let now = Instant::now();
        let told = (0..100).filter(|n| said(&format!("change {n} was refused"), now));
        assert_eq!(told.count() as u64, TOLD_MAX);
        assert!(said("something else happened", now));
        assert!(take_untold(now).is_empty(), "the while is not over");
        let later = now + WHILE;
        let counts: Vec<(String, u64)> = take_untold(later)
            .into_iter()
            .map(|(fold, count)| (fold.last, count))
            .collect();
        assert_eq!(counts, [("change 99 was refused".to_owned(), 97)]);
        assert!(!said("change 100 was refused", later), "it goes on");
        let much_later = later + WHILE;
        assert_eq!(take_untold(much_later).len(), 1);
        assert!(take_untold(much_later + WHILE).is_empty());
        assert!(
            said("change 101 was refused", much_later + WHILE),
            "it came back"
        );
    }

    // attacks 201
    #[test]
    fn a_message_stays_on_its_line() {
        let bad = "a\r\nb\u{1b}[2J\u{2028}c\u{202e}d\"";
        let text = line("T", Level::Warn, "t", bad, 1);
        assert_eq!(
            text,
            "[T WARN  t] a\\u{d}\\u{a}b\\u{1b}[2J\\u{2028}c\\u{202e}d\"\n"
        );
        assert_eq!(
            line("T", Level::Info, "t", "x", 7),
            "[T INFO  t] x (7 times)\n"
        );
    }
}
