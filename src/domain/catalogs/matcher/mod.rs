//! Finds the operation that a request is for. The time is linear in the path and does not depend on the catalog's size.
//!
//! The templates of a catalog become a tree of segments. So that no request has to try two branches, the operations
//! below a `{parameter}` are also copied below its literal siblings when the tree is built: `/a/{x}/c` together with
//! `/a/b/d` also gives `/a/b/c`. The size and the depth of the tree are bounded, and a catalog that would exceed the
//! bounds is refused when it is stored. The depth is at most that of the longest path that a request may have.
//!
//! Many applications ignore the case of letters, and some treat `/users/admin.json` as `/users/admin`. Such an
//! application reads a segment that resembles a literal as that literal, not as the value of a parameter. So a request
//! is [`MatchResult::Ambiguous`] if one of its segments would match a parameter or a rest, and equals a literal at the same
//! place except for case and one `.extension`. The method of the literal's operation does not matter. A request is also
//! ambiguous if its path differs from a literal path only by a slash at the end, and an operation with a parameter or a
//! rest would answer it: many routers treat both paths as one. [`super::path`] already refuses dots and blanks at the
//! end of a segment, which Windows removes. A catalog with `case_sensitive` uses exact literals only. All texts are
//! ASCII here: [`super::path`] refuses other characters.
//!
//! A segment such as `{id}.json` is a pattern. A literal is preferred to a pattern, and a pattern to a whole parameter.
//! Of two patterns, the one whose matches are a subset of the other's is preferred. A request is [`MatchResult::Ambiguous`]
//! if a segment matches two patterns of which neither is a subset of the other, or if it only resembles a pattern.
//!
//! HEAD is treated as GET (RFC 9110, section 9.3.2), unless the same template has operations for HEAD.

mod hosts;

use super::template::{Part, Pattern};
use super::{Operation, Requirement, template};
use crate::error::{Error, Result};
use crate::refusals::{self, Refusal};
use std::collections::{HashMap, HashSet};

/// The greatest number of nodes and answers of one compiled catalog, copies included: it prevents a hostile catalog
/// from filling the memory.
const WEIGHT_MAX: usize = 200_000;
/// So many bytes of text in a segment count as one node.
const TEXT_BYTES: usize = 32;
/// The greatest number of segments at one place that combine literal text with parameters.
const PATTERNS_MAX: usize = 256;
/// Segments up to this length are compared without an allocation.
const FOLDED_BYTES: usize = 256;

/// One tree for operations of any host, one for each named host.
#[derive(Debug, Default)]
pub struct Matcher {
    any_host: Node,
    hosts: HashMap<String, Node>,
    /// For each operation its template and whether it is closed to every key; none if no host is named.
    templates: Vec<(Vec<Part>, bool)>,
}

/// The result of a look-up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MatchResult {
    /// Two applications may read the request as two different operations.
    Ambiguous,
    /// The operation's position.
    Operation(usize),
    Unknown,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Method → position of the operation.
    methods: HashMap<String, usize>,
    /// The node for one or more further segments of any text.
    rest: HashMap<String, usize>,
    literals: HashMap<String, Node>,
    /// Segments that combine literal text with parameters, those with the most text first.
    patterns: Vec<(Pattern, Node)>,
    parameter: Option<Box<Node>>,
    /// The literals that a segment may resemble here, in lower case.
    folded: HashSet<String>,
    /// As `folded`, for patterns.
    folded_patterns: Vec<Pattern>,
    /// Whether this is the root of a catalog with `case_sensitive`: only exact literals count below it.
    is_exact: bool,
    /// How far the nearest template that ends here was copied: 0 for a template of this very place, 1 for one of a
    /// sibling parameter or rest, and so on.
    ends: Option<u32>,
}

/// A catalog that is being compiled.
struct Building<'a> {
    /// How much of the bound is left.
    left: usize,
    operations: &'a [Operation],
    /// The templates of the operations.
    templates: Vec<Vec<Part>>,
}

/// A segment matches two patterns, and neither is a subset of the other.
struct InDoubt;

