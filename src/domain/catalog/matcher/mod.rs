//! Finding the operation of a request, in time linear in its path whatever the catalog's size.
//!
//! Templates become a tree of segments. So that no request has to try two branches, what a `{parameter}`
//! allows is copied below its literal siblings when the tree is built: `/a/{x}/c` beside `/a/b/d` adds
//! `/a/b/c`. What the tree holds in all is bounded, and a catalog beyond it is refused when it is put; so is its
//! depth, which is that of the longest path that a request may have.
//!
//! Many applications do not tell capitals from small letters, and some take `/users/admin.json` for `/users/admin`. To
//! them a segment that resembles a literal is that literal, not what a parameter stands for. So a segment that a
//! parameter or a rest would take, and that equals a literal at the same place but for case and one `.extension`, makes
//! the request [`Found::Ambiguous`], whatever the literal's method is. So is a path that differs from a literal one only by a
//! slash at its end, where an operation of a parameter or rest would answer it: to many routers both are one path. Dots and blanks at the end of a segment, which
//! Windows takes off, are refused by [`super::path`] already. A catalog that says `case_sensitive` goes by exact
//! literals alone. All texts are ASCII here: [`super::path`] refuses the rest.

use super::Operation;
use super::path::SEGMENTS_MAX;
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};

/// Nodes and answers that one compiled catalog is made of, copies included: keeps a hostile one from filling the memory.
const WEIGHT_MAX: usize = 200_000;
/// So many bytes of a segment's text weigh as much as a node.
const TEXT_BYTES: usize = 32;
/// Segments up to this length are compared without an allocation.
const FOLDED_BYTES: usize = 256;

/// One tree for operations of any host, one for each named host.
#[derive(Debug, Default)]
pub struct Matcher {
    any_host: Node,
    hosts: HashMap<String, Node>,
}

/// What a catalog has for a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// Two applications may take the request for two operations.
    Ambiguous,
    /// The operation's position.
    Operation(usize),
    Unknown,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Method → position of the operation.
    methods: HashMap<String, usize>,
    /// What takes any further segments, at least one.
    rest: HashMap<String, usize>,
    literals: HashMap<String, Node>,
    parameter: Option<Box<Node>>,
    /// The literals that a segment may resemble here, in lower case.
    folded: HashSet<String>,
    /// The root of a catalog that says `case_sensitive`: only exact literals count below it.
    is_exact: bool,
    /// How far the nearest template that ends here was copied from: 0 for one of this very place, 1 for one of a parameter
    /// or rest beside it, and so on.
    ends: Option<u32>,
}

/// What a catalog may still weigh.
struct Budget(usize);

/// Why a template or a catalog is refused, as a sentence part.
type Refusal = String;

/// A segment of a template.
enum Part<'a> {
    Literal(String),
    Parameter,
    Rest,
    /// Not a template; the text is for the error.
    Faulty(&'a str),
}

impl Matcher {
    /// Builds the trees; an operation that another one already answers is refused with its position.
    pub fn compile(operations: &[Operation], case_sensitive: bool) -> Result<Matcher> {
        let mut matcher = Matcher::default();
        let mut budget = Budget(WEIGHT_MAX);
        for (position, operation) in operations.iter().enumerate() {
            let root = match &operation.host {
                None => &mut matcher.any_host,
                Some(host) => matcher.hosts.entry(host.clone()).or_default(),
            };
            root.insert(operation, position, &mut budget)
                .map_err(|reason| Error::invalid(format!("operations[{position}].path"), reason))?;
        }
        for root in matcher.hosts.values_mut().chain([&mut matcher.any_host]) {
            root.is_exact = case_sensitive;
            root.complete(&mut budget, case_sensitive)
                .map_err(|reason| Error::invalid("operations", reason))?;
        }
        Ok(matcher)
    }

    /// Whether some host has an operation of its own for this request, or one that the request resembles.
    pub fn depends_on_host(&self, method: &str, segments: &[String]) -> bool {
        self.hosts.values().any(|root| {
            let (found, resembles) = root.find(method, segments);
            found != Found::Unknown || resembles
        })
    }

    /// The operation, literal segments before parameters, a named host before any host.
    pub fn find(&self, method: &str, segments: &[String], host: Option<&str>) -> Found {
        let named = host
            .and_then(super::path::host)
            .and_then(|host| self.hosts.get(&host));
        let (found, resembles) =
            named.map_or((Found::Unknown, false), |root| root.find(method, segments));
        match found {
            Found::Unknown => match self.any_host.find(method, segments).0 {
                Found::Operation(_) if resembles => Found::Ambiguous,
                found => found,
            },
            found => found,
        }
    }
}

impl Budget {
    fn take(&mut self, weight: usize) -> std::result::Result<(), Refusal> {
        let left = self.0.checked_sub(weight).ok_or(
            "has too many segments, or too many parameters beside literal segments at the same place",
        )?;
        self.0 = left;
        Ok(())
    }

