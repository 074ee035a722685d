//! Converts the path templates of a document to templates of a catalog.

use crate::domain::catalogs::{path, template};
use crate::refusals::{self, Refusal};

/// The catalog's template for a path of a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    pub path: String,
    /// Two templates with the same shape match the same paths.
    pub shape: String,
    /// Whether the path in the document has a query, although a query is no part of a path.
    pub had_query: bool,
    /// Whether it has a fragment, which a request never contains.
    pub had_fragment: bool,
    /// Parameters whose values may contain slashes according to the document, but that match one segment here.
    pub narrowed: Vec<String>,
    /// What stands before the first parameter that may go over slashes.
    pub before_slashes: Option<String>,
    /// Why the path cannot be taken over. The template then matches at least all requests that the path could mean.
    pub fault: Option<Refusal>,
}

/// What the conversion needs to know about a path, besides its text.
pub struct PathContext<'a> {
    /// Names of parameters whose values may contain slashes (`x-multi-segment`).
    pub over_slashes: &'a [String],
    /// Whether other paths of the document begin with this one and are longer.
    pub goes_on: bool,
}

/// Why every request for a path is refused in any case, so that the path need not be mapped or closed.
pub type NoRequest = Refusal;

/// Converts a path to a template.
pub fn template(text: &str, around: &PathContext<'_>) -> Result<Template, NoRequest> {
    let mut made = Template {
        path: String::new(),
        shape: String::new(),
        had_query: false,
        had_fragment: false,
        narrowed: Vec::new(),
        before_slashes: None,
        fault: None,
    };
    let mut text = bare(text, &mut made);
    if let Some(after) = text.strip_prefix('/') {
        text = after;
    } else {
        made.fault = Some(refusals::openapi::path_without_slash());
    }
    let segments = split(text);
    let last = segments.len() - 1;
    for (position, segment) in segments.into_iter().enumerate() {
        let before = made.path.clone();
        made.path.push('/');
        if !(segment.is_empty() && position == last) {
            let written = made.segment(segment, position == last, around)?;
            made.path.push_str(&written);
            let inner = pieces(segment)
                .map(|(pieces, _)| pieces)
                .unwrap_or_default();
            let goes_over = !made.narrowed.is_empty()
                || written.ends_with("...}")
                || inner.iter().any(|(_, name)| name.contains('/'));
            if goes_over && made.before_slashes.is_none() {
                made.before_slashes = Some(before);
            }
        }
    }
    let parts = template::parse(&made.path).map_err(refusals::openapi::path_never_requested)?;
    made.shape = template::shape(&parts);
    Ok(made)
}

/// The paths that a parameter with a pattern of its own stands for: `/v1/{name=things/*}` is `/v1/things/{parameter}`.
pub fn with_patterns(text: &str) -> Option<Template> {
    let (mut made, mut left, mut has_pattern) = (String::new(), text, false);
    while let Some((before, after)) = left.split_once('{') {
        let (inner, behind) = after.split_once('}')?;
        made.push_str(before);
        match inner.split_once('=') {
            None => made.push_str(&format!("{{{inner}}}")),
            Some((_, pattern)) => {
                has_pattern = true;
                let segments = pattern.split('/').map(|segment| match segment {
                    "*" => "{parameter}",
                    "**" => "{all}",
                    literal => literal,
                });
                made.push_str(&segments.collect::<Vec<_>>().join("/"));
            }
        }
        left = behind;
    }
    made.push_str(left);
    let over_slashes = ["all".to_owned()];
    let around = PathContext {
        over_slashes: &over_slashes,
        goes_on: false,
    };
    template(&made, &around).ok().filter(|_| has_pattern)
}

/// What a server may take a path for that no catalog can have: without blanks and dots at the ends of segments, without
/// empty ones, without `;` and what is behind it, without a host before it.
pub fn cleaned(text: &str) -> Option<String> {
    let path = match text.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['{', '/']) => rest.split_once('/')?.1,
        _ => text,
    };
    let mut segments: Vec<&str> = Vec::new();
    let all = split(path);
    let ends_in_slash = all.last().is_some_and(|last| last.is_empty());
    for segment in all {
        let segment = segment.trim();
        let bare = match segment.split_once(';') {
            Some((bare, _)) if !bare.contains('{') || bare.contains('}') => bare,
            _ => segment,
        };
        match bare {
            "" | "." => {}
            ".." => drop(segments.pop()),
            bare => segments.push(bare.trim_end_matches(['.', ' '])),
        }
    }
    let mut path = format!("/{}", segments.join("/"));
    if ends_in_slash && path.len() > 1 {
        path.push('/');
    }
    Some(path).filter(|path| path != text)
}

