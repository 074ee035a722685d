//! Verdicts over a time: a bar chart with axes, the numbers behind it as a table, and how many there were of each code.
//!
//! Reports of a day or a week have a bar for each hour, longer ones a bar for each day of UTC.

use super::auth::Visit;
use super::text::Texts;
use crate::domain::keys::KeyId;
use crate::domain::keys::verdict::Code;
use crate::domain::time::{HOUR_MS, Timestamp};
use crate::error::{Error, Result};
use crate::http::query::Query;
use crate::ops::usage::{self, Step};
use crate::store::usage::StepRow;
use std::collections::BTreeMap;

/// The size of the drawing in SVG units.
const WIDTH: u64 = 720;
/// See [`WIDTH`].
const HEIGHT: u64 = 160;

/// The time that a chart covers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Range {
    #[default]
    Day,
    Week,
    Month,
    Quarter,
}

const RANGES: [(Range, &str, &str); 4] = [
    (Range::Day, "24h", "chart.range_day"),
    (Range::Week, "7d", "chart.range_week"),
    (Range::Month, "30d", "chart.range_month"),
    (Range::Quarter, "90d", "chart.range_quarter"),
];

impl Range {
    /// Takes the parameter `range`; any other word means the last 24 hours.
    pub fn take(query: &mut Query) -> Range {
        let word = query.take("range").unwrap_or_default();
        let mut known = RANGES.iter();
        known
            .find(|known| known.1 == word)
            .map_or(Range::Day, |known| known.0)
    }

    /// The length of a step, and the number of steps. The last one is the step of now.
    fn steps(self) -> (Step, i64) {
        match self {
            Range::Day => (Step::Hour, 24),
            Range::Week => (Step::Hour, 7 * 24),
            Range::Month => (Step::Day, 30),
            Range::Quarter => (Step::Day, 90),
        }
    }

    /// The positions of the labels below the bars, evenly spread: the first is at the left end, and after the last one
    /// follows as much room as between two.
    fn labels(self) -> i64 {
        match self {
            Range::Day => 4,
            Range::Week => 7,
            Range::Month => 5,
            Range::Quarter => 6,
        }
    }
}

