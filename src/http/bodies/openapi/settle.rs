//! Converts the operations of a document to those of a catalog: each operation is mapped, or its requests are closed.

use super::LeftOut;
use super::paths::{self, Template};
use super::servers::Place;
use crate::domain::catalog::{OPERATIONS_MAX, Operation, Requirement, is_method};
use crate::domain::text::{NAME_CHARS_MAX, check_name};
use std::collections::{BTreeSet, HashMap, HashSet};

/// An operation of a document.
pub struct Entry {
    pub method: String,
    pub path: String,
    pub id: Option<String>,
    pub writes: bool,
    /// The places where the operation is served.
    pub at: Vec<Place>,
    /// The places where other operations of the document are served, but not this one.
    pub not_at: Vec<Place>,
    /// The requirement for a key, or why the operation stays closed.
    pub outcome: Result<Requirement, String>,
    /// The operation's parameters whose values may contain slashes.
    pub over_slashes: Vec<String>,
}

/// A path whose operations could not be read.
pub struct Unread {
    pub path: String,
    pub why: String,
}

/// The result for all operations.
#[derive(Default)]
pub struct Settled {
    pub operations: Vec<Operation>,
    /// How many operations of the document keys can open.
    pub mapped: usize,
    pub left_out: Vec<LeftOut>,
    pub notes: Vec<String>,
}

/// One operation of the new catalog.
struct Slot {
    host: Option<String>,
    path: String,
    /// The first entry that belongs to the slot.
    entry: usize,
    /// The requirement for a key, or why no key opens the operation.
    outcome: Result<Requirement, String>,
}

/// An operation whose path has a query. It waits until all other operations have their slots.
struct WithQuery {
    index: usize,
    place: Place,
    template: Template,
    outcome: Result<Requirement, String>,
    is_served: bool,
}

/// The state of the conversion.
struct Settling<'a> {
    entries: &'a [Entry],
    /// The shapes of all paths of the document, without base paths.
    shapes: BTreeSet<String>,
    slots: Vec<Slot>,
    /// The position of a slot, by its host, method and shape.
    known: HashMap<(Option<String>, String, String), usize>,
    /// For each entry, its slots and, if it is not mapped, the reason.
    places: Vec<(Vec<usize>, Option<String>)>,
    notes: Vec<String>,
}

/// Makes the operations of a catalog. `usual` is the place where the document's paths are served.
pub fn settle(entries: &[Entry], unread: &[Unread], usual: &Place) -> Result<Settled, String> {
    let mut settling = Settling {
        entries,
        shapes: shapes(entries),
        slots: Vec::new(),
        known: HashMap::new(),
        places: entries.iter().map(|_| Default::default()).collect(),
        notes: Vec::new(),
    };
    let mut with_query = Vec::new();
    for index in 0..entries.len() {
        settling.place(index, &mut with_query);
    }
    for one in with_query {
        settling.place_query(one);
    }
    let mut settled = Settled::default();
    for Unread { path, why } in unread {
        settling.close(path, why, usual);
        settled.left_out.push(LeftOut {
            operation: path.clone(),
            why: why.clone(),
        });
    }
    settling.finish(settled)
}

fn shapes(entries: &[Entry]) -> BTreeSet<String> {
    let around = paths::Around {
        over_slashes: &[],
        goes_on: true,
    };
    let templates = entries
        .iter()
        .map(|entry| paths::template(&entry.path, &around));
    templates.flatten().map(|template| template.shape).collect()
}

