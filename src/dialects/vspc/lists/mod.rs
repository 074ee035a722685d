//! The parameters of lists and single resources: filter, sort, select, limit and offset (1D-37, 1D-38).

mod compare;
mod filter;

use super::json;
use crate::error::{Error, Result};
use crate::http::fields;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::refusals;
use compare::Collation;
use filter::Filter;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::cmp::Ordering;

/// The default number of rows on a page.
const LIMIT_DEFAULT: usize = 100;
/// The maximum number of rows on a page.
const LIMIT_MAX: usize = 500;
/// The maximum number of rows that can be sorted, because all of them must be in memory.
const SORTED_MAX: usize = 20_000;
/// The maximum number of properties in one `sort` or `select`.
const NAMED_MAX: usize = 50;

/// One resource: its properties in the order of the answer. Properties that are not set are omitted, never null.
#[derive(Debug)]
pub struct Item(pub Vec<(&'static str, Value)>);

impl Item {
    /// A property by its path, such as `status` or `profile.email`.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let (name, below) = match path.split_once('.') {
            Some((name, below)) => (name, Some(below)),
            None => (path, None),
        };
        let value = self.0.iter().find(|(known, _)| *known == name);
        let value = value.map(|(_, value)| value)?;
        below.map_or(Some(value), |below| value.get(below))
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (*name, value)))
    }
}

/// The properties that the client selects with `select`.
#[derive(Debug, Default)]
pub struct SelectedProperties(Option<Vec<String>>);

impl SelectedProperties {
    /// Parses the query of a single resource with the `known` properties. Only `select` is read; clients may send other
    /// parameters.
    pub fn take(call: &Call<'_>, known: &[&str]) -> Result<SelectedProperties> {
        SelectedProperties::of_query(&mut call.query_of(&["select"])?, known)
    }

    /// Parses `["id"]` or `[{"propertyPath":"id"}]`, because Veeam's documentation does not define which is correct.
    pub fn of_query(query: &mut Query, known: &[&str]) -> Result<SelectedProperties> {
        let Some(entries) = array(query, "select")? else {
            return Ok(SelectedProperties(None));
        };
        let name = |entry: &Value| {
            let path = entry.get("propertyPath").unwrap_or(entry).as_str();
            property(path, known, "select")
        };
        let names: Vec<String> = entries.iter().map(name).collect::<Result<_>>()?;
        Ok(SelectedProperties((!names.is_empty()).then_some(names)))
    }

    /// The item with only the selected properties, in its own order. Selecting a part of a property selects all of it.
    pub fn of(&self, mut item: Item) -> Item {
        if let Some(names) = &self.0 {
            item.0.retain(|(known, _)| {
                names
                    .iter()
                    .any(|name| name.split('.').next() == Some(*known))
            });
        }
        item
    }
}

/// The parameters of a page.
#[derive(Debug)]
pub struct ListParameters {
    filter: Filter,
    sort: Vec<Order>,
    picked: SelectedProperties,
    limit: usize,
    offset: usize,
}

/// One criterion of `sort`.
#[derive(Debug)]
struct Order {
    property: String,
    descending: bool,
    collation: Collation,
}

/// Collects a page from the rows that are added one by one.
pub struct Page {
    wanted: ListParameters,
    total: usize,
    rows: Vec<Item>,
}

#[derive(Serialize)]
struct PageBody {
    meta: MetaBody,
    data: Vec<Item>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MetaBody {
    paging_info: PagingBody,
}

#[derive(Serialize)]
struct PagingBody {
    total: usize,
    count: usize,
    offset: usize,
}

impl ListParameters {
    /// Parses the query of a list whose items have the `known` properties.
    pub fn take(call: &Call<'_>, known: &[&str]) -> Result<ListParameters> {
        let mut query = call.query_of(&["filter", "limit", "offset", "select", "sort"])?;
        let filter = match array(&mut query, "filter")? {
            None => Filter::everything(),
            Some(entries) => Filter::read(&entries, known)?,
        };
        let sort = array(&mut query, "sort")?.unwrap_or_default();
        let sort = sort.iter().map(|entry| Order::read(entry, known));
        Ok(ListParameters {
            filter,
            sort: sort.collect::<Result<_>>()?,
            picked: SelectedProperties::of_query(&mut query, known)?,
            limit: number(&mut query, "limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT),
            offset: number(&mut query, "offset", 0, usize::MAX)?.unwrap_or(0),
        })
    }

    pub fn page(self) -> Page {
        Page {
            wanted: self,
            total: 0,
            rows: Vec::new(),
        }
    }
}

impl Page {
    /// Adds the next item, in the default order of the list.
    ///
    /// # Errors
    /// `Invalid` if `sort` is used with more items than can be in memory.
    pub fn add(&mut self, item: Item) -> Result<()> {
        let wanted = &self.wanted;
        if !wanted.filter.passes(&item) {
            return Ok(());
        }
        let place = self.total;
        self.total += 1;
        if wanted.sort.is_empty() {
            if place >= wanted.offset && self.rows.len() < wanted.limit {
                self.rows.push(item);
            }
            return Ok(());
        }
        if self.rows.len() == SORTED_MAX {
            let why = format!("can order up to {SORTED_MAX} resources; use a filter");
            return Err(Error::invalid_text("sort", why));
        }
        self.rows.push(item);
        Ok(())
    }

