//! The verdicts of each hour, as a bar chart and as a table.

use super::text::Texts;
use crate::domain::time::{HOUR_MS, Timestamp};

/// The size of the drawing in SVG units.
const WIDTH: u64 = 720;
/// See [`WIDTH`].
const HEIGHT: u64 = 140;

/// The bars and the table rows of consecutive hours.
pub struct Chart {
    pub width: u64,
    pub height: u64,
    pub bars: Vec<Bar>,
    /// The hours with at least one verdict, newest first.
    pub rows: Vec<ChartRow>,
    pub top: String,
    pub from: String,
    pub to: String,
    /// The totals, as one sentence.
    pub summary: String,
}

/// The bar of one hour: accepted requests at the bottom, refused ones on top of them.
pub struct Bar {
    pub x: String,
    pub width: String,
    pub valid_y: u64,
    pub valid_height: u64,
    pub refused_y: u64,
    pub refused_height: u64,
    pub label: String,
}

/// The table row of one hour.
pub struct ChartRow {
    pub hour: String,
    pub valid: String,
    pub refused: String,
}

/// The numbers of one hour.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hour {
    pub valid: u64,
    pub refused: u64,
}

impl Chart {
    /// `hours` are consecutive, oldest first; the last one is the hour of `now`.
    pub fn new(texts: &Texts, hours: &[Hour], now: Timestamp) -> Chart {
        let first = now.hour() + 1 - hours.len() as i64;
        let most = hours.iter().map(|hour| hour.valid + hour.refused).max();
        let most = most.unwrap_or(0).max(1);
        let name = |position: usize| {
            let hour = Timestamp((first + position as i64) * HOUR_MS).to_string();
            hour.replace('T', " ").replace(":00Z", "")
        };
        // Any count above zero is tall enough to be visible.
        let tall = |count: u64| match count {
            0 => 0,
            count => (count.saturating_mul(HEIGHT) / most).max(2),
        };
        let step = WIDTH as f64 / hours.len().max(1) as f64;
        let bar = |(position, hour): (usize, &Hour)| {
            let valid_height = tall(hour.valid);
            let refused_height = tall(hour.refused).min(HEIGHT.saturating_sub(valid_height).max(2));
            let valid_y = HEIGHT - valid_height;
            Bar {
                x: format!("{:.1}", step * position as f64),
                width: format!("{:.1}", (step - 1.5).max(1.0)),
                valid_y,
                valid_height,
                refused_y: valid_y.saturating_sub(refused_height),
                refused_height,
                label: format!(
                    "{}: {}, {}",
                    name(position),
                    texts.count("chart.valid", hour.valid),
                    texts.count("chart.refused", hour.refused)
                ),
            }
        };
        let rows = hours.iter().enumerate().rev();
        let rows = rows.filter(|(_, hour)| hour.valid + hour.refused > 0);
        let (valid, refused) = hours.iter().fold((0, 0), |(valid, refused), hour| {
            (valid + hour.valid, refused + hour.refused)
        });
        Chart {
            width: WIDTH,
            height: HEIGHT,
            bars: hours.iter().enumerate().map(bar).collect(),
            rows: rows
                .map(|(position, hour)| ChartRow {
                    hour: name(position),
                    valid: texts.number(hour.valid),
                    refused: texts.number(hour.refused),
                })
                .collect(),
            top: texts.number(most),
            from: name(0),
            to: name(hours.len().saturating_sub(1)),
            summary: format!(
                "{}, {}",
                texts.count("chart.valid", valid),
                texts.count("chart.refused", refused)
            ),
        }
    }
}