/// The bars and the table rows of consecutive steps.
pub struct Chart {
    pub width: u64,
    pub height: u64,
    /// The ranges to choose from: the address, the words, and whether it is the range of this chart.
    pub ranges: Vec<(String, &'static str, bool)>,
    pub bars: Vec<Bar>,
    /// The numbers beside the rules: the highest, the middle one and zero.
    pub marks: [String; 3],
    /// The times below the bars.
    pub times: Vec<String>,
    /// The steps with at least one verdict, newest first.
    pub rows: Vec<ChartRow>,
    /// The heading of the first column of these rows.
    pub step: &'static str,
    /// The codes, most frequent first.
    pub codes: Vec<CodeRow>,
    pub valid: String,
    pub refused: String,
    /// How often keys for this server itself were used, as a sentence; empty if they were not, or if the chart is about
    /// one key. These uses are in no bar.
    pub management: String,
    /// The whole chart as one sentence.
    pub summary: String,
}

/// The bar of one step: accepted requests at the bottom, refused ones on top of them.
pub struct Bar {
    pub x: String,
    pub width: String,
    pub valid_y: u64,
    pub valid_height: u64,
    pub refused_y: u64,
    pub refused_height: u64,
    pub label: String,
}

/// The table row of one step.
pub struct ChartRow {
    pub time: String,
    pub valid: String,
    pub refused: String,
}

/// How many verdicts had a code.
pub struct CodeRow {
    pub code: String,
    /// What the code means, in words.
    pub words: &'static str,
    pub count: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    valid: u64,
    refused: u64,
}

/// The verdicts on one key. `page` is the address of the page that shows them.
pub fn of_key(visit: &Visit<'_>, key: KeyId, range: Range, page: &str) -> Result<Chart> {
    let now = visit.call.app.now().wall;
    let (step, since) = start(range, now);
    let rows = usage::of_key(visit.call.app, &visit.caller, key, step, since, now)?;
    Ok(Chart::new(visit.texts, range, page, &rows, now))
}

/// The verdicts on all keys; `None` unless the caller may read all of them.
pub fn of_server(visit: &Visit<'_>, range: Range, page: &str) -> Result<Option<Chart>> {
    let now = visit.call.app.now().wall;
    let (step, since) = start(range, now);
    match usage::of_all(visit.call.app, &visit.caller, step, since) {
        Ok(rows) => Ok(Some(Chart::new(visit.texts, range, page, &rows, now))),
        Err(Error::Forbidden(_)) => Ok(None),
        Err(err) => Err(err),
    }
}

/// The steps of a range, and the start of its first one.
fn start(range: Range, now: Timestamp) -> (Step, Timestamp) {
    let (step, count) = range.steps();
    let first = now.hour().div_euclid(step.hours()) + 1 - count;
    (step, Timestamp(first * step.hours() * HOUR_MS))
}

impl Chart {
    fn new(texts: &Texts, range: Range, page: &str, rows: &[StepRow], now: Timestamp) -> Chart {
        let (step, since) = start(range, now);
        let (_, length) = range.steps();
        let first = since.hour().div_euclid(step.hours());
        let mut counts = vec![Count::default(); length as usize];
        let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
        let mut management = 0;
        for row in rows {
            let is_valid = row.code == Code::Valid.as_str();
            if is_valid && row.is_management {
                management += row.count;
                continue;
            }
            let position = usize::try_from(row.step - first).unwrap_or(usize::MAX);
            let Some(count) = counts.get_mut(position) else {
                continue;
            };
            *codes.entry(&row.code).or_default() += row.count;
            match is_valid {
                true => count.valid += row.count,
                false => count.refused += row.count,
            }
        }
        let most = counts.iter().map(|count| count.valid + count.refused).max();
        let top = round_up(most.unwrap_or(0));
        let time = |position: i64| time(texts, step, first + position);
        let labels = (0..range.labels())
            .map(|label| short_time(texts, range, first + label * length / range.labels()));
        let bars = counts.iter().enumerate();
        let bars = bars.map(|(position, count)| {
            let words = words(texts, *count);
            let label = format!("{}: {words}", time(position as i64));
            Bar::new(position, counts.len(), *count, top, label)
        });
        let numbers = counts.iter().enumerate().rev();
        let numbers = numbers.filter(|(_, count)| count.valid + count.refused > 0);
        let total = counts.iter().fold(Count::default(), |sum, count| Count {
            valid: sum.valid + count.valid,
            refused: sum.refused + count.refused,
        });
        let mut codes: Vec<(&str, u64)> = codes.into_iter().collect();
        codes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut named = RANGES.iter();
        let named = named.find(|known| known.0 == range);
        let named = named.map_or("", |known| texts.get(known.2));
        Chart {
            width: WIDTH,
            height: HEIGHT,
            ranges: RANGES
                .iter()
                .map(|(known, word, name)| {
                    let href = format!("{page}?range={word}#usage");
                    (href, texts.get(name), *known == range)
                })
                .collect(),
            bars: bars.collect(),
            marks: [top, top / 2, 0].map(|number| texts.number(number)),
            times: labels.collect(),
            rows: numbers
                .map(|(position, count)| ChartRow {
                    time: time(position as i64),
                    valid: texts.number(count.valid),
                    refused: texts.number(count.refused),
                })
                .collect(),
            step: texts.get(match step {
                Step::Day => "chart.day",
                Step::Hour => "chart.hour",
            }),
            codes: codes
                .iter()
                .map(|(code, count)| CodeRow {
                    code: (*code).to_owned(),
                    words: code_words(texts, code),
                    count: texts.number(*count),
                })
                .collect(),
            valid: texts.count("chart.valid", total.valid),
            refused: texts.count("chart.refused", total.refused),
            management: match management {
                0 => String::new(),
                uses => texts.count("chart.management", uses),
            },
            summary: format!("{named}: {}", words(texts, total)),
        }
    }
}

impl Bar {
    fn new(position: usize, number: usize, count: Count, top: u64, label: String) -> Bar {
        // Any count above zero is tall enough to be visible.
        let tall = |count: u64| match count {
            0 => 0,
            count => (count.saturating_mul(HEIGHT) / top).max(2),
        };
        let step = WIDTH as f64 / number.max(1) as f64;
        let valid_height = tall(count.valid);
        let refused_height = tall(count.refused).min(HEIGHT.saturating_sub(valid_height).max(2));
        let valid_y = HEIGHT - valid_height;
        Bar {
            x: format!("{:.1}", step * position as f64),
            width: format!("{:.1}", (step - 1.5).max(1.0)),
            valid_y,
            valid_height,
            refused_y: valid_y.saturating_sub(refused_height),
            refused_height,
            label,
        }
    }
}

/// What a code means, in words; empty for a code that this version does not know.
pub fn code_words(texts: &Texts, code: &str) -> &'static str {
    let name = format!("code.{}", code.to_ascii_lowercase());
    texts.find(&name).unwrap_or("")
}