impl Matcher {
    /// Builds the trees. An operation whose requests another one already answers is refused with its position.
    pub fn compile(operations: &[Operation], case_sensitive: bool) -> Result<Matcher> {
        let mut matcher = Matcher::default();
        let mut building = Building {
            left: WEIGHT_MAX,
            operations,
            templates: Vec::new(),
        };
        for (position, operation) in operations.iter().enumerate() {
            let root = match &operation.host {
                None => &mut matcher.any_host,
                Some(host) => matcher.hosts.entry(host.clone()).or_default(),
            };
            root.insert(operation, position, &mut building)
                .map_err(|reason| Error::invalid(format!("operations[{position}].path"), reason))?;
        }
        for root in matcher.hosts.values_mut().chain([&mut matcher.any_host]) {
            root.is_exact = case_sensitive;
            root.complete(&mut building, case_sensitive)
                .map_err(|reason| Error::invalid("operations", reason))?;
        }
        if !matcher.hosts.is_empty() {
            let closed = operations
                .iter()
                .map(|it| it.requirement == Requirement::Nobody);
            matcher.templates = building.templates.into_iter().zip(closed).collect();
        }
        Ok(matcher)
    }
}

impl Building<'_> {
    fn take(&mut self, weight: usize) -> std::result::Result<(), Refusal> {
        let left = self
            .left
            .checked_sub(weight)
            .ok_or_else(refusals::catalogs::too_large)?;
        self.left = left;
        Ok(())
    }

    /// Copies the operations for methods that have no answer here yet. If this node has a GET, HEAD is that GET and not
    /// a HEAD that is copied from further away.
    ///
    /// An operation that is closed to every key is also copied over existing answers, unless their template is a subset
    /// of its own: of `/a/{x}/c` and a closed `/a/b/{y}`, neither is more specific for `/a/b/c`, so that path is
    /// closed.
    fn copy(&self, from: &HashMap<String, usize>, to: &mut HashMap<String, usize>) {
        let has_get = to.contains_key("GET");
        for (method, position) in from {
            let is_closed = self.operations[*position].requirement == Requirement::Nobody;
            if is_closed {
                let head = Some("HEAD").filter(|_| method == "GET");
                for method in [method.as_str()].into_iter().chain(head) {
                    if let Some(other) = to.get_mut(method)
                        && !template::is_within(&self.templates[*other], &self.templates[*position])
                    {
                        *other = *position;
                    }
                }
            }
            if !(has_get && method == "HEAD") {
                to.entry(method.clone()).or_insert(*position);
            } else if is_closed
                && let Some(get) = to.get("GET")
                && !to.contains_key("HEAD")
                && !template::is_within(&self.templates[*get], &self.templates[*position])
            {
                to.insert(method.clone(), *position);
            }
        }
    }

    /// Those operations that no key opens.
    fn closed(&self, of: &HashMap<String, usize>) -> HashMap<String, usize> {
        let all = of
            .iter()
            .map(|(method, position)| (method.clone(), *position));
        all.filter(|(_, position)| self.operations[*position].requirement == Requirement::Nobody)
            .collect()
    }

    /// A new node, which a segment of this text leads to.
    fn take_node(&mut self, text: &str) -> std::result::Result<(), Refusal> {
        self.take(1 + text.len() / TEXT_BYTES)
    }
}

impl Node {
    fn insert(
        &mut self,
        operation: &Operation,
        position: usize,
        building: &mut Building<'_>,
    ) -> std::result::Result<(), Refusal> {
        building.take(1)?;
        let mut node = self;
        let parts = template::parse(&operation.path)?;
        building.templates.push(parts.clone());
        for part in parts {
            node = match part {
                Part::Literal(text) => {
                    if !node.literals.contains_key(&text) {
                        building.take_node(&text)?;
                    }
                    node.literals.entry(text).or_default()
                }
                Part::Pattern(pattern) => node.pattern_mut(&pattern, building)?,
                Part::Parameter => {
                    if node.parameter.is_none() {
                        building.take(1)?;
                    }
                    node.parameter.get_or_insert_default()
                }
                Part::Rest => return taken(node.rest.insert(operation.method.clone(), position)),
            };
        }
        node.ends = Some(0);
        taken(node.methods.insert(operation.method.clone(), position))
    }

    /// The node below a pattern; it is created if it does not exist.
    fn pattern_mut(
        &mut self,
        pattern: &Pattern,
        building: &mut Building<'_>,
    ) -> std::result::Result<&mut Node, Refusal> {
        let known = self.patterns.iter();
        let known = known
            .map(|(known, _)| known)
            .position(|known| known == pattern);
        let at = match known {
            Some(at) => at,
            None => {
                // A request tries the patterns one after the other, and each new pattern is compared with all others
                // here.
                if self.patterns.len() >= PATTERNS_MAX {
                    return Err(refusals::catalogs::patterns_at_most(PATTERNS_MAX));
                }
                building.take(2 + pattern.literal_bytes() / TEXT_BYTES)?;
                let shorter =
                    |(known, _): &(Pattern, Node)| known.literal_bytes() < pattern.literal_bytes();
                let at = self.patterns.iter().position(shorter);
                let at = at.unwrap_or(self.patterns.len());
                self.patterns.insert(at, (pattern.clone(), Node::default()));
                at
            }
        };
        Ok(&mut self.patterns[at].1)
    }

