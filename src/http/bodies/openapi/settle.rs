//! Converts the operations of a document to those of a catalog: each operation is mapped, or its requests are closed.

use super::LeftOut;
use super::paths::{self, Template};
use super::servers::BaseAddress;
use crate::domain::catalogs::path::SEGMENTS_MAX;
use crate::domain::catalogs::{OPERATIONS_MAX, Operation, Requirement, is_method, template};
use crate::domain::text::{NAME_CHARS_MAX, check_name};
use crate::refusals::{self, Refusal};
use std::collections::{BTreeSet, HashMap, HashSet};

/// An operation of a document.
pub struct Entry {
    pub method: String,
    pub path: String,
    pub id: Option<String>,
    pub writes: bool,
    /// Whether the document lets CORS preflights for it pass without a key.
    pub preflight: bool,
    /// The places where the operation is served.
    pub at: Vec<BaseAddress>,
    /// The places where other operations of the document are served, but not this one.
    pub not_at: Vec<BaseAddress>,
    /// Whether it is not known where it is served, so that it is closed wherever the document is served at all.
    pub is_everywhere: bool,
    /// The requirement for a key, or why the operation stays closed.
    pub outcome: Result<Requirement, Refusal>,
    /// The operation's parameters whose values may contain slashes.
    pub over_slashes: Vec<String>,
}

/// A path whose operations could not be read.
pub struct Unread {
    pub path: String,
    pub why: Refusal,
    /// Whether the operations that were read of this very path stand.
    pub spares_own: bool,
}

/// The result for all operations.
#[derive(Default)]
pub struct Conversion {
    pub operations: Vec<Operation>,
    /// How many operations of the document keys can open.
    pub mapped: usize,
    pub left_out: Vec<LeftOut>,
    pub notes: Vec<Refusal>,
}

/// One operation of the new catalog.
struct Slot {
    host: Option<String>,
    path: String,
    /// The first entry that belongs to the slot.
    entry: usize,
    /// Whether all entries of the slot let preflights pass.
    preflight: bool,
    /// The requirement for a key, or why no key opens the operation.
    outcome: Result<Requirement, Refusal>,
}

/// An operation whose path has a query. It waits until all other operations have their slots.
struct WithQuery {
    index: usize,
    place: BaseAddress,
    template: Template,
    outcome: Result<Requirement, Refusal>,
    is_served: bool,
}

/// The state of the conversion.
struct Converter<'a> {
    entries: &'a [Entry],
    /// The shapes of all paths of the document, without base paths.
    shapes: BTreeSet<String>,
    slots: Vec<Slot>,
    /// The position of a slot, by its host, method and shape.
    known: HashMap<(Option<String>, String, String), usize>,
    /// For each entry, its slots and, if it is not mapped, the reason.
    places: Vec<(Vec<usize>, Option<Refusal>)>,
    notes: Vec<Refusal>,
    /// Everywhere that something is served.
    everywhere: Vec<BaseAddress>,
    /// What is closed over slashes: host, method, the template before it, and why.
    over_slashes: Vec<(Option<String>, String, String, Refusal)>,
    /// How often something was put into a slot.
    puts: usize,
}

/// How often something may be put into slots for one document.
const PUTS_MAX: usize = 4 * OPERATIONS_MAX;

/// Why a document with too many operations is refused.
pub fn too_many() -> Refusal {
    refusals::openapi::too_many_operations(OPERATIONS_MAX)
}

/// Makes the operations of a catalog. `usual` is the place where the document's paths are served.
pub fn settle(
    entries: &[Entry],
    unread: &[Unread],
    usual: &BaseAddress,
) -> Result<Conversion, Refusal> {
    let mut settling = Converter {
        entries,
        shapes: shapes(entries),
        slots: Vec::new(),
        known: HashMap::new(),
        places: entries.iter().map(|_| Default::default()).collect(),
        notes: Vec::new(),
        everywhere: everywhere(entries, usual),
        over_slashes: Vec::new(),
        puts: 0,
    };
    let mut with_query = Vec::new();
    for index in 0..entries.len() {
        settling.place(index, &mut with_query)?;
    }
    for one in with_query {
        settling.place_query(one)?;
    }
    let mut settled = Conversion::default();
    let methods = settling.methods();
    for one in unread {
        settling.close(one, &methods)?;
        settled.left_out.push(LeftOut {
            operation: one.path.clone(),
            why: one.why.clone(),
        });
    }
    settling.close_over_slashes();
    settling.close_whole();
    Ok(settling.finish(settled))
}