fn words(texts: &Texts, count: Count) -> String {
    format!(
        "{}, {}",
        texts.count("chart.valid", count.valid),
        texts.count("chart.refused", count.refused)
    )
}

/// The start of a step: `2026-11-29 14:00 UTC` in the time zone of the user, or the day in UTC.
fn time(texts: &Texts, step: Step, number: i64) -> String {
    let start = Timestamp(number * step.hours() * HOUR_MS);
    match step {
        Step::Day => {
            let day: String = start.to_string().chars().take(10).collect();
            texts.day_text(&day)
        }
        Step::Hour => texts.minute(start),
    }
}

/// The start of a step as it stands below the bars.
fn short_time(texts: &Texts, range: Range, number: i64) -> String {
    let (step, _) = range.steps();
    let start = Timestamp(number * step.hours() * HOUR_MS);
    match range {
        Range::Day => texts.zone.local(start).time.chars().take(5).collect(),
        Range::Week => texts.day(start),
        Range::Month | Range::Quarter => time(texts, step, number),
    }
}

/// The smallest even number that people read well and that is not below `most`: 2, 4, 6, 8, 10, 20, 40 …
fn round_up(most: u64) -> u64 {
    let mut unit = 1_u64;
    while most > unit.saturating_mul(10) {
        unit = unit.saturating_mul(10);
    }
    let mut steps = [2, 4, 6, 8, 10].into_iter();
    steps
        .find_map(|step| unit.checked_mul(step).filter(|top| *top >= most))
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::english;

    /// 2026-11-29T10:30:00Z
    const NOW: Timestamp = Timestamp(1_795_948_200_000);

    fn row(step: i64, code: &str, is_management: bool, count: u64) -> StepRow {
        StepRow {
            step,
            code: code.to_owned(),
            is_management,
            count,
        }
    }

    #[test]
    fn the_axis_ends_at_a_number_that_is_easy_to_read() {
        for (most, top) in [
            (0, 2),
            (1, 2),
            (3, 4),
            (9, 10),
            (11, 20),
            (61, 80),
            (4_001, 6_000),
        ] {
            assert_eq!(round_up(most), top, "{most}");
        }
        assert!(round_up(u64::MAX) == u64::MAX);
    }

    #[test]
    fn every_range_ends_now_and_has_labels_and_codes() {
        for (range, word, _) in RANGES {
            let (step, length) = range.steps();
            let last = NOW.hour().div_euclid(step.hours());
            let rows = [
                row(last, "VALID", false, 7),
                row(last, "VALID", true, 100),
                row(last, "EXPIRED", false, 2),
                row(last + 1 - length, "VALID", false, 1),
                row(last - length, "VALID", false, 50),
            ];
            let chart = Chart::new(english(), range, "/x", &rows, NOW);
            assert_eq!(chart.bars.len() as i64, length, "{word}");
            assert_eq!(chart.rows.len(), 2, "{word}");
            assert_eq!(
                (chart.rows[0].valid.as_str(), chart.rows[0].refused.as_str()),
                ("7", "2")
            );
            assert_eq!(chart.codes[0].count, "8");
            assert_eq!(chart.codes[1].code, "EXPIRED");
            assert!(!chart.codes.iter().any(|code| code.words.is_empty()));
            assert!(chart.management.contains("100"), "{}", chart.management);
            assert_eq!(chart.marks, ["10", "5", "0"]);
            assert!(chart.times.len() >= 4);
        }
    }
}
