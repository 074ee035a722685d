//! Mutated catalogs and requests: what the matcher finds agrees with a naive one, which tries every template.
//!
//! An input has lines: `GET /a/{x}` is an operation, `GET! /a/b` one that is closed to every key, and `> GET /a/7` a request.

use super::matcher::{MatchResult, Matcher};
use super::tests::operation;
use super::{Operation, Requirement, path};
use crate::fuzz::Target;

const OPERATIONS_MAX: usize = 10;
const REQUESTS_MAX: usize = 8;

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "GET ", "GET! ", "HEAD ", "POST ", "> GET ", "> HEAD ", "> POST ", "\n", "\n> GET /a", "\nGET /a", "/", "//", "/a", "/b", "/A", "/a/b",
    "/{x}", "/{x...}", "/{y}", "{x}.json", "{x}-{y}", "/v{x}", "/7", "/a.json", "/a:b", "/.", "/..", "%61", "%2F", "%2e", "%20", ";", "?", "é",
];

/// What a template allows in one segment.
enum Token {
    Byte(u8),
    Any,
}

/// A segment of a template as tokens; the template has been accepted.
fn tokens(part: &str) -> Vec<Token> {
    let (mut tokens, mut rest) = (Vec::new(), part);
    while let Some(first) = rest.bytes().next() {
        rest = &rest[1..];
        tokens.push(match first {
            b'{' => {
                rest = &rest[rest.find('}').unwrap() + 1..];
                Token::Any
            }
            b'%' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                Token::Byte(u8::from_str_radix(digits, 16).unwrap())
            }
            other => Token::Byte(other),
        });
    }
    tokens
}

/// Whether the tokens match the text, where [`Token::Any`] is one character or more.
fn fits(tokens: &[Token], text: &[u8]) -> bool {
    match tokens {
        [] => text.is_empty(),
        [Token::Byte(byte), rest @ ..] => text.first() == Some(byte) && fits(rest, &text[1..]),
        // Two parameters that touch are one.
        [Token::Any, rest @ ..] if matches!(rest, [Token::Any, ..]) => fits(rest, text),
        [Token::Any, rest @ ..] => (1..=text.len()).any(|length| fits(rest, &text[length..])),
    }
}

fn parts(template: &str) -> Vec<&str> {
    match &template[1..] {
        "" => Vec::new(),
        inner => inner.split('/').collect(),
    }
}

fn is_rest(part: &str) -> bool {
    part.ends_with("...}")
}

/// Whether the template is one for this path.
fn matches(template: &str, segments: &[String]) -> bool {
    let parts = parts(template);
    let (parts, has_rest) = match parts.split_last() {
        Some((last, before)) if is_rest(last) => (before, true),
        _ => (parts.as_slice(), false),
    };
    let lengths = match has_rest {
        true => segments
            .get(parts.len())
            .is_some_and(|next| !next.is_empty()),
        false => segments.len() == parts.len(),
    };
    let pairs = parts.iter().zip(segments);
    lengths
        && pairs
            .into_iter()
            .all(|(part, segment)| fits(&tokens(part), segment.as_bytes()))
}

/// Whether every path of `one` is certainly one of `other`.
fn is_within(one: &str, other: &str) -> bool {
    let (one, other) = (parts(one), parts(other));
    for (at, other) in other.iter().enumerate() {
        let Some(part) = one.get(at) else {
            return false;
        };
        if is_rest(other) {
            return !part.is_empty();
        }
        let tokens_of_one = tokens(part);
        let literal: Option<Vec<u8>> = tokens_of_one
            .iter()
            .map(|token| match token {
                Token::Byte(byte) => Some(*byte),
                Token::Any => None,
            })
            .collect();
        let is_whole = !tokens(other)
            .iter()
            .any(|token| matches!(token, Token::Byte(_)));
        let is_part = match literal {
            Some(text) => fits(&tokens(other), &text),
            // Anything but a rest is within a whole parameter; of other patterns it is not certain.
            None => {
                !is_rest(part) && !other.is_empty() && (is_whole || shape(part) == shape(other))
            }
        };
        if !is_part {
            return false;
        }
    }
    one.len() == other.len()
}

