//! Path templates. A segment is a literal, a `{parameter}`, or both combined as in `{id}.json`, `{id}:cancel` and
//! `{from}-{to}`; the last segment may be a `{rest...}`.

use super::path;
use super::path::SEGMENTS_MAX;
use crate::refusals::{self, Refusal};

/// One segment of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part {
    /// Decoded; empty for a slash at the end.
    Literal(String),
    Parameter,
    /// Literal text combined with parameters.
    Pattern(Pattern),
    /// All further segments, at least one. It is the last part.
    Rest,
}

/// A segment of literal texts and parameters, each of which matches at least one character.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    /// The texts before the first parameter, between the parameters, and after the last one: at least two texts.
    texts: Vec<String>,
}

/// Reads a template; `/` has no parts.
pub fn parse(template: &str) -> Result<Vec<Part>, Refusal> {
    let Some(inner) = template.strip_prefix('/') else {
        return Err(refusals::catalogs::slash());
    };
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    // The functions that walk a catalog's tree recurse once for each segment, so its depth is the depth of the stack.
    let count = inner.split('/').count();
    if count > SEGMENTS_MAX {
        return Err(refusals::catalogs::segments_at_most(SEGMENTS_MAX));
    }
    let parts = inner.split('/').enumerate();
    parts
        .map(|(position, text)| part(text, position + 1 == count))
        .collect()
}

/// A text that is equal for two templates if they match the same paths.
pub fn shape(parts: &[Part]) -> String {
    let mut shape = String::new();
    for part in parts {
        shape.push('/');
        match part {
            Part::Literal(text) => shape.push_str(text),
            Part::Parameter => shape.push('\0'),
            Part::Pattern(pattern) => shape.push_str(&pattern.texts.join("\0")),
            Part::Rest => shape.push_str("\0\0"),
        }
    }
    shape
}

/// Whether every path that one template matches certainly matches the other, too.
pub fn is_within(one: &[Part], other: &[Part]) -> bool {
    let mut left = one.iter();
    for (position, part) in other.iter().enumerate() {
        let Some(own) = left.next() else {
            return false;
        };
        let covers = match (part, own) {
            (Part::Rest, _) => {
                return !matches!(one.get(position), Some(Part::Literal(text)) if text.is_empty());
            }
            (Part::Literal(text), Part::Literal(own)) => text == own,
            (Part::Pattern(pattern), Part::Literal(own)) => pattern.matches(own),
            (Part::Pattern(pattern), Part::Pattern(own)) => own.is_within(pattern),
            (Part::Parameter, Part::Literal(own)) => !own.is_empty(),
            (Part::Parameter, Part::Parameter | Part::Pattern(_)) => true,
            _ => false,
        };
        if !covers {
            return false;
        }
    }
    left.next().is_none()
}

fn part(text: &str, last: bool) -> Result<Part, Refusal> {
    if !text.contains('{') {
        return match path::template_segments(&format!("/{text}")).as_deref() {
            Some([]) if last => Ok(Part::Literal(String::new())),
            Some([one]) if !text.contains('}') => Ok(Part::Literal(one.clone())),
            _ => Err(refusals::catalogs::segment_never_requested()),
        };
    }
    let mut texts = Vec::new();
    let mut left = text;
    while let Some((before, after)) = left.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else {
            return Err(refusals::catalogs::parameter_unclosed());
        };
        let (name, rest) = name
            .strip_suffix("...")
            .map_or((name, false), |name| (name, true));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(refusals::catalogs::parameter_name());
        }
        if rest {
            let whole = texts.is_empty() && before.is_empty() && behind.is_empty();
            return match (last, whole) {
                (false, _) => Err(refusals::catalogs::rest_not_last()),
                (true, false) => Err(refusals::catalogs::rest_beside_text()),
                (true, true) => Ok(Part::Rest),
            };
        }
        if texts.is_empty() || !before.is_empty() {
            texts.push(literal(before)?);
        }
        left = behind;
    }
    texts.push(literal(left)?);
    // Windows would remove these characters; see `path`.
    let no_request = texts[0].starts_with(' ') || texts[texts.len() - 1].ends_with([' ', '.']);
    match texts.iter().all(String::is_empty) {
        _ if no_request => Err(refusals::catalogs::segment_never_requested()),
        true => Ok(Part::Parameter),
        false => Ok(Part::Pattern(Pattern { texts })),
    }
}

/// Decodes the literal text before or after a parameter.
fn literal(text: &str) -> Result<String, Refusal> {
    let decoded = path::decode(text).filter(|_| !text.contains('}'));
    decoded.ok_or_else(refusals::catalogs::segment_never_requested)
}

impl Pattern {
    fn first(&self) -> &str {
        self.texts.first().map_or("", String::as_str)
    }

    fn last(&self) -> &str {
        self.texts.last().map_or("", String::as_str)
    }

    /// The number of bytes of literal text.
    pub fn literal_bytes(&self) -> usize {
        self.texts.iter().map(String::len).sum()
    }

    /// Whether a segment matches this pattern.
    pub fn matches(&self, segment: &str) -> bool {
        self.fits(segment, 1)
    }