impl Entry {
    fn label(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

impl Settling<'_> {
    /// Puts an entry into its slots, or into `with_query` if its path has a query.
    fn place(&mut self, index: usize, with_query: &mut Vec<WithQuery>) {
        let entry = &self.entries[index];
        if !is_method(&entry.method) {
            self.places[index].1 = Some("no operation of a catalog can have its method".to_owned());
            return;
        }
        let here = entry.at.iter().map(|place| (place, true));
        let elsewhere = entry.not_at.iter().map(|place| (place, false));
        let goes_on = self.goes_on(&entry.path);
        for (place, is_served) in here.chain(elsewhere) {
            let around = paths::Around {
                over_slashes: &entry.over_slashes,
                goes_on,
            };
            let template = match paths::template(&format!("{}{}", place.base, entry.path), &around)
            {
                Ok(template) => template,
                Err(why) => {
                    self.places[index].1.get_or_insert(why);
                    continue;
                }
            };
            let outcome = match (&template.fault, is_served) {
                (_, false) => Err("it is served elsewhere".to_owned()),
                (Some(fault), true) => Err(fault.clone()),
                (None, true) => entry.outcome.clone(),
            };
            for name in template.narrowed.iter().filter(|_| outcome.is_ok()) {
                self.notes.push(format!(
                    "the parameter {name} of {} may go over slashes; here it is one segment",
                    entry.label()
                ));
            }
            if template.had_query {
                with_query.push(WithQuery {
                    index,
                    place: place.clone(),
                    template,
                    outcome,
                    is_served,
                });
                continue;
            }
            self.put(index, place, template, outcome, is_served);
        }
    }

    /// Whether other paths of the document begin with a path and are longer.
    fn goes_on(&self, path: &str) -> bool {
        let around = paths::Around {
            over_slashes: &[],
            goes_on: true,
        };
        let Ok(template) = paths::template(path, &around) else {
            return false;
        };
        let below = format!("{}/", template.shape);
        let mut behind = self.shapes.range(below.clone()..);
        behind.next().is_some_and(|shape| shape.starts_with(&below))
    }

    /// Puts an entry into the slot of a template. If two entries of one slot have different requirements, it is closed.
    fn put(
        &mut self,
        index: usize,
        place: &Place,
        template: Template,
        outcome: Result<Requirement, String>,
        is_served: bool,
    ) {
        let entry = &self.entries[index];
        let key = (place.host.clone(), entry.method.clone(), template.shape);
        if is_served && let Err(why) = &outcome {
            self.places[index].1.get_or_insert_with(|| why.clone());
        }
        let at = match self.known.get(&key) {
            None => {
                self.slots.push(Slot {
                    host: place.host.clone(),
                    path: template.path,
                    entry: index,
                    outcome,
                });
                self.known.insert(key, self.slots.len() - 1);
                self.slots.len() - 1
            }
            Some(&at) => {
                let slot = &mut self.slots[at];
                let (label, other) = (entry.label(), self.entries[slot.entry].label());
                match (&slot.outcome, &outcome) {
                    (Ok(one), Ok(two)) if one == two => self.notes.push(format!(
                        "{label} and {other} are the same requests; they ask for the same, and are one operation"
                    )),
                    (Ok(_), _) => {
                        slot.outcome = Err(format!(
                            "{label} and {other} are the same requests, and ask for different things"
                        ));
                    }
                    (Err(_), _) => {}
                }
                at
            }
        };
        if is_served {
            self.places[index].0.push(at);
        }
    }

    /// Puts an entry whose path has a query into a slot. A catalog ignores queries, so the entry is mapped only if its
    /// path without the query has the same requirement. Otherwise the slot is closed.
    fn place_query(&mut self, one: WithQuery) {
        let key = (
            one.place.host.clone(),
            self.entries[one.index].method.clone(),
            one.template.shape.clone(),
        );
        let outcome = match self.known.contains_key(&key) {
            true => one.outcome,
            false => Err("its path has a query, which a catalog does not look at".to_owned()),
        };
        self.put(one.index, &one.place, one.template, outcome, one.is_served);
    }

    /// Closes a path for every method that the catalog uses.
    fn close(&mut self, path: &str, why: &str, usual: &Place) {
        let around = paths::Around {
            over_slashes: &[],
            goes_on: true,
        };
        let Ok(template) = paths::template(&format!("{}{path}", usual.base), &around) else {
            return;
        };
        let mut methods: Vec<usize> = Vec::new();
        let mut names = HashSet::new();
        for (index, entry) in self.entries.iter().enumerate() {
            if is_method(&entry.method) && names.insert(&entry.method) {
                methods.push(index);
            }
        }
        for index in methods {
            let key = (
                usual.host.clone(),
                self.entries[index].method.clone(),
                template.shape.clone(),
            );
            match self.known.get(&key) {
                Some(&at) => self.slots[at].outcome = Err(why.to_owned()),
                None => {
                    self.slots.push(Slot {
                        host: usual.host.clone(),
                        path: template.path.clone(),
                        entry: index,
                        outcome: Err(why.to_owned()),
                    });
                    self.known.insert(key, self.slots.len() - 1);
                }
            }
        }
    }

    fn finish(self, mut settled: Settled) -> Result<Settled, String> {
        if self.slots.len() > OPERATIONS_MAX {
            return Err(format!(
                "it has {} operations, and a catalog at most {OPERATIONS_MAX}",
                self.slots.len()
            ));
        }
        settled.notes = self.notes;
        for (entry, (slots, why)) in self.entries.iter().zip(&self.places) {
            let closed = slots
                .iter()
                .find_map(|&at| self.slots[at].outcome.as_ref().err());
            match why.as_ref().or(closed) {
                None => settled.mapped += 1,
                Some(why) => settled.left_out.push(LeftOut {
                    operation: entry.label(),
                    why: why.clone(),
                }),
            }
        }
        let mut ids = HashSet::new();
        let mut changed = 0;
        for slot in &self.slots {
            let entry = &self.entries[slot.entry];
            let is_own = self.places[slot.entry]
                .0
                .first()
                .is_some_and(|&at| std::ptr::eq(&self.slots[at], slot));
            let wanted = entry.id.as_ref().filter(|_| is_own);
            let id = unique(
                wanted.map_or("", String::as_str),
                &entry.method,
                &slot.path,
                &mut ids,
            );
            changed += usize::from(wanted.is_some_and(|wanted| *wanted != id));
            settled.operations.push(Operation {
                id,
                method: entry.method.clone(),
                path: slot.path.clone(),
                host: slot.host.clone(),
                writes: entry.writes,
                requirement: slot.outcome.clone().unwrap_or(Requirement::Nobody),
            });
        }
        if changed > 0 {
            settled.notes.push(format!(
                "{changed} operations have another id than in the document, where it is too long, there twice or no name"
            ));
        }
        Ok(settled)
    }
}

/// An id that no other operation has: the requested id, or one that is made from method and path. It is cut to the
/// maximum length of an id.
fn unique(wanted: &str, method: &str, path: &str, taken: &mut HashSet<String>) -> String {
    let cut = |text: &str, chars: usize| {
        text.chars()
            .take(chars)
            .collect::<String>()
            .trim()
            .to_owned()
    };
    let mut base = cut(wanted, NAME_CHARS_MAX);
    if check_name("id", &base).is_err() {
        base = cut(&format!("{method} {path}"), NAME_CHARS_MAX);
    }
    let mut id = base.clone();
    let mut number = 1;
    while !taken.insert(id.clone()) {
        number += 1;
        let end = format!(" ({number})");
        id = cut(&base, NAME_CHARS_MAX - end.len()) + &end;
    }
    id
}