    pub fn reply(self) -> Reply {
        let Page {
            wanted,
            total,
            mut rows,
        } = self;
        if !wanted.sort.is_empty() {
            // The sort is stable: rows that are equal in all criteria stay in the default order of the list.
            rows.sort_by(|a, b| {
                let by = |order: &Order| order.compare(a, b);
                wanted
                    .sort
                    .iter()
                    .map(by)
                    .find(|it| it.is_ne())
                    .unwrap_or(Ordering::Equal)
            });
            rows = rows
                .into_iter()
                .skip(wanted.offset)
                .take(wanted.limit)
                .collect();
        }
        let data: Vec<Item> = rows
            .into_iter()
            .map(|item| wanted.picked.of(item))
            .collect();
        let paging_info = PagingBody {
            total,
            count: data.len(),
            offset: wanted.offset,
        };
        json(
            200,
            &PageBody {
                meta: MetaBody { paging_info },
                data,
            },
        )
    }
}

impl Order {
    fn read(entry: &Value, known: &[&str]) -> Result<Order> {
        check_members(entry, "sort", &["property", "direction", "collation"])?;
        let descending = match entry.get("direction").map(Value::as_str) {
            None => false,
            Some(Some(word))
                if ["ascending", "asc"]
                    .iter()
                    .any(|it| it.eq_ignore_ascii_case(word)) =>
            {
                false
            }
            Some(Some(word))
                if ["descending", "desc"]
                    .iter()
                    .any(|it| it.eq_ignore_ascii_case(word)) =>
            {
                true
            }
            Some(_) => {
                return Err(Error::invalid_text(
                    "sort",
                    "must have the direction ascending or descending",
                ));
            }
        };
        Ok(Order {
            property: property(entry.get("property").and_then(Value::as_str), known, "sort")?,
            descending,
            collation: Collation::read(entry, "sort")?,
        })
    }

    /// Items without the property come first.
    fn compare(&self, a: &Item, b: &Item) -> Ordering {
        let order = match (a.get(&self.property), b.get(&self.property)) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => self.collation.compare(a, b).unwrap_or(Ordering::Equal),
        };
        if self.descending {
            order.reverse()
        } else {
            order
        }
    }
}

/// Parses a parameter that is a JSON array; a single object counts as an array with one entry.
fn array(query: &mut Query, name: &str) -> Result<Option<Vec<Value>>> {
    let Some(text) = query.take(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let refused = || Error::invalid_text(name, "must be a JSON array");
    let entries = match fields::value(text.as_bytes()).map_err(|_| refused())? {
        Value::Array(entries) => entries,
        single @ Value::Object(_) => vec![single],
        _ => return Err(refused()),
    };
    if entries.len() > NAMED_MAX {
        return Err(Error::invalid(
            name,
            refusals::values::entries_at_most(NAMED_MAX),
        ));
    }
    Ok(Some(entries))
}

fn number(query: &mut Query, name: &str, least: usize, most: usize) -> Result<Option<usize>> {
    let Some(text) = query.take(name) else {
        return Ok(None);
    };
    let plain = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = text
        .parse()
        .ok()
        .filter(|number| plain && (least..=most).contains(number));
    number.map(Some).ok_or_else(|| {
        let why = match most {
            usize::MAX => format!("must be a whole number of at least {least}"),
            most => format!("must be a whole number of {least} to {most}"),
        };
        Error::invalid_text(name, why)
    })
}

/// The path of a property. A property that the items do not have is refused; the error names the `parameter`.
fn property(path: Option<&str>, known: &[&str], parameter: &str) -> Result<String> {
    path.filter(|path| known.contains(path))
        .map(str::to_owned)
        .ok_or_else(|| {
            let why = format!("must name one of the properties {}", known.join(", "));
            Error::invalid_text(parameter, why)
        })
}

/// Refuses an entry that is not an object, or that has a member with another name.
fn check_members(entry: &Value, parameter: &str, known: &[&str]) -> Result<()> {
    let members = entry
        .as_object()
        .ok_or_else(|| Error::invalid_text(parameter, "must be an array of objects"))?;
    if members.keys().all(|name| known.contains(&name.as_str())) {
        return Ok(());
    }
    let why = format!("must have no other members than {}", known.join(", "));
    Err(Error::invalid_text(parameter, why))
}