/// Every place at which an operation is served, and the usual one.
fn everywhere(entries: &[Entry], usual: &BaseAddress) -> Vec<BaseAddress> {
    let mut known = HashSet::new();
    let all = entries.iter().flat_map(|entry| &entry.at);
    [usual]
        .into_iter()
        .chain(all)
        .filter(|place| known.insert((&place.host, &place.base)))
        .cloned()
        .collect()
}

fn shapes(entries: &[Entry]) -> BTreeSet<String> {
    let around = paths::PathContext {
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

impl Converter<'_> {
    /// Puts an entry into its slots, or into `with_query` if its path has a query.
    fn place(&mut self, index: usize, with_query: &mut Vec<WithQuery>) -> Result<(), Refusal> {
        let entry = &self.entries[index];
        if !is_method(&entry.method) {
            self.places[index].1 = Some(refusals::openapi::method());
            return Ok(());
        }
        // What no key opens is opened nowhere, wherever a template of another operation is served.
        let around = paths::PathContext {
            over_slashes: &[],
            goes_on: true,
        };
        let is_closed = entry.is_everywhere
            || entry.outcome.is_err()
            || paths::template(&entry.path, &around).map_or(true, |it| it.fault.is_some());
        let mut others = Vec::new();
        if is_closed {
            others.clone_from(&self.everywhere);
            others.retain(|place| !entry.at.contains(place));
        }
        let here = entry.at.iter().map(|place| (place.clone(), true));
        let elsewhere = entry.not_at.iter().map(|place| (place.clone(), false));
        let goes_on = self.goes_on(&entry.path);
        let others = others.into_iter().map(|place| (place, false));
        for (place, is_served) in here.chain(elsewhere).chain(others) {
            let place = &place;
            let around = paths::PathContext {
                over_slashes: &entry.over_slashes,
                goes_on,
            };
            let template = match paths::template(&format!("{}{}", place.base, entry.path), &around)
            {
                Ok(template) => template,
                Err(why) => {
                    self.places[index].1.get_or_insert_with(|| why.clone());
                    let clean = paths::cleaned(&entry.path).map(|it| format!("{}{it}", place.base));
                    let clean = clean.and_then(|clean| paths::template(&clean, &around).ok());
                    if let Some(template) = clean {
                        self.put(index, place, template, Err(why), is_served)?;
                    }
                    continue;
                }
            };
            let outcome = match (&template.fault, is_served) {
                (_, false) => Err(refusals::openapi::elsewhere()),
                (Some(fault), true) => Err(fault.clone()),
                (None, true) => entry.outcome.clone(),
            };
            for name in template.narrowed.iter().filter(|_| outcome.is_ok()) {
                self.notes
                    .push(refusals::openapi::over_slashes(name, entry.label()));
            }
            if let (Err(why), Some(before)) = (&outcome, &template.before_slashes) {
                let text = format!("{}{}", place.base, entry.path);
                for wider in wider(&text, before).into_iter().flatten() {
                    if wider.shape != template.shape {
                        self.put(index, place, wider, outcome.clone(), false)?;
                    }
                }
                let host = place.host.clone();
                self.over_slashes
                    .push((host, entry.method.clone(), before.clone(), why.clone()));
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
            self.put(index, place, template, outcome, is_served)?;
        }
        Ok(())
    }

    /// A parameter that is closed over slashes has the better claim to a path than several parameters in its stead.
    fn close_over_slashes(&mut self) {
        for (host, method, before, why) in std::mem::take(&mut self.over_slashes) {
            let shape = template::parse(&before).map(|parts| template::shape(&parts));
            let mut shape = match before.is_empty() {
                true => String::new(),
                false => shape.unwrap_or(before),
            };
            for _ in 0..SEGMENTS_MAX {
                shape.push_str("/\0");
                for end in ["", "/"] {
                    let key = (host.clone(), method.clone(), format!("{shape}{end}"));
                    if let Some(&at) = self.known.get(&key) {
                        self.slots[at].outcome = Err(why.clone());
                    }
                }
            }
        }
    }

    /// An operation that is closed at one of its places is not mapped, and so closed at the others.
    fn close_whole(&mut self) {
        let mut goes_on = true;
        while std::mem::take(&mut goes_on) {
            for (slots, _) in &self.places {
                let why = slots
                    .iter()
                    .find_map(|&at| self.slots[at].outcome.clone().err());
                let Some(why) = why else {
                    continue;
                };
                for &at in slots {
                    if self.slots[at].outcome.is_ok() {
                        self.slots[at].outcome = Err(why.clone());
                        goes_on = true;
                    }
                }
            }
        }
    }

    /// The first entry of each method.
    fn methods(&self) -> Vec<usize> {
        let mut names = HashSet::new();
        let all = self.entries.iter().enumerate();
        all.filter(|(_, entry)| is_method(&entry.method) && names.insert(&entry.method))
            .map(|(index, _)| index)
            .collect()
    }

    /// Counts what is put into slots, so that a short document cannot ask for endless work.
    fn count(&mut self) -> Result<(), Refusal> {
        self.puts += 1;
        match self.puts > PUTS_MAX || self.slots.len() > OPERATIONS_MAX {
            true => Err(too_many()),
            false => Ok(()),
        }
    }

    /// Whether other paths of the document begin with a path and are longer.
    fn goes_on(&self, path: &str) -> bool {
        let around = paths::PathContext {
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
        place: &BaseAddress,
        template: Template,
        outcome: Result<Requirement, Refusal>,
        is_served: bool,
    ) -> Result<(), Refusal> {
        self.count()?;
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
                    preflight: entry.preflight,
                    outcome,
                });
                self.known.insert(key, self.slots.len() - 1);
                self.slots.len() - 1
            }
            Some(&at) => {
                let slot = &mut self.slots[at];
                slot.preflight &= entry.preflight;
                let (label, other) = (entry.label(), self.entries[slot.entry].label());
                match (&slot.outcome, &outcome) {
                    (Ok(one), Ok(two)) if one == two => self
                        .notes
                        .push(refusals::openapi::same_requests_joined(label, other)),
                    (Ok(_), _) => {
                        slot.outcome = Err(refusals::openapi::same_requests(label, other));
                    }
                    (Err(_), _) => {}
                }
                at
            }
        };
        if is_served {
            self.places[index].0.push(at);
        }
        Ok(())
    }

    /// Puts an entry whose path has a query into a slot. A catalog ignores queries, so the entry is mapped only if its
    /// path without the query has the same requirement. Otherwise the slot is closed.
    fn place_query(&mut self, one: WithQuery) -> Result<(), Refusal> {
        let key = (
            one.place.host.clone(),
            self.entries[one.index].method.clone(),
            one.template.shape.clone(),
        );
        let outcome = match self.known.contains_key(&key) {
            true => one.outcome,
            false => Err(refusals::openapi::query_in_path()),
        };
        self.put(one.index, &one.place, one.template, outcome, one.is_served)
    }

    /// Closes a path for every method that the catalog uses, wherever the document is served.
    fn close(&mut self, unread: &Unread, methods: &[usize]) -> Result<(), Refusal> {
        let Unread { path, why, .. } = unread;
        let around = paths::PathContext {
            over_slashes: &[],
            goes_on: true,
        };
        for place in self.everywhere.clone() {
            let text = format!("{}{path}", place.base);
            let clean = || Some(format!("{}{}", place.base, paths::cleaned(path)?));
            let template = paths::template(&text, &around).ok();
            let template =
                template.or_else(|| clean().and_then(|it| paths::template(&it, &around).ok()));
            let Some(template) = template else {
                continue;
            };
            let before = template.before_slashes.clone();
            let wider = before.as_ref().map(|before| wider(&text, before));
            let all = [Some(template)].into_iter();
            let all = all.chain(wider.into_iter().flatten()).flatten();
            for (template, &index) in
                all.flat_map(|it| methods.iter().map(move |at| (it.clone(), at)))
            {
                self.count()?;
                let method = self.entries[index].method.clone();
                if let Some(before) = &before {
                    let (host, method) = (place.host.clone(), method.clone());
                    self.over_slashes
                        .push((host, method, before.clone(), why.clone()));
                }
                let key = (place.host.clone(), method, template.shape);
                match self.known.get(&key) {
                    Some(&at) => {
                        let slot = &mut self.slots[at];
                        if !(unread.spares_own && self.entries[slot.entry].path == *path) {
                            slot.outcome = Err(why.clone());
                        }
                    }
                    None => {
                        self.slots.push(Slot {
                            host: place.host.clone(),
                            path: template.path,
                            entry: index,
                            preflight: false,
                            outcome: Err(why.clone()),
                        });
                        self.known.insert(key, self.slots.len() - 1);
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(self, mut settled: Conversion) -> Conversion {
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
                preflight: slot.preflight && slot.outcome.is_ok(),
                requirement: slot.outcome.clone().unwrap_or(Requirement::Nobody),
            });
        }
        if changed > 0 {
            settled
                .notes
                .push(refusals::openapi::operations_renamed(changed));
        }
        settled
    }
}

/// Templates for longer paths that a parameter behind `before` may stand for.
fn wider(text: &str, before: &str) -> [Option<Template>; 2] {
    let over_slashes = ["parameter".to_owned()];
    let around = paths::PathContext {
        over_slashes: &over_slashes,
        goes_on: false,
    };
    let rest = paths::template(&format!("{before}/{{parameter}}"), &around).ok();
    [rest, paths::with_patterns(text)]
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
