//! The pattern that an answer must match: text with holes.

use regex_lite::Regex;

use super::names::Names;

/// Text in which `{{name}}`, `{{name:regex}}` and `{{*}}` match values that are not known in advance.
#[derive(Clone, Debug)]
pub struct Pattern(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Any,
    /// A name, and the regular expression that its value must match.
    Hole(String, String),
    Text(String),
}

/// A value in a JSON string.
const IN_STRING: &str = r#"(?:[^"\\]|\\.)*"#;
/// A value outside a JSON string: one word.
const WORD: &str = r#"[^\s,;"{}\[\]]+"#;

impl Pattern {
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let end = end_of_hole(after).ok_or_else(|| format!("{{{{{after}: has no end"))?;
            pieces.push(Piece::Text(before.to_owned()));
            let in_string = quotes(&pieces) % 2 == 1;
            pieces.push(hole(&after[..end], in_string)?);
            rest = &after[end + 2..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Pattern(pieces))
    }

    /// The same pattern for JSON, without blanks between tokens.
    pub fn compact(mut self) -> Pattern {
        let mut in_string = false;
        for piece in &mut self.0 {
            if let Piece::Text(text) = piece {
                *text = compact(text, &mut in_string);
            }
        }
        self
    }

    /// Whether the whole of `found` matches. New names get their values; known names must have the same values.
    pub fn matches(&self, found: &str, names: &mut Names) -> Result<(), String> {
        let pieces: Vec<Piece> = self.0.iter().map(|piece| known(piece, names)).collect();
        let regex = Regex::new(&format!(r"\A{}\z", expression(&pieces)))
            .map_err(|err| format!("the pattern cannot be used: {err}"))?;
        let Some(caught) = regex.captures(found) else {
            return Err(difference(&pieces, found));
        };
        for (position, piece) in pieces.iter().enumerate() {
            let Piece::Hole(name, _) = piece else {
                continue;
            };
            let value = caught
                .name(&format!("h{position}"))
                .map_or("", |caught| caught.as_str());
            match names.value(name) {
                Some(known) if known != value => {
                    return Err(format!(
                        "{{{{{name}}}}} is {known:?} first and {value:?} here"
                    ));
                }
                _ => names.set(name, value),
            }
        }
        Ok(())
    }
}

/// JSON without blanks between tokens; `in_string` is kept from piece to piece.
pub fn compact(text: &str, in_string: &mut bool) -> String {
    let mut escaped = false;
    let keep = |c: &char| {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = *in_string,
            '"' => *in_string = !*in_string,
            _ => {}
        }
        *in_string || !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    text.chars().filter(keep).collect()
}

/// The position of the `}}` at the end of a hole: a regular expression may contain balanced braces.
fn end_of_hole(after: &str) -> Option<usize> {
    let mut ends = after.match_indices("}}").map(|(at, _)| at);
    let first = ends.next()?;
    if !after[..first].contains(':') {
        return Some(first);
    }
    (first..after.len()).find(|&at| {
        let inner = after.get(..at).unwrap_or_default();
        after[at..].starts_with("}}") && inner.matches('{').count() == inner.matches('}').count()
    })
}

fn hole(inner: &str, in_string: bool) -> Result<Piece, String> {
    if inner == "*" {
        return Ok(Piece::Any);
    }
    let (name, regex) = match inner.split_once(':') {
        Some((name, regex)) => (name, regex),
        None if in_string => (inner, IN_STRING),
        None => (inner, WORD),
    };
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_+-%".contains(c);
    if name.is_empty() || !name.chars().all(legal) {
        return Err(format!("{{{{{inner}}}}} is not a name"));
    }
    Regex::new(regex).map_err(|err| format!("{{{{{inner}}}}}: {err}"))?;
    Ok(Piece::Hole(name.to_owned(), regex.to_owned()))
}

/// The number of quotation marks in the text so far that are not escaped.
fn quotes(pieces: &[Piece]) -> usize {
    let mut in_string = false;
    let mut count = 0;
    for piece in pieces {
        if let Piece::Text(text) = piece {
            let before = in_string;
            compact(text, &mut in_string);
            count += usize::from(before != in_string);
        }
    }
    count
}

fn known(piece: &Piece, names: &Names) -> Piece {
    match piece {
        Piece::Hole(name, _) => match names.value(name) {
            Some(value) => Piece::Text(value),
            None => piece.clone(),
        },
        other => other.clone(),
    }
}

fn expression(pieces: &[Piece]) -> String {
    let one = |(position, piece): (usize, &Piece)| match piece {
        Piece::Any => "(?s:.*?)".to_owned(),
        Piece::Hole(_, regex) => format!("(?P<h{position}>{regex})"),
        Piece::Text(text) => regex_lite::escape(text),
    };
    pieces.iter().enumerate().map(one).collect()
}

/// Shows up to which position the text matches the pattern.
fn difference(pieces: &[Piece], found: &str) -> String {
    let reached = |pieces: &[Piece]| {
        let regex = Regex::new(&format!(r"\A{}", expression(pieces))).ok()?;
        regex.find(found).map(|part| part.end())
    };
    let whole = (0..=pieces.len())
        .rev()
        .find_map(|count| Some((count, reached(&pieces[..count])?)));
    let (count, mut end) = whole.unwrap_or((0, 0));
    let mut wanted = String::new();
    if let Some(Piece::Text(text)) = pieces.get(count) {
        // The part of the literal that matches.
        let mut own = pieces[..count].to_vec();
        let cuts = text.char_indices().map(|(at, _)| at).rev();
        for cut in cuts {
            own.push(Piece::Text(text[..cut].to_owned()));
            if let Some(further) = reached(&own) {
                end = further;
                wanted = text[cut..].to_owned();
                break;
            }
            own.pop();
        }
    } else if let Some(piece) = pieces.get(count) {
        wanted = format!("{piece:?}");
    }
    let short = |text: &str| -> String { text.chars().take(80).collect() };
    format!(
        "they agree up to here: …{}\nexpected then: {}\nfound there:   {}",
        found[..end]
            .chars()
            .rev()
            .take(40)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect::<String>(),
        short(&wanted),
        short(&found[end..]),
    )
}