    /// A node reached through a segment of this text.
    fn take_node(&mut self, text: &str) -> std::result::Result<(), Refusal> {
        self.take(1 + text.len() / TEXT_BYTES)
    }
}

impl Node {
    fn insert(
        &mut self,
        operation: &Operation,
        position: usize,
        budget: &mut Budget,
    ) -> std::result::Result<(), Refusal> {
        let Some(template) = operation.path.strip_prefix('/') else {
            return Err("must begin with a slash".to_owned());
        };
        // Whatever walks the tree calls itself once a segment, so its depth is the depth of the stack.
        if template.split('/').count() > SEGMENTS_MAX {
            return Err(format!("must have at most {SEGMENTS_MAX} segments"));
        }
        budget.take(1)?;
        let mut node = self;
        let mut parts = template.split('/').peekable();
        while let Some(part) = parts.next().filter(|_| !template.is_empty()) {
            let last = parts.peek().is_none();
            node = match Part::parse(part, last) {
                Part::Literal(text) => {
                    if !node.literals.contains_key(&text) {
                        budget.take_node(&text)?;
                    }
                    node.literals.entry(text).or_default()
                }
                Part::Parameter => {
                    if node.parameter.is_none() {
                        budget.take(1)?;
                    }
                    node.parameter.get_or_insert_default()
                }
                Part::Rest => return taken(node.rest.insert(operation.method.clone(), position)),
                Part::Faulty(reason) => return Err(reason.to_owned()),
            };
        }
        node.ends = Some(0);
        taken(node.methods.insert(operation.method.clone(), position))
    }

    /// Notes that a template ends here that was copied from so far away.
    fn end(&mut self, copied: u32) {
        self.ends = Some(self.ends.map_or(copied, |known| known.min(copied)));
    }

    /// Copies what the parameter allows below each literal, so that `find` never turns back.
    fn complete(
        &mut self,
        budget: &mut Budget,
        case_sensitive: bool,
    ) -> std::result::Result<(), Refusal> {
        if !case_sensitive {
            let names = self.literals.keys().filter(|text| !text.is_empty());
            self.folded
                .extend(names.map(|text| text.to_ascii_lowercase()));
            self.join_twins(budget)?;
        }
        for (text, child) in &mut self.literals {
            if text.is_empty() {
                continue; // a trailing slash is nothing that a parameter or a rest could stand for
            }
            if let Some(parameter) = &self.parameter {
                child.add(parameter, budget)?;
            }
            child.add_rest(&self.rest, budget)?;
            child.complete(budget, case_sensitive)?;
        }
        if let Some(parameter) = &mut self.parameter {
            parameter.add_rest(&self.rest, budget)?;
            parameter.complete(budget, case_sensitive)?;
        }
        Ok(())
    }

    /// Literals that differ in case alone, as in `/Users/{id}` beside `/users/admin`, are one place to an application
    /// that ignores case: what a segment may resemble below one of them, it may resemble below the others.
    fn join_twins(&mut self, budget: &mut Budget) -> std::result::Result<(), Refusal> {
        let mut twins: HashMap<String, Vec<&Node>> = HashMap::new();
        for (text, child) in &self.literals {
            twins
                .entry(text.to_ascii_lowercase())
                .or_default()
                .push(child);
        }
        let mut joined: HashMap<String, Node> = HashMap::new();
        for (folded, children) in twins.into_iter().filter(|(_, children)| children.len() > 1) {
            let mut together = Node::default();
            for child in children {
                together.add(child, budget)?;
            }
            together.complete(budget, false)?;
            joined.insert(folded, together);
        }
        if joined.is_empty() {
            return Ok(());
        }
        for (text, child) in &mut self.literals {
            if let Some(together) = joined.get(&text.to_ascii_lowercase()) {
                child.resemble(together);
            }
        }
        Ok(())
    }

    /// Takes over which literals a segment may resemble, here and below.
    fn resemble(&mut self, other: &Node) {
        self.folded.extend(other.folded.iter().cloned());
        for (text, child) in &mut self.literals {
            for (_, there) in other
                .literals
                .iter()
                .filter(|(there, _)| there.eq_ignore_ascii_case(text))
            {
                child.resemble(there);
            }
        }
        if let (Some(parameter), Some(there)) = (&mut self.parameter, &other.parameter) {
            parameter.resemble(there);
        }
    }

    /// A `{rest...}` above also answers whatever lies deeper and is not answered there.
    fn add_rest(
        &mut self,
        above: &HashMap<String, usize>,
        budget: &mut Budget,
    ) -> std::result::Result<(), Refusal> {
        budget.take(2 * above.len())?;
        if !above.is_empty() {
            self.end(1);
        }
        for (method, position) in above {
            self.methods.entry(method.clone()).or_insert(*position);
            self.rest.entry(method.clone()).or_insert(*position);
        }
        Ok(())
    }

