//! The list as a file of comma-separated values (RFC 4180), with the columns that the user has chosen.

use super::columns::{self, Column};
use super::query::ListQuery;
use crate::dialects::console::auth::{Visit, page};
use crate::dialects::console::keys::labels::Words;
use crate::domain::keys::KeyId;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::View;
use crate::ops::keys::list::sorted;
use crate::refusals::verbatim;

/// The most keys of one file.
const KEYS_MAX: usize = 50_000;
/// The number of keys that are read at a time.
const BATCH: usize = 500;

/// `GET /console/keys/export`: all keys of the list.
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let mut query = call.query()?;
        let asked = ListQuery::take(&mut query);
        query.finish()?;
        let (app, caller) = (call.app, &visit.caller);
        let (filter, sort) = (asked.filter(), asked.sort());
        let (ids, total) = sorted::list_ids(app, caller, &filter, sort, 0..KEYS_MAX)?;
        if total > KEYS_MAX {
            let most = visit.texts.number(KEYS_MAX as u64);
            let why = visit.texts.with("keys.too_many", &most);
            return Err(Error::Conflict(verbatim(why)));
        }
        let policy = asked.some("policy");
        file(visit, Words::of(visit, policy.as_deref()), &ids)
    })
}

/// The file with these keys.
pub fn file(visit: &Visit<'_>, words: Words, ids: &[KeyId]) -> Result<Reply> {
    let section = words.section();
    let columns = columns::shown(
        visit,
        section.map(|_| {
            vec![
                Column::Scopes,
                Column::Workspace,
                Column::Used,
                Column::Expires,
            ]
        }),
    );
    let mut text = line(
        ["id", "name", "hint"]
            .into_iter()
            .chain(columns.iter().map(|column| column.name()))
            .map(str::to_owned),
    );
    for few in ids.chunks(BATCH) {
        for view in sorted::views(visit.call.app, &visit.caller, few)? {
            text.push_str(&row(&view, &columns));
        }
    }
    Ok(Reply::new(200)
        .with("content-disposition", "attachment; filename=\"keys.csv\"")
        .body("text/csv; charset=utf-8; header=present", text.into_bytes()))
}

fn row(view: &View, columns: &[Column]) -> String {
    let key = &view.key;
    let own = [key.id.to_string(), key.name.clone(), key.hint.clone()];
    line(
        own.into_iter()
            .chain(columns.iter().map(|it| it.text(view))),
    )
}

fn line(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.map(|value| quoted(&value)).collect();
    values.join(",") + "\r\n"
}

/// A value in quotes. An apostrophe keeps programs for tables from reading a value as a formula.
fn quoted(value: &str) -> String {
    let is_formula =
        value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let mark = if is_formula { "'" } else { "" };
    format!("\"{mark}{}\"", value.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_a_formula_or_ends_its_field() {
        for (value, expected) in [
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("1=1", "\"1=1\""),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }
}
