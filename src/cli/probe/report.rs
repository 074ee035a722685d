//! The report of a probe: a table for people, JSON for scripts.

use super::remedies::{Line, Proxy, Remedy};
use crate::cli::print::aligned;
use crate::cli::print::table::harmless;
use crate::domain::text::counted;
use serde::Serialize;

/// The result of a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Wrong, but the user has accepted it.
    Accepted,
    NotChecked,
    #[serde(rename = "ok")]
    Right,
    Wrong,
}

/// One check.
pub struct Row {
    pub check: &'static str,
    pub tried: String,
    pub came: String,
    pub should: &'static str,
    pub state: State,
    /// Why it is wrong or was not checked; empty otherwise.
    pub why: String,
    pub remedy: Option<Remedy>,
}

/// The lines that are shown for a wrong check.
fn lines(row: &Row, proxy: Option<Proxy>) -> impl Iterator<Item = &'static Line> {
    let remedy = row.remedy.filter(|_| row.state == State::Wrong);
    let all = remedy.map_or(&[][..], Remedy::lines).iter();
    all.filter(move |line| proxy.is_none_or(|proxy| proxy == line.proxy))
}

/// How many rows have a state.
fn count(rows: &[Row], state: State) -> usize {
    rows.iter().filter(|row| row.state == state).count()
}

pub fn is_healthy(rows: &[Row]) -> bool {
    count(rows, State::Wrong) == 0
}

/// A table with a line for each check, followed by what to change.
pub fn written(rows: &[Row], proxy: Option<Proxy>) -> String {
    let word = |state| match state {
        State::Accepted => "accepted",
        State::NotChecked => "not checked",
        State::Right => "ok",
        State::Wrong => "WRONG",
    };
    let heading = ["", "TRIED", "CAME", "SHOULD COME"].map(str::to_owned);
    let cells = |row: &Row| {
        let texts = [word(row.state), &row.tried, &row.came, row.should];
        texts.map(harmless).to_vec()
    };
    let table: Vec<Vec<String>> = std::iter::once(heading.to_vec())
        .chain(rows.iter().map(cells))
        .collect();
    let table = aligned(&table);
    let mut table = table.lines();
    let mut text = table.next().unwrap_or_default().to_owned();
    let mut explained: Vec<&str> = Vec::new();
    for (line, row) in table.zip(rows) {
        text.push_str(&format!("\n{line}"));
        if row.why.is_empty() || explained.contains(&row.why.as_str()) {
            continue;
        }
        explained.push(&row.why);
        text.push_str(&format!("\n    {}", row.why));
        for line in lines(row, proxy) {
            let verb = if line.is_needed { "" } else { "without: " };
            text.push_str(&format!(
                "\n      {:<11}  {:<25}  {verb}{}",
                line.proxy.word(),
                line.file,
                line.text
            ));
        }
    }
    let of = |state| count(rows, state);
    let all = u64::try_from(rows.len()).unwrap_or_default();
    text.push_str(&format!(
        "\n\n{}: {} ok, {} wrong, {} accepted, {} not checked",
        counted(all, "check"),
        of(State::Right),
        of(State::Wrong),
        of(State::Accepted),
        of(State::NotChecked)
    ));
    text
}

#[derive(Serialize)]
struct ReportBody<'a> {
    url: &'a str,
    healthy: bool,
    proxy: Option<&'static str>,
    checks: Vec<RowBody<'a>>,
}

#[derive(Serialize)]
struct RowBody<'a> {
    check: &'static str,
    state: State,
    tried: &'a str,
    came: &'a str,
    should: &'static str,
    why: &'a str,
    lines: Vec<LineBody>,
}

#[derive(Serialize)]
struct LineBody {
    proxy: &'static str,
    file: &'static str,
    text: &'static str,
    /// Whether the line must be there; otherwise it must not.
    needed: bool,
}

pub fn json(url: &str, rows: &[Row], proxy: Option<Proxy>) -> String {
    let line = |line: &'static Line| LineBody {
        proxy: line.proxy.word(),
        file: line.file,
        text: line.text,
        needed: line.is_needed,
    };
    let checks = rows.iter().map(|row| RowBody {
        check: row.check,
        state: row.state,
        tried: &row.tried,
        came: &row.came,
        should: row.should,
        why: &row.why,
        lines: lines(row, proxy).map(line).collect(),
    });
    let body = ReportBody {
        url,
        healthy: is_healthy(rows),
        proxy: proxy.map(Proxy::word),
        checks: checks.collect(),
    };
    serde_json::to_string(&body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: State, remedy: Option<Remedy>) -> Row {
        Row {
            check: "no-key",
            tried: "no key".to_owned(),
            came: "200".to_owned(),
            should: "401",
            state,
            why: remedy.map_or("", Remedy::sentence).to_owned(),
            remedy,
        }
    }

    #[test]
    fn a_wrong_check_is_explained_once_with_the_lines_of_the_proxy() {
        let wrong = || row(State::Wrong, Some(Remedy::VerdictKept));
        let rows = [row(State::Right, None), wrong(), wrong()];
        let text = written(&rows, Some(Proxy::Nginx));
        assert_eq!(text.matches("proxy_cache off;").count(), 1, "{text}");
        assert!(!text.contains("caddy"), "{text}");
        assert!(
            text.ends_with("3 checks: 1 ok, 2 wrong, 0 accepted, 0 not checked"),
            "{text}"
        );
        assert!(!is_healthy(&rows) && is_healthy(&rows[..1]));
        let all = written(&rows, None);
        assert!(all.contains("caddy") && all.contains("without: "), "{all}");
        let accepted = [row(State::Accepted, Some(Remedy::VerdictKept))];
        assert!(is_healthy(&accepted));
    }
}