/// Removes the query and the fragment from a path.
fn bare<'t>(text: &'t str, made: &mut Template) -> &'t str {
    let mut is_within = false;
    for (at, character) in text.char_indices() {
        let behind = text[at + character.len_utf8()..].chars().next();
        match character {
            // `{?name}` is a query, too (RFC 6570, section 3.2.8).
            '{' if matches!(behind, Some('?' | '&')) => made.had_query = true,
            '{' if behind == Some('#') => made.had_fragment = true,
            '{' => is_within = has_pair(&text[at..]),
            '}' => is_within = false,
            '?' if !is_within => made.had_query = true,
            '#' if !is_within => made.had_fragment = true,
            _ => {}
        }
        if made.had_query || made.had_fragment {
            // A `?` after the `#` is a part of the fragment.
            made.had_query |= made.had_fragment && !made.had_query && text[..at].contains('?');
            return &text[..at];
        }
    }
    text
}

/// Whether a text begins with a brace that is closed before another one opens.
fn has_pair(text: &str) -> bool {
    let inner = text[1..].split_once('}');
    inner.is_some_and(|(inner, _)| !inner.contains('{'))
}

/// Splits a path into segments; a slash within braces does not separate them.
fn split(text: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    let (mut begin, mut is_within) = (0, false);
    for (at, character) in text.char_indices() {
        match character {
            '{' => is_within = has_pair(&text[at..]),
            '}' => is_within = false,
            '/' if !is_within => {
                segments.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    segments.push(&text[begin..]);
    segments
}

impl Template {
    fn segment(
        &mut self,
        text: &str,
        is_last: bool,
        around: &PathContext<'_>,
    ) -> Result<String, NoRequest> {
        let none = || refusals::openapi::segment_refused(format_args!("{text:?}"));
        if !text.contains(['{', '}']) {
            let literal = text.replace(' ', "%20");
            let fits = path::segments(&format!("/{literal}")).is_some_and(|it| it.len() == 1);
            return match fits && !literal.is_empty() {
                true => Ok(literal),
                false => Err(none()),
            };
        }
        let Some(pieces) = pieces(text) else {
            self.fault = Some(refusals::openapi::braces(format_args!("{text:?}")));
            // A name may begin before a closing brace without an opening one, and continue after an opening brace
            // without a closing one.
            let first = text.find(['{', '}']).unwrap_or(0);
            let last = text.rfind(['{', '}']).unwrap_or(0);
            let before = if text[first..].starts_with('{') {
                &text[..first]
            } else {
                ""
            };
            let behind = if text[last..].starts_with('}') {
                &text[last + 1..]
            } else {
                ""
            };
            return Ok(format!(
                "{}{{parameter}}{}",
                literal(before).ok_or_else(none)?,
                literal(behind).ok_or_else(none)?
            ));
        };
        if let [("", name)] = pieces.0.as_slice()
            && pieces.1.is_empty()
            && is_last
            && !around.goes_on
            && around.over_slashes.iter().any(|over| over == name)
        {
            return Ok(format!("{{{}...}}", parameter(name)));
        }
        let mut written = String::new();
        for (before, name) in pieces.0 {
            written.push_str(&literal(before).ok_or_else(none)?);
            written.push_str(&format!("{{{}}}", parameter(name)));
            if name.contains('/') {
                self.fault = Some(refusals::openapi::expression_in_path());
            }
            if around.over_slashes.iter().any(|over| over == name)
                || name.starts_with('+')
                || name.ends_with(['+', '*'])
            {
                self.narrowed.push(name.to_owned());
            }
        }
        written.push_str(&literal(pieces.1).ok_or_else(none)?);
        match template::parse(&format!("/{written}")) {
            Ok(_) => Ok(written),
            Err(_) => Err(none()),
        }
    }
}

/// Each parameter's name with the text before it, and the text after the last one; `None` if the braces are not
/// balanced.
fn pieces(text: &str) -> Option<(Vec<(&str, &str)>, &str)> {
    let mut pieces = Vec::new();
    let mut left = text;
    while let Some((before, after)) = left.split_once('{') {
        let (name, behind) = after.split_once('}')?;
        if before.contains('}') || name.contains('{') {
            return None;
        }
        pieces.push((before, name));
        left = behind;
    }
    (!left.contains('}')).then_some((pieces, left))
}

/// Converts literal text to the form that a catalog accepts.
fn literal(text: &str) -> Option<String> {
    let text = text.replace(' ', "%20");
    path::decode(&text).is_some().then_some(text)
}

/// A parameter's name, which is only a label, with the characters that a catalog accepts.
fn parameter(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    match name.is_empty() {
        true => "parameter".to_owned(),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Template, NoRequest> {
        let over_slashes = ["path".to_owned()];
        template(
            text,
            &PathContext {
                over_slashes: &over_slashes,
                goes_on: false,
            },
        )
    }

    #[test]
    fn paths_become_templates() {
        for (text, path) in [
            ("/", "/"),
            ("/a/", "/a/"),
            ("/a/{id}", "/a/{id}"),
            ("/a/{id}.json", "/a/{id}.json"),
            ("/a/{id}:cancel", "/a/{id}:cancel"),
            ("/a/{from}...{to}", "/a/{from}...{to}"),
            ("/users('{id}')", "/users('{id}')"),
            ("/a/{user.id}/{$x}/{}", "/a/{user_id}/{_x}/{parameter}"),
            ("/a b/{x}", "/a%20b/{x}"),
            ("/t/{path}", "/t/{path...}"),
            ("/t/{path}.txt", "/t/{path}.txt"),
            ("/t/{path}/x", "/t/{path}/x"),
            ("/t/{proxy+}", "/t/{proxy_}"),
        ] {
            let made = read(text).unwrap();
            assert_eq!((made.path.as_str(), made.fault), (path, None), "{text}");
        }
        let narrowed = |text: &str| read(text).unwrap().narrowed;
        assert_eq!(narrowed("/t/{path}/x"), ["path"]);
        assert_eq!(narrowed("/t/{proxy+}"), ["proxy+"]);
        assert!(narrowed("/t/{path}").is_empty());
    }

    #[test]
    fn queries_and_fragments_are_no_part_of_a_path() {
        for (text, path, query, fragment) in [
            ("/a?b=c", "/a", true, false),
            ("/a/{id}#b", "/a/{id}", false, true),
            ("/a#b?c", "/a", false, true),
            ("/a{?b,c}", "/a", true, false),
            ("/a{#b}", "/a", false, true),
            ("/{a?b", "/{parameter}", true, false),
            ("/a/{i?d}", "/a/{i_d}", false, false),
        ] {
            let made = read(text).unwrap();
            let found = (made.path.as_str(), made.had_query, made.had_fragment);
            assert_eq!(found, (path, query, fragment), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_taken_over_is_covered_or_never_let_through() {
        for (text, path) in [
            ("a/b", "/a/b"),
            ("/a/{x", "/a/{parameter}"),
            ("/a/b{x", "/a/b{parameter}"),
            ("/a/x}c", "/a/{parameter}c"),
            ("/a/{x{y}}z", "/a/{parameter}z"),
            ("/a{/x}", "/a{_x}"),
            ("/{x/{y}", "/{parameter}/{y}"),
        ] {
            let made = read(text).unwrap();
            assert_eq!(made.path, path, "{text}");
            assert!(made.fault.is_some(), "{text}");
        }
        for text in [
            "//a",
            "/a//b",
            "/a/../b",
            "/a;x",
            "/a./b",
            "/caf\u{e9}",
            "/a%2fb",
            "/{x}.",
            "/a%",
        ] {
            assert!(read(text).is_err(), "{text}: {:?}", read(text));
        }
        assert!(read(&"/a".repeat(65)).is_err());
    }
}