    /// Records that a template ends here that was copied over this distance.
    fn end(&mut self, copied: u32) {
        self.ends = Some(self.ends.map_or(copied, |known| known.min(copied)));
    }

    /// Copies the operations below the parameter to each literal, so that `find` never has to backtrack.
    fn complete(
        &mut self,
        building: &mut Building<'_>,
        case_sensitive: bool,
    ) -> std::result::Result<(), Refusal> {
        if !case_sensitive {
            let names = self.literals.keys().filter(|text| !text.is_empty());
            self.folded
                .extend(names.map(|text| text.to_ascii_lowercase()));
            let patterns = self.patterns.iter();
            self.folded_patterns
                .extend(patterns.map(|(pattern, _)| pattern.folded()));
            self.join_twins(building)?;
        }
        for (text, child) in &mut self.literals {
            if text.is_empty() {
                continue; // a trailing slash is nothing that a parameter or a rest could stand for
            }
            // If it is unclear which pattern the literal matches, no sibling's operations are copied below it.
            if taker(&self.patterns, text).is_ok() {
                for (_, there) in self.patterns.iter().filter(|(it, _)| it.matches(text)) {
                    child.add(there, building)?;
                }
                if let Some(parameter) = &self.parameter {
                    child.add(parameter, building)?;
                }
                child.add_rest(&self.rest, building)?;
            }
            child.complete(building, case_sensitive)?;
        }
        for at in 0..self.patterns.len() {
            let (before, behind) = self.patterns.split_at_mut(at + 1);
            let Some((pattern, node)) = before.last_mut() else {
                continue;
            };
            for (_, there) in behind.iter().filter(|(other, _)| pattern.is_within(other)) {
                node.add(there, building)?;
            }
            if let Some(parameter) = &self.parameter {
                node.add(parameter, building)?;
            }
            node.add_rest(&self.rest, building)?;
            node.complete(building, case_sensitive)?;
        }
        if let Some(parameter) = &mut self.parameter {
            parameter.add_rest(&self.rest, building)?;
            parameter.complete(building, case_sensitive)?;
        }
        Ok(())
    }

    /// Literals that differ only in case, as in `/Users/{id}` and `/users/admin`, are one place for an application that
    /// ignores case: what a segment may resemble below one of them, it may resemble below the others too.
    fn join_twins(&mut self, building: &mut Building<'_>) -> std::result::Result<(), Refusal> {
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
                together.add(child, building)?;
            }
            together.complete(building, false)?;
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

    /// Copies the set of literals that a segment may resemble, here and below.
    fn resemble(&mut self, other: &Node) {
        self.folded.extend(other.folded.iter().cloned());
        self.folded_patterns
            .extend(other.folded_patterns.iter().cloned());
        for (text, child) in &mut self.literals {
            for (_, there) in other
                .literals
                .iter()
                .filter(|(there, _)| there.eq_ignore_ascii_case(text))
            {
                child.resemble(there);
            }
        }
        for (pattern, child) in &mut self.patterns {
            let folded = pattern.folded();
            for (_, there) in other
                .patterns
                .iter()
                .filter(|(there, _)| there.folded() == folded)
            {
                child.resemble(there);
            }
        }
        if let (Some(parameter), Some(there)) = (&mut self.parameter, &other.parameter) {
            parameter.resemble(there);
        }
    }

    /// A `{rest...}` of a higher level also answers deeper paths that no other template answers.
    fn add_rest(
        &mut self,
        above: &HashMap<String, usize>,
        building: &mut Building<'_>,
    ) -> std::result::Result<(), Refusal> {
        building.take(2 * above.len())?;
        if !above.is_empty() {
            self.end(1);
        }
        building.copy(above, &mut self.methods);
        building.copy(above, &mut self.rest);
        // It takes no slash at the end, but what is closed without it is closed with it.
        if let Some(slash) = self.literals.get_mut("") {
            let closed = building.closed(above);
            building.take(closed.len())?;
            building.copy(&closed, &mut slash.methods);
        }
        Ok(())
    }

