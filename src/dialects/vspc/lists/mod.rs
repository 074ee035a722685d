//! Lists and single resources: filter, sort, select, limit and offset (1D-37, 1D-38).

mod compare;
mod filter;

use super::json;
use crate::domain::sorted;
use crate::error::{Error, Result};
use crate::http::fields;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::route::Call;
use compare::Collation;
use filter::Filter;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::cmp::Ordering;

/// Rows of a page: by default, and at most.
const LIMIT_DEFAULT: usize = 100;
/// See [`LIMIT_DEFAULT`].
const LIMIT_MAX: usize = 500;
/// Rows that can be put in an order that is not their own: all of them have to be held.
const SORTED_MAX: usize = 20_000;
/// Properties that one `sort` or `select` may name.
const NAMED_MAX: usize = 50;

/// One resource: its properties in the order in which they are shown. One that is not set is left out, never null.
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

/// Which properties the client wants to see: `select`.
#[derive(Debug, Default)]
pub struct Picked(Option<Vec<String>>);

impl Picked {
    /// Reads the query of a single resource with the `known` properties, which may select; clients add what they like.
    pub fn take(call: &Call<'_>, known: &[&str]) -> Result<Picked> {
        Picked::of_query(&mut call.query_of(&["select"])?, known)
    }

    /// `["id"]` or `[{"propertyPath":"id"}]`; Veeam's documents do not say which.
    pub fn of_query(query: &mut Query, known: &[&str]) -> Result<Picked> {
        let Some(entries) = array(query, "select")? else {
            return Ok(Picked(None));
        };
        let name = |entry: &Value| {
            let path = entry.get("propertyPath").unwrap_or(entry).as_str();
            property(path, known, "select")
        };
        let names: Vec<String> = entries.iter().map(name).collect::<Result<_>>()?;
        Ok(Picked((!names.is_empty()).then_some(names)))
    }

    /// The item with what was selected, in its own order. Part of a property brings the whole of it.
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

/// A page as it was asked for.
#[derive(Debug)]
pub struct Wanted {
    filter: Filter,
    sort: Vec<Order>,
    picked: Picked,
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

/// Collects a page while its rows pass by.
pub struct Page {
    wanted: Wanted,
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

impl Wanted {
    /// Reads the query of a list whose items have the `known` properties.
    pub fn take(call: &Call<'_>, known: &[&str]) -> Result<Wanted> {
        let mut query = call.query_of(&["filter", "limit", "offset", "select", "sort"])?;
        let filter = match array(&mut query, "filter")? {
            None => Filter::everything(),
            Some(entries) => Filter::read(&entries, known)?,
        };
        let sort = array(&mut query, "sort")?.unwrap_or_default();
        let sort = sort.iter().map(|entry| Order::read(entry, known));
        Ok(Wanted {
            filter,
            sort: sort.collect::<Result<_>>()?,
            picked: Picked::of_query(&mut query, known)?,
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
    /// Takes the next item, in the list's own order.
    ///
    /// # Errors
    /// `Invalid` for a `sort` of more items than can be held.
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
            return Err(Error::invalid("sort", why));
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
            // Stable: rows that no criterion tells apart stay in the list's own order.
            sorted::by(&mut rows, |a, b| {
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
                return Err(Error::invalid(
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

    /// What is not set comes first.
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

/// A parameter that is a JSON array; a single object counts as an array of one.
fn array(query: &mut Query, name: &str) -> Result<Option<Vec<Value>>> {
    let Some(text) = query.take(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let refused = || Error::invalid(name, "must be a JSON array");
    let entries = match fields::value(text.as_bytes()).map_err(|_| refused())? {
        Value::Array(entries) => entries,
        single @ Value::Object(_) => vec![single],
        _ => return Err(refused()),
    };
    if entries.len() > NAMED_MAX {
        return Err(Error::invalid(
            name,
            format!("must have at most {NAMED_MAX} entries"),
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
        Error::invalid(name, why)
    })
}

/// A property's path; one that the items do not have is refused under the name of the `parameter`.
fn property(path: Option<&str>, known: &[&str], parameter: &str) -> Result<String> {
    path.filter(|path| known.contains(path))
        .map(str::to_owned)
        .ok_or_else(|| {
            let why = format!("must name one of the properties {}", known.join(", "));
            Error::invalid(parameter, why)
        })
}

/// Refuses an entry that is no object or has a member of another name.
fn check_members(entry: &Value, parameter: &str, known: &[&str]) -> Result<()> {
    let members = entry
        .as_object()
        .ok_or_else(|| Error::invalid(parameter, "must be an array of objects"))?;
    if members.keys().all(|name| known.contains(&name.as_str())) {
        return Ok(());
    }
    let why = format!("must have no other members than {}", known.join(", "));
    Err(Error::invalid(parameter, why))
}