/// A segment without the names of its parameters.
fn shape(part: &str) -> Vec<u8> {
    let mut shape: Vec<u8> = tokens(part)
        .iter()
        .map(|token| match token {
            Token::Byte(byte) => *byte,
            Token::Any => 0,
        })
        .collect();
    shape.dedup_by(|one, other| *one == 0 && *other == 0);
    shape
}

fn judge(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let (mut operations, mut requests): (Vec<Operation>, Vec<(&str, &str)>) = Default::default();
    for line in text.lines() {
        let (line, is_request) = line
            .strip_prefix("> ")
            .map_or((line, false), |line| (line, true));
        let Some((method, path)) = line.split_once(' ') else {
            continue;
        };
        let (method, is_closed) = method
            .strip_suffix('!')
            .map_or((method, false), |it| (it, true));
        if is_request && requests.len() < REQUESTS_MAX {
            requests.push((method, path));
        } else if !is_request && operations.len() < OPERATIONS_MAX && super::is_method(method) {
            let mut made = operation(&operations.len().to_string(), method, path, &["a"]);
            if is_closed {
                made.requirement = Requirement::Nobody;
            }
            operations.push(made);
        }
    }
    let mut shape = match Matcher::compile(&operations, false) {
        Err(err) => return format!("refused {}", err.refusal().code()),
        Ok(matcher) => requests
            .iter()
            .map(|(method, path)| asked(&matcher, &operations, method, path))
            .collect::<Vec<_>>(),
    };
    shape.sort();
    shape.dedup();
    format!("{} {}", operations.len().min(3), shape.join(" "))
}

/// Checks the result for one request, and names it.
fn asked(matcher: &Matcher, operations: &[Operation], method: &str, path: &str) -> &'static str {
    let Some(segments) = path::segments(path) else {
        return "unsafe";
    };
    let answers = |it: &Operation| it.method == method || (method == "HEAD" && it.method == "GET");
    let all = operations
        .iter()
        .filter(|it| answers(it) && matches(&it.path, &segments));
    let all: Vec<&Operation> = all.collect();
    let is_closed = |it: &Operation| it.requirement == Requirement::Nobody;
    match matcher.find(method, &segments, None) {
        // It is refused.
        MatchResult::Ambiguous => "ambiguous",
        MatchResult::Unknown => {
            // Where two patterns are in doubt, and below a rest with a slash at the end, nothing is found.
            let is_plain = operations
                .iter()
                .flat_map(|it| parts(&it.path))
                .all(|part| {
                    let tokens = tokens(part);
                    tokens.len() == 1 || !tokens.iter().any(|token| matches!(token, Token::Any))
                });
            let has_slash = segments.last().is_some_and(String::is_empty);
            assert!(
                all.is_empty() || !is_plain || has_slash,
                "{method} {path} is for {}",
                all[0].path
            );
            "unknown"
        }
        MatchResult::Operation(position) => {
            let found = &operations[position];
            assert!(
                all.iter().any(|it| it.id == found.id),
                "{method} {path} is not for {} {}",
                found.method,
                found.path
            );
            if is_closed(found) {
                return "closed";
            }
            for other in all.iter().filter(|it| it.id != found.id) {
                let is_nearer =
                    is_within(&other.path, &found.path) && !is_within(&found.path, &other.path);
                assert!(
                    !is_nearer,
                    "{method} {path} is for {}, and not for {}",
                    other.path, found.path
                );
                let passes = is_closed(other) && !is_within(&found.path, &other.path);
                assert!(
                    !passes,
                    "{method} {path} is closed by {}, and {} opens it",
                    other.path, found.path
                );
            }
            if all.len() > 1 {
                "the nearest"
            } else {
                "found"
            }
        }
    }
}

#[test]
fn the_matcher_agrees_with_a_naive_one() {
    Target {
        name: "path",
        words: WORDS,
        mutations: 4_000,
    }
    .run(judge);
}