    /// Adds the operations of `other` that this node does not answer.
    fn add(
        &mut self,
        other: &Node,
        building: &mut Building<'_>,
    ) -> std::result::Result<(), Refusal> {
        building.take(1 + other.methods.len() + other.rest.len())?;
        if let Some(copied) = other.ends {
            self.end(copied + 1);
        }
        building.copy(&other.methods, &mut self.methods);
        building.copy(&other.rest, &mut self.rest);
        for (text, child) in &other.literals {
            building.take_node(text)?;
            self.literals
                .entry(text.clone())
                .or_default()
                .add(child, building)?;
        }
        for (pattern, child) in &other.patterns {
            self.pattern_mut(pattern, building)?.add(child, building)?;
        }
        if let Some(parameter) = &other.parameter {
            self.parameter
                .get_or_insert_default()
                .add(parameter, building)?;
        }
        Ok(())
    }

    /// The operation, and whether the segment at which the path left the tree resembles a literal. If it does, an
    /// application may see an operation of this tree in the request.
    fn find(&self, method: &str, segments: &[String]) -> (MatchResult, bool) {
        let operation = |known: &HashMap<String, usize>| {
            let implied = || known.get("GET").filter(|_| method == "HEAD");
            let position = known.get(method).or_else(implied);
            position.map_or(MatchResult::Unknown, |position| {
                MatchResult::Operation(*position)
            })
        };
        let mut node = self;
        for segment in segments {
            if let Some(next) = node.literals.get(segment) {
                if segment.is_empty() && !self.is_exact && is_nearer(node, next) {
                    return (MatchResult::Ambiguous, true);
                }
                node = next;
                continue;
            }
            // A parameter and a rest match at least one character; an empty segment is only a trailing slash.
            if segment.is_empty() {
                return (MatchResult::Unknown, false);
            }
            let taker = match taker(&node.patterns, segment) {
                Ok(taker) => taker,
                Err(InDoubt) => return (MatchResult::Ambiguous, true),
            };
            let resembles = node.resembles(segment);
            match taker.or(node.parameter.as_deref()) {
                Some(_) if resembles => return (MatchResult::Ambiguous, true),
                Some(next) => node = next,
                None if resembles && !node.rest.is_empty() => {
                    return (MatchResult::Ambiguous, true);
                }
                None => return (operation(&node.rest), resembles),
            }
        }
        if let Some(slash) = node.literals.get("").filter(|_| !self.is_exact)
            && is_nearer(slash, node)
        {
            return (MatchResult::Ambiguous, true);
        }
        (operation(&node.methods), false)
    }

    /// Whether an application may read a segment, which is no literal here, as a literal or as a pattern that it does
    /// not match exactly.
    fn resembles(&self, segment: &str) -> bool {
        if self.folded.is_empty() && self.folded_patterns.is_empty() {
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
        let long_stem = stem(folded).filter(|_| name.len() < folded.len());
        let stems = [long_stem, stem(name)];
        let forms = || {
            [folded, name]
                .into_iter()
                .chain(stems.into_iter().flatten())
        };
        let is_own = |alike: &Pattern| {
            let own = self.patterns.iter();
            own.map(|(pattern, _)| pattern)
                .any(|own| own.matches(segment) && own.folded() == *alike)
        };
        forms().any(|form| self.folded.contains(form))
            || self
                .folded_patterns
                .iter()
                .any(|alike| forms().any(|form| alike.has_texts_of(form)) && !is_own(alike))
    }
}

/// A name without its extension.
fn stem(name: &str) -> Option<&str> {
    let (stem, _) = name.rsplit_once('.')?;
    Some(stem.trim_end_matches(['.', ' ']))
}

/// The node below the pattern that matches a segment, if there is one.
fn taker<'a>(
    patterns: &'a [(Pattern, Node)],
    segment: &str,
) -> std::result::Result<Option<&'a Node>, InDoubt> {
    let mut taker: Option<&(Pattern, Node)> = None;
    for one in patterns.iter().filter(|(it, _)| it.matches(segment)) {
        taker = match taker {
            Some(nearer) if !nearer.0.is_within(&one.0) => return Err(InDoubt),
            Some(nearer) => Some(nearer),
            None => Some(one),
        };
    }
    Ok(taker.map(|(_, node)| node))
}

/// Whether the nearest template at one place was copied over a shorter distance than that at another.
fn is_nearer(one: &Node, other: &Node) -> bool {
    match (one.ends, other.ends) {
        (Some(one), Some(other)) => one < other,
        _ => false,
    }
}

fn taken(earlier: Option<usize>) -> std::result::Result<(), Refusal> {
    match earlier {
        None => Ok(()),
        Some(earlier) => Err(refusals::catalogs::same_operation(earlier)),
    }
}

#[cfg(test)]
mod closed_tests;
#[cfg(test)]
mod tests;
