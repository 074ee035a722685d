//! What a list of keys was asked for: its search, filters, order and page, read from an address and written into one.

use crate::dialects::console::MOUNT;
use crate::domain::keys::State;
use crate::http::form::Form;
use crate::http::query::{Query, encode};
use crate::ops::keys::list::order::{Column, Sort};
use crate::ops::keys::list::{Filter, ISSUED};

/// The number of seconds of a day.
const DAY_S: u64 = 86_400;

/// The parameters in the order of an address: each but the last two restricts the list.
const PARAMETERS: [&str; 12] = [
    "q",
    "state",
    "workspace",
    "policy",
    "owner",
    "created_by",
    "scope",
    "source",
    "unused",
    "expiring",
    "secrets",
    "sort",
];

/// The values of `unused`, and the days they stand for.
pub const UNUSED: [(&str, u64); 3] = [("30", 30), ("90", 90), ("365", 365)];
/// The values of `expiring` that stand for days; `yes` is that of the overview.
pub const EXPIRING: [(&str, u64); 4] = [("7", 7), ("yes", 14), ("30", 30), ("90", 90)];
/// The value of `expiring` for keys without an end.
pub const NEVER: &str = "never";
/// The values of `secrets`.
pub const TWO: &str = "two";
/// See [`TWO`].
pub const WEAK: &str = "weak";

/// The columns that sort, by their names in addresses.
const SORTS: [(&str, Column); 10] = [
    ("newest", Column::Age),
    ("name", Column::Name),
    ("expiry", Column::Expiry),
    ("used", Column::Used),
    ("owner", Column::Owner),
    ("policy", Column::Policy),
    ("workspace", Column::Workspace),
    ("state", Column::State),
    ("scopes", Column::Scopes),
    ("created_by", Column::Maker),
];

/// Whether a parameter can have a value. One of a fixed list that has another is ignored, as if it were not there.
fn is_known(name: &str, value: &str) -> bool {
    let in_days = |days: &[(&str, u64)]| days.iter().any(|(known, _)| *known == value);
    match name {
        "state" => State::ALL.iter().any(|state| state.as_str() == value),
        "unused" => in_days(&UNUSED),
        "expiring" => value == NEVER || in_days(&EXPIRING),
        "secrets" => [TWO, WEAK].contains(&value),
        "source" => [ISSUED, "import", "file"].contains(&value),
        "sort" => {
            let name = value.strip_prefix('-').unwrap_or(value);
            SORTS.iter().any(|(known, _)| *known == name)
        }
        _ => true,
    }
}

/// A parsed query.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    values: Vec<(&'static str, String)>,
    /// Counted from 0.
    pub page: usize,
}

impl ListQuery {
    pub fn take(query: &mut Query) -> ListQuery {
        let mut asked = ListQuery::default();
        for name in PARAMETERS {
            asked.put(name, query.take(name).unwrap_or_default());
        }
        let page = query.take("page").and_then(|text| text.trim().parse().ok());
        asked.page = page.map_or(0, |page: usize| page.saturating_sub(1));
        asked
    }

    /// The query that the fields of a form describe. It begins with the first page.
    pub fn of(form: &Form) -> ListQuery {
        let mut asked = ListQuery::default();
        for name in PARAMETERS {
            asked.put(name, form.text(name).trim().to_owned());
        }
        asked
    }

    /// The query of an address, which a form carries in a field. Unknown parameters are ignored.
    pub fn parse(text: &str) -> ListQuery {
        Query::only(text, &[&PARAMETERS[..], &["page"]].concat())
            .map(|mut query| ListQuery::take(&mut query))
            .unwrap_or_default()
    }

    /// As [`ListQuery::parse`], for a change of all keys of the list; `None` if any part of the address has no meaning, so that
    /// it never stands for more keys than the user has seen.
    pub fn exactly(text: &str) -> Option<ListQuery> {
        let mut query = Query::parse(text).ok()?;
        query.take("page");
        let mut asked = ListQuery::default();
        for name in PARAMETERS {
            let value = query.take(name).unwrap_or_default();
            if !value.is_empty() && !is_known(name, &value) {
                return None;
            }
            asked.put(name, value);
        }
        query.finish().ok()?;
        Some(asked)
    }

    fn put(&mut self, name: &'static str, value: String) {
        self.values.retain(|(known, _)| *known != name);
        if !value.is_empty() && is_known(name, &value) {
            self.values.push((name, value));
        }
    }