    /// Whether a segment contains all literal texts of this pattern, with any text between them.
    pub fn has_texts_of(&self, segment: &str) -> bool {
        self.fits(segment, 0)
    }

    /// Whether a segment contains the texts in their order, with at least so many characters between two of them. Each
    /// text is matched as far left as possible, which leaves the most characters to the texts after it.
    fn fits(&self, segment: &str, least: usize) -> bool {
        let Some(mut left) = segment.strip_prefix(self.first()) else {
            return false;
        };
        let between = self.texts.get(1..self.texts.len() - 1).unwrap_or_default();
        for text in between {
            let found = left
                .get(least..)
                .and_then(|left| left.split_once(text.as_str()));
            match found {
                Some((_, behind)) => left = behind,
                None => return false,
            }
        }
        left.strip_suffix(self.last())
            .is_some_and(|parameter| parameter.len() >= least)
    }

    /// Whether every segment that matches this pattern certainly matches the other, too.
    pub fn is_within(&self, other: &Pattern) -> bool {
        self == other
            || other.texts.len() == 2
                && self.first().starts_with(other.first())
                && self.last().ends_with(other.last())
    }

    /// The same pattern in lower case.
    pub fn folded(&self) -> Pattern {
        let texts = self.texts.iter();
        Pattern {
            texts: texts.map(|text| text.to_ascii_lowercase()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        match part(text, true) {
            Ok(Part::Pattern(pattern)) => pattern,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_pattern_takes_segments_with_all_of_its_text() {
        for (text, fitting, others) in [
            (
                "{id}.json",
                &["7.json", "a.json.json"][..],
                &[".json", "7.jso", "json", "7.JSON"][..],
            ),
            ("{id}:cancel", &["7:cancel"], &[":cancel", "7:cancels", "7"]),
            ("v{n}", &["v1", "v1.2"], &["v", "V1", "1"]),
            (
                "{a}-{b}",
                &["a-b", "--b", "a-b-c"],
                &["-b", "a-", "-", "--", "ab"],
            ),
            ("users('{id}')", &["users('7')"], &["users('')", "users"]),
            ("{a}{b}.x", &["1.x"], &[".x"]),
            ("x{a}.{b}z", &["xa.bz"], &["x.bz", "xa.z", "xz"]),
        ] {
            let pattern = pattern(text);
            for segment in fitting {
                assert!(pattern.matches(segment), "{text} {segment}");
            }
            for segment in others {
                assert!(!pattern.matches(segment), "{text} {segment}");
            }
        }
    }

    #[test]
    fn one_pattern_is_within_another_only_if_that_is_certain() {
        for (one, other, expected) in [
            ("{a}.tar.gz", "{a}.gz", true),
            ("{a}.gz", "{a}.tar.gz", false),
            ("{a}.json", "{b}.json", true),
            ("v{a}.json", "{a}.json", true),
            ("v{a}", "{a}.json", false),
            ("{a}-{b}.json", "{a}.json", true),
            ("{a}-{b}.json", "{a}-{b}", false),
        ] {
            assert_eq!(
                pattern(one).is_within(&pattern(other)),
                expected,
                "{one} {other}"
            );
        }
    }

    #[test]
    fn one_template_is_within_another_segment_by_segment() {
        for (one, other, expected) in [
            ("/a/b", "/a/{x}", true),
            ("/a/{x}", "/a/b", false),
            ("/a/{x}", "/{y}/b", false),
            ("/a/{x}.json", "/a/{x}", true),
            ("/a/{x}", "/a/{x}.json", false),
            ("/a/b.json", "/a/{x}.json", true),
            ("/a/b/c", "/a/{x...}", true),
            ("/a/b", "/a/{x...}", true),
            ("/a/", "/a/{x...}", false),
            ("/a", "/a/{x...}", false),
            ("/a/", "/a/{x}", false),
            ("/a/{x...}", "/a/{y...}", true),
            ("/a/{x...}", "/a/{y}", false),
            ("/a/b/c", "/a/{x}", false),
            ("/", "/", true),
        ] {
            let (one, other) = (parse(one).unwrap(), parse(other).unwrap());
            assert_eq!(is_within(&one, &other), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn templates_of_the_same_paths_have_one_shape() {
        let shape_of = |text: &str| shape(&parse(text).unwrap());
        for (one, other) in [
            ("/a/{x}", "/a/{y}"),
            ("/%61/{x}.json", "/a/{y}.json"),
            ("/{x...}", "/{y...}"),
            ("/{a}{b}", "/{c}"),
        ] {
            assert_eq!(shape_of(one), shape_of(other), "{one} {other}");
        }
        let all = [
            "/",
            "/a",
            "/a/",
            "/{x}",
            "/{x...}",
            "/{x}.json",
            "/{x}/",
            "/%7Bx%7D",
            "/{a}-{b}",
        ];
        let shapes: std::collections::BTreeSet<String> =
            all.iter().map(|text| shape_of(text)).collect();
        assert_eq!(shapes.len(), all.len(), "{shapes:?}");
    }
}
