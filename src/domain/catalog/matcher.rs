//! Finding the operation of a request, in time linear in its path whatever the catalog's size.
//!
//! Templates become a tree of segments. So that no request has to try two branches, what a `{parameter}`
//! allows is copied below its literal siblings when the tree is built: `/a/{x}/c` beside `/a/b/d` adds
//! `/a/b/c`. What the tree holds in all is bounded, and a catalog beyond it is refused when it is put; so is its
//! depth, which is that of the longest path that a request may have.

use super::Operation;
use super::path::SEGMENTS_MAX;
use crate::error::{Error, Result};
use std::collections::HashMap;

/// Nodes and answers that one compiled catalog is made of, copies included: keeps a hostile one from filling the memory.
const WEIGHT_MAX: usize = 200_000;
/// So many bytes of a segment's text weigh as much as a node.
const TEXT_BYTES: usize = 32;

/// One tree for operations of any host, one for each named host.
#[derive(Debug, Default)]
pub struct Matcher {
    any_host: Node,
    hosts: HashMap<String, Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Method → position of the operation.
    methods: HashMap<String, usize>,
    /// What takes any further segments, at least one.
    rest: HashMap<String, usize>,
    literals: HashMap<String, Node>,
    parameter: Option<Box<Node>>,
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
    pub fn compile(operations: &[Operation]) -> Result<Matcher> {
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
            root.complete(&mut budget)
                .map_err(|reason| Error::invalid("operations", reason))?;
        }
        Ok(matcher)
    }

    /// Whether some host has an operation of its own for this request.
    pub fn depends_on_host(&self, method: &str, segments: &[String]) -> bool {
        self.hosts
            .values()
            .any(|root| root.find(method, segments).is_some())
    }

    /// The position of the operation, literal segments before parameters, a named host before any host.
    pub fn find(&self, method: &str, segments: &[String], host: Option<&str>) -> Option<usize> {
        let named = host
            .and_then(super::path::host)
            .and_then(|host| self.hosts.get(&host))
            .and_then(|root| root.find(method, segments));
        named.or_else(|| self.any_host.find(method, segments))
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
        taken(node.methods.insert(operation.method.clone(), position))
    }

    /// Copies what the parameter allows below each literal, so that `find` never turns back.
    fn complete(&mut self, budget: &mut Budget) -> std::result::Result<(), Refusal> {
        for (text, child) in &mut self.literals {
            if text.is_empty() {
                continue; // a trailing slash is nothing that a parameter or a rest could stand for
            }
            if let Some(parameter) = &self.parameter {
                child.add(parameter, budget)?;
            }
            child.add_rest(&self.rest, budget)?;
            child.complete(budget)?;
        }
        if let Some(parameter) = &mut self.parameter {
            parameter.add_rest(&self.rest, budget)?;
            parameter.complete(budget)?;
        }
        Ok(())
    }

    /// A `{rest...}` above also answers whatever lies deeper and is not answered there.
    fn add_rest(
        &mut self,
        above: &HashMap<String, usize>,
        budget: &mut Budget,
    ) -> std::result::Result<(), Refusal> {
        budget.take(2 * above.len())?;
        for (method, position) in above {
            self.methods.entry(method.clone()).or_insert(*position);
            self.rest.entry(method.clone()).or_insert(*position);
        }
        Ok(())
    }

    /// Adds what `other` answers and this node does not.
    fn add(&mut self, other: &Node, budget: &mut Budget) -> std::result::Result<(), Refusal> {
        budget.take(1 + other.methods.len() + other.rest.len())?;
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

    fn find(&self, method: &str, segments: &[String]) -> Option<usize> {
        let mut node = self;
        for (depth, segment) in segments.iter().enumerate() {
            let next = node.literals.get(segment).or_else(|| {
                // A parameter stands for something: an empty segment is only a trailing slash.
                node.parameter.as_deref().filter(|_| !segment.is_empty())
            });
            match next {
                Some(next) => node = next,
                None => {
                    let nothing = depth + 1 == segments.len() && segment.is_empty();
                    return node.rest.get(method).copied().filter(|_| !nothing);
                }
            }
        }
        node.methods.get(method).copied()
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
            return match super::path::segments(&format!("/{text}")).as_deref() {
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
mod tests {
    use super::super::tests::operation;
    use super::*;

    fn matcher(templates: &[&str]) -> Matcher {
        let operations: Vec<Operation> = templates
            .iter()
            .enumerate()
            .map(|(n, path)| operation(&n.to_string(), "GET", path, &[]))
            .collect();
        Matcher::compile(&operations).unwrap()
    }

    #[track_caller]
    fn check(templates: &[&str], path: &str, expected: Option<usize>) {
        let segments = super::super::path::segments(path).unwrap();
        assert_eq!(
            matcher(templates).find("GET", &segments, None),
            expected,
            "{path}"
        );
    }

    #[test]
    fn literal_segments_win_and_parameters_take_the_rest() {
        let templates = [
            "/a/b/d",
            "/a/{x}/c",
            "/a/{x}",
            "/",
            "/f/{p...}",
            "/a/b",
            "/s/",
        ];
        check(&templates, "/", Some(3));
        check(&templates, "/a/b", Some(5));
        check(&templates, "/a/z", Some(2));
        check(&templates, "/a/b/d", Some(0));
        check(&templates, "/a/b/c", Some(1));
        check(&templates, "/a/z/c", Some(1));
        check(&templates, "/a/z/d", None);
        check(&templates, "/a/", None);
        check(&templates, "/A/b", None);
        check(&templates, "/f/1", Some(4));
        check(&templates, "/f/1/2/3", Some(4));
        check(&templates, "/f/1/", Some(4));
        check(&templates, "/f/", None);
        check(&templates, "/f", None);
        check(&templates, "/s/", Some(6));
        check(&templates, "/s", None);
    }

    #[test]
    fn a_rest_also_answers_below_its_literal_siblings() {
        let templates = ["/f/{p...}", "/f/x/y", "/f/{a}/b"];
        check(&templates, "/f/x", Some(0));
        check(&templates, "/f/x/y", Some(1));
        check(&templates, "/f/x/z/w", Some(0));
        check(&templates, "/f/q/b", Some(2));
        check(&templates, "/f/q/c", Some(0));
        check(&templates, "/f/x/b", Some(2));
    }

    // attacks 100
    #[test]
    fn operations_of_a_host_answer_for_that_host_only() {
        let mut there = operation("there", "GET", "/a", &[]);
        there.host = Some("api.example".to_owned());
        let matcher = Matcher::compile(&[there]).unwrap();
        let segments = vec!["a".to_owned()];
        assert_eq!(
            matcher.find("GET", &segments, Some("API.example.:443")),
            Some(0)
        );
        assert_eq!(
            matcher.find("GET", &segments, Some("evil-api.example")),
            None
        );
        assert_eq!(
            matcher.find("GET", &segments, Some("api.example, other")),
            None
        );
        assert_eq!(matcher.find("GET", &segments, None), None);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for bad in [
            "a",
            "/a//b",
            "/{x",
            "/{}",
            "/{x...}/b",
            "/a}b",
            "/..",
            "/a%2fb",
            "/{a b}",
            "/x{y}",
        ] {
            assert!(
                Matcher::compile(&[operation("x", "GET", bad, &[])]).is_err(),
                "{bad}"
            );
        }
    }

    fn compiles(operations: impl IntoIterator<Item = (String, String)>) -> bool {
        let operations: Vec<Operation> = operations
            .into_iter()
            .enumerate()
            .map(|(n, (method, path))| operation(&n.to_string(), &method, &path, &[]))
            .collect();
        Matcher::compile(&operations).is_ok()
    }

    #[test]
    fn a_template_is_no_deeper_than_a_path() {
        for segment in ["/{a}", "/a"] {
            let of = |count: usize| [("GET".to_owned(), segment.repeat(count))];
            assert!(compiles(of(SEGMENTS_MAX)), "{segment}");
            assert!(!compiles(of(SEGMENTS_MAX + 1)), "{segment}");
            assert!(!compiles(of(20_000)), "{segment}");
        }
    }

    #[test]
    fn a_catalog_that_would_explode_is_refused() {
        let get = |path: String| ("GET".to_owned(), path);
        let deep = (0..18).flat_map(|depth| {
            let above = "/{x}".repeat(depth);
            [get(format!("{above}/a")), get(format!("{above}/b/c"))]
        });
        assert!(!compiles(deep));

        let of = |methods: usize, literals: usize, path: &'static str| {
            let method = |n: usize| "M".repeat(n / 20 + 1) + &"-".repeat(n % 20);
            let methods = (0..methods).map(move |n| (method(n), path.to_owned()));
            methods.chain((0..literals).map(move |n| get(format!("/l{n}"))))
        };
        for path in ["/{a}", "/{a...}"] {
            assert!(compiles(of(300, 300, path)), "{path}");
            assert!(!compiles(of(1_500, 1_500, path)), "{path}");
        }
        let long = get(format!("/{{a}}/{}", "x".repeat(100_000)));
        assert!(compiles([long.clone()]));
        assert!(!compiles(
            (0..1_000).map(|n| get(format!("/l{n}"))).chain([long])
        ));
    }

    #[test]
    fn a_large_plain_catalog_is_taken() {
        let paths =
            (0..super::super::OPERATIONS_MAX).map(|n| format!("/api/v1/thing{n}/{{id}}/part"));
        assert!(compiles(paths.map(|path| ("GET".to_owned(), path))));
    }
}
