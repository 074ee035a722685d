//! Chooses the format that a scraper prefers (RFC 9110, section 12.5.1).

use std::cmp::Ordering;

/// A format of the metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    OpenMetrics,
    /// The text format of Prometheus, which every scraper reads.
    Prometheus,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            // OpenMetrics 1.0, section 4.1.1.
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The format that `Accept` prefers: OpenMetrics only if a scraper names it, in a version that this server
    /// supports, with at least the quality of the other format. Like Prometheus' own libraries, the server sends the
    /// text format also to clients that accept neither.
    pub fn of(accept: &[&str]) -> Format {
        let (mut open_metrics, mut text) = (0, 0);
        let mut text_rank = 0;
        for range in accept.iter().flat_map(|line| split(line, ',')) {
            let mut parts = split(range, ';').map(str::trim);
            let kind = parts.next().unwrap_or("").to_ascii_lowercase();
            let mut quality = 1000;
            let mut version = None;
            for parameter in parts {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = thousandths(value),
                    "version" => version = Some(value.to_owned()),
                    _ => {}
                }
            }
            // The most specific range that matches a format decides its quality.
            let rank = match kind.as_str() {
                "*/*" => 1,
                "text/*" | "application/*" => 2,
                _ => 3,
            };
            let version = version.as_deref();
            let is_ours = matches!(version, None | Some("0.0.1" | "1.0.0"));
            if kind == "application/openmetrics-text" && is_ours {
                open_metrics = open_metrics.max(quality);
            }
            let is_text = match kind.as_str() {
                "text/plain" => matches!(version, None | Some("0.0.4")),
                "text/*" | "*/*" => true,
                _ => false,
            };
            match rank.cmp(&text_rank) {
                Ordering::Greater if is_text => (text, text_rank) = (quality, rank),
                Ordering::Equal if is_text => text = text.max(quality),
                _ => {}
            }
        }
        match open_metrics > 0 && open_metrics >= text {
            true => Format::OpenMetrics,
            false => Format::Prometheus,
        }
    }
}

/// Splits a list; separators within quotation marks do not count.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c: char| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
}

/// Parses `0.5` as 500; an invalid quality counts as 0.
fn thousandths(text: &str) -> u32 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let legal = rest.len() <= 3 && rest.bytes().all(|b| b.is_ascii_digit());
    let part = format!("{rest:0<3}").parse().unwrap_or(0);
    match whole {
        "0" if legal => part,
        "1" if legal && part == 0 => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_preferred() {
        use Format::{OpenMetrics, Prometheus};
        for (accept, expected) in [
            (&[][..], Prometheus),
            (&[""], Prometheus),
            (&["*/*"], Prometheus),
            (&["text/plain"], Prometheus),
            (&["text/plain;version=0.0.4"], Prometheus),
            (&["application/json"], Prometheus),
            (&["text/html, */*;q=0.8"], Prometheus),
            (&["application/openmetrics-text"], OpenMetrics),
            (
                &["application/openmetrics-text; version=1.0.0; charset=utf-8"],
                OpenMetrics,
            ),
            (
                &["Application/OpenMetrics-Text;Version=\"1.0.0\""],
                OpenMetrics,
            ),
            (&["application/openmetrics-text;version=2.0.0"], Prometheus),
            (&["application/openmetrics-text;q=0"], Prometheus),
            (
                &["application/openmetrics-text;q=0.5,text/plain;version=0.0.4"],
                Prometheus,
            ),
            (
                &["application/openmetrics-text;q=0.5,text/plain;q=0.4"],
                OpenMetrics,
            ),
            (
                &["text/plain;q=0.5", "application/openmetrics-text;q=0.6"],
                OpenMetrics,
            ),
            (&["application/openmetrics-text, text/plain"], OpenMetrics),
            (
                &["text/plain;q=0.3,*/*;q=1,application/openmetrics-text;q=0.5"],
                OpenMetrics,
            ),
            (&["application/openmetrics-text;q=nonsense"], Prometheus),
            (&["application/openmetrics-text;q=1.5"], Prometheus),
            (&["application/openmetrics-text;q=0.0001"], Prometheus),
            // Prometheus 2 and 3 send these headers.
            (
                &[
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ],
                OpenMetrics,
            ),
            (
                &[
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                ],
                OpenMetrics,
            ),
            // This client prefers protocol buffers, and then text.
            (
                &[
                    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3",
                ],
                Prometheus,
            ),
        ] {
            assert_eq!(Format::of(accept), expected, "{accept:?}");
        }
    }
}