    /// The value of a parameter; empty if it is not there.
    pub fn text(&self, name: &str) -> &str {
        let mut values = self.values.iter();
        let found = values.find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }

    pub fn some(&self, name: &str) -> Option<String> {
        Some(self.text(name).to_owned()).filter(|text| !text.is_empty())
    }

    /// The same query with another value, on the first page.
    pub fn with(&self, name: &'static str, value: &str) -> ListQuery {
        let mut other = self.clone();
        other.put(name, value.to_owned());
        other.page = 0;
        other
    }

    /// The parameters that restrict the list, with their values.
    pub fn filters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values = self.values.iter();
        values
            .filter(|(name, _)| *name != "sort")
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// The query as an address has it, without the question mark.
    pub fn encoded(&self) -> String {
        let page = (self.page > 0).then(|| ("page", (self.page + 1).to_string()));
        let values = self.values.iter().cloned().chain(page);
        let pairs = values.map(|(name, value)| format!("{name}={}", encode(&value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// The address of the list.
    pub fn address(&self) -> String {
        match self.encoded() {
            query if query.is_empty() => format!("{MOUNT}/keys"),
            query => format!("{MOUNT}/keys?{query}"),
        }
    }

    /// The address of another page of the same list.
    pub fn at(&self, page: usize) -> String {
        let mut other = self.clone();
        other.page = page;
        other.address()
    }

    pub fn sort(&self) -> Sort {
        let text = self.text("sort");
        let name = text.strip_prefix('-').unwrap_or(text);
        let known = SORTS.iter().find(|(known, _)| *known == name);
        known.map_or(Sort::default(), |(_, column)| Sort {
            column: *column,
            reverse: text.starts_with('-'),
        })
    }

    /// The address of the list in the order of a column; in the reverse order if that is its order already.
    pub fn sorted_by(&self, column: Column) -> String {
        let known = SORTS.iter().find(|(_, known)| *known == column);
        let name = known.map_or("", |(name, _)| name);
        match self.sort() == Sort::by(column) {
            true => self.with("sort", &format!("-{name}")).address(),
            false => self.with("sort", name).address(),
        }
    }

    /// What the list contains.
    pub fn filter(&self) -> Filter {
        let days = |values: &[(&str, u64)], name: &str| {
            let text = self.text(name);
            let known = values.iter().find(|(value, _)| *value == text);
            known.map(|(_, days)| days * DAY_S)
        };
        let state = self.text("state");
        Filter {
            workspace: self.some("workspace"),
            policy: self.some("policy"),
            owner: self.some("owner"),
            created_by: self.some("created_by"),
            state: State::ALL.into_iter().find(|it| it.as_str() == state),
            query: self.some("q"),
            expiring_within_s: days(&EXPIRING, "expiring"),
            metadata: Vec::new(),
            source: self.some("source"),
            scope: self.some("scope"),
            unused_for_s: days(&UNUSED, "unused"),
            never_expires: (self.text("expiring") == NEVER).then_some(true),
            has_previous: (self.text("secrets") == TWO).then_some(true),
            weak: (self.text("secrets") == WEAK).then_some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_was_written() {
        let text = "q=a%20b&state=active&expiring=never&sort=-name&page=3";
        let query = ListQuery::parse(text);
        assert_eq!(query.encoded(), text);
        assert_eq!(query.page, 2);
        assert_eq!(
            query.sort(),
            Sort {
                column: Column::Name,
                reverse: true
            }
        );
        assert_eq!(
            query.sorted_by(Column::Name),
            "/console/keys?q=a%20b&state=active&expiring=never&sort=name"
        );
        assert_eq!(query.filter().never_expires, Some(true));
        assert_eq!(query.with("q", "").text("q"), "");
        assert_eq!(ListQuery::parse("colour=red").address(), "/console/keys");
        assert_eq!(ListQuery::parse("%zz").address(), "/console/keys");
        for doubtful in ["colour=red", "%zz", "q=a&q=b", "state=activ", "sort=colour"] {
            assert!(ListQuery::exactly(doubtful).is_none(), "{doubtful}");
        }
        for clear in ["", "q=a", "state=active&page=2"] {
            assert!(ListQuery::exactly(clear).is_some(), "{clear}");
        }
    }
}
