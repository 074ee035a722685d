//! What a request finds in the tree of its host and in the tree of any host.

use super::{MatchResult, Matcher, Node};
use crate::domain::catalogs::template::Part;
use crate::domain::catalogs::{path, template};

impl Matcher {
    /// Whether some host has an operation of its own for this request, or one that the request resembles.
    pub fn depends_on_host(&self, method: &str, segments: &[String]) -> bool {
        if self.hosts.is_empty() {
            return false;
        }
        let twin = self.twin(segments);
        self.hosts.values().any(|root| {
            let (found, resembles) = root.find(method, segments);
            let has_twin = || {
                let twin = twin.as_ref().map(|twin| root.find(method, twin).0);
                twin.is_some_and(|found| found != MatchResult::Unknown)
            };
            found != MatchResult::Unknown || resembles || has_twin()
        })
    }

    /// The operation, literal segments before parameters, a named host before any host.
    ///
    /// What is closed for any host stays closed at a named one, unless that has an operation of its own which is within it.
    pub fn find(&self, method: &str, segments: &[String], host: Option<&str>) -> MatchResult {
        let host = host.filter(|_| !self.hosts.is_empty());
        let named = host
            .and_then(path::host)
            .and_then(|host| self.hosts.get(&host));
        let (general, general_resembles) = self.any_host.find(method, segments);
        let Some(named) = named else {
            return general;
        };
        let twin = self.twin(segments);
        let twin_in = |root: &Node| {
            let twin = twin.as_ref();
            twin.map_or(MatchResult::Unknown, |twin| root.find(method, twin).0)
        };
        let (found, resembles) = named.find(method, segments);
        match found {
            MatchResult::Ambiguous => found,
            MatchResult::Unknown => match general {
                MatchResult::Operation(_) if resembles => MatchResult::Ambiguous,
                MatchResult::Operation(other)
                    if !self.is_literal(other) && twin_in(named) != MatchResult::Unknown =>
                {
                    MatchResult::Ambiguous
                }
                found => found,
            },
            MatchResult::Operation(own) if self.is_literal(own) => match general {
                MatchResult::Operation(other) if self.closes(other, own) => {
                    MatchResult::Operation(other)
                }
                _ => found,
            },
            MatchResult::Operation(_) if general_resembles => MatchResult::Ambiguous,
            MatchResult::Operation(own) => match (general, twin_in(&self.any_host)) {
                (MatchResult::Ambiguous, _) | (_, MatchResult::Ambiguous) => MatchResult::Ambiguous,
                (MatchResult::Operation(other), _) if self.closes(other, own) => {
                    MatchResult::Operation(other)
                }
                (_, MatchResult::Operation(twin)) if self.closes(twin, own) => {
                    MatchResult::Ambiguous
                }
                _ => found,
            },
        }
    }

    /// The same path with a slash at its end, or without it: to many routers both are one. None in a catalog that goes by
    /// exact literals.
    fn twin(&self, segments: &[String]) -> Option<Vec<String>> {
        let (last, before) = segments.split_last().filter(|_| !self.any_host.is_exact)?;
        Some(match last.is_empty() {
            true => before.to_vec(),
            false => [segments, &[String::new()]].concat(),
        })
    }

    fn is_literal(&self, position: usize) -> bool {
        let template = self.templates.get(position);
        template.is_some_and(|(parts, _)| parts.iter().all(|it| matches!(it, Part::Literal(_))))
    }

    /// Whether an operation of any host is closed and stands before one of a named host, which is not within it.
    fn closes(&self, general: usize, own: usize) -> bool {
        match (self.templates.get(general), self.templates.get(own)) {
            (Some((general, is_closed)), Some((own, _))) => {
                *is_closed && !template::is_within(bare(own), bare(general))
            }
            _ => false,
        }
    }
}

/// A template without a slash at its end.
fn bare(parts: &[Part]) -> &[Part] {
    match parts.split_last() {
        Some((Part::Literal(text), before)) if text.is_empty() => before,
        _ => parts,
    }
}