    /// Adds what `other` answers and this node does not.
    fn add(&mut self, other: &Node, budget: &mut Budget) -> std::result::Result<(), Refusal> {
        budget.take(1 + other.methods.len() + other.rest.len())?;
        if let Some(copied) = other.ends {
            self.end(copied + 1);
        }
        for (method, position) in &other.methods {
            self.methods.entry(method.clone()).or_insert(*position);
        }
        for (method, position) in &other.rest {
            self.rest.entry(method.clone()).or_insert(*position);
        }
        for (text, child) in &other.literals {
            budget.take_node(text)?;
            self.literals
                .entry(text.clone())
                .or_default()
                .add(child, budget)?;
        }
        if let Some(parameter) = &other.parameter {
            self.parameter
                .get_or_insert_default()
                .add(parameter, budget)?;
        }
        Ok(())
    }

    /// The operation, and whether the segment at which the path left the tree resembles a literal: then this tree may
    /// have an operation for the request after all.
    fn find(&self, method: &str, segments: &[String]) -> (Found, bool) {
        let operation = |known: &HashMap<String, usize>| {
            known
                .get(method)
                .map_or(Found::Unknown, |position| Found::Operation(*position))
        };
        let mut node = self;
        for segment in segments {
            if let Some(next) = node.literals.get(segment) {
                if segment.is_empty() && !self.is_exact && is_nearer(node, next) {
                    return (Found::Ambiguous, true);
                }
                node = next;
                continue;
            }
            // A parameter and a rest stand for something: an empty segment is only a trailing slash.
            if segment.is_empty() {
                return (Found::Unknown, false);
            }
            let resembles = node.resembles_literal(segment);
            match &node.parameter {
                Some(_) if resembles => return (Found::Ambiguous, true),
                Some(parameter) => node = parameter,
                None if resembles && !node.rest.is_empty() => return (Found::Ambiguous, true),
                None => return (operation(&node.rest), resembles),
            }
        }
        if let Some(slash) = node.literals.get("").filter(|_| !self.is_exact)
            && is_nearer(slash, node)
        {
            return (Found::Ambiguous, true);
        }
        (operation(&node.methods), false)
    }

    /// Whether some application may take a segment that is no literal here for one.
    fn resembles_literal(&self, segment: &str) -> bool {
        if self.folded.is_empty() {
            return false;
        }
        let mut room = [0; FOLDED_BYTES];
        let long;
        let folded = match room.get_mut(..segment.len()) {
            Some(room) => {
                room.copy_from_slice(segment.as_bytes());
                room.make_ascii_lowercase();
                std::str::from_utf8(room).unwrap_or(segment)
            }
            None => {
                long = segment.to_ascii_lowercase();
                &long
            }
        };
        // Windows opens `name:stream` and `name::$DATA` as parts of the file `name`.
        let name = folded.split(':').next().unwrap_or(folded);
        self.folded.contains(folded)
            || self.folded.contains(name)
            || name
                .rsplit_once('.')
                .is_some_and(|(stem, _)| self.folded.contains(stem.trim_end_matches(['.', ' '])))
    }
}

/// Whether a template that ends at one place is nearer to it than any that ends at another.
fn is_nearer(one: &Node, other: &Node) -> bool {
    match (one.ends, other.ends) {
        (Some(one), Some(other)) => one < other,
        _ => false,
    }
}

fn taken(earlier: Option<usize>) -> std::result::Result<(), String> {
    match earlier {
        None => Ok(()),
        Some(earlier) => Err(format!(
            "has the same method and path as operations[{earlier}]"
        )),
    }
}

impl<'a> Part<'a> {
    fn parse(text: &'a str, last: bool) -> Part<'a> {
        let Some(inner) = text.strip_prefix('{') else {
            return match super::path::template_segments(&format!("/{text}")).as_deref() {
                Some([]) if last => Part::Literal(String::new()),
                Some([one]) if !text.contains('}') => Part::Literal(one.clone()),
                _ => Part::Faulty("has a segment that no request could have"),
            };
        };
        let Some(name) = inner.strip_suffix('}') else {
            return Part::Faulty("has a parameter without its closing brace");
        };
        let (name, rest) = name
            .strip_suffix("...")
            .map_or((name, false), |name| (name, true));
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        {
            return Part::Faulty(
                "has a parameter whose name is not made of letters, digits, - and _",
            );
        }
        match (rest, last) {
            (true, false) => Part::Faulty("may have {…...} only at its end"),
            (true, true) => Part::Rest,
            (false, _) => Part::Parameter,
        }
    }
}

#[cfg(test)]
mod tests;
