//! Translates English sentences from the layers below the console. A sentence is found by its constant parts, and the
//! values between them are filled into the translation.

/// All sentences of a language.
#[derive(Debug, Default)]
pub struct Sentences(Vec<Sentence>);

#[derive(Debug)]
struct Sentence {
    /// The constant parts of the English sentence, between its values.
    parts: Vec<&'static str>,
    /// The translation, with `{}` or `{1}`, `{2}` for the values.
    own: &'static str,
}

impl Sentences {
    pub fn add(&mut self, english: &'static str, own: &'static str) {
        let parts = english.split("{}").collect();
        self.0.push(Sentence { parts, own });
    }

    /// Whether [`Sentences::add`] was called with this sentence.
    pub fn has(&self, english: &str) -> bool {
        let mut parts = self.0.iter().map(|sentence| &sentence.parts);
        parts.any(|parts| english.split("{}").eq(parts.iter().copied()))
    }

    /// The translation of a text without values.
    pub fn find(&self, english: &str) -> Option<&'static str> {
        let mut known = self.0.iter();
        known
            .find(|sentence| sentence.parts == [english])
            .map(|sentence| sentence.own)
    }

    /// The translation of a text. The values in it are translated too, if they are known sentences.
    pub fn render(&self, english: &str) -> String {
        let fitting = self
            .0
            .iter()
            .filter_map(|sentence| Some((sentence, sentence.values(english)?)));
        // Of several matches, the sentence with the longest constant parts wins: shorter ones take its words for a
        // value.
        match fitting.max_by_key(|(sentence, _)| sentence.len()) {
            None => english.to_owned(),
            Some((sentence, values)) => {
                let values: Vec<String> = values.iter().map(|value| self.render(value)).collect();
                filled(sentence.own, &values)
            }
        }
    }
}

impl Sentence {
    /// The length of all constant parts in bytes.
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// The values in a text, if it matches this sentence.
    fn values<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let (first, rest) = self.parts.split_first()?;
        let mut left = text.strip_prefix(first)?;
        let Some((last, between)) = rest.split_last() else {
            return left.is_empty().then(Vec::new);
        };
        let mut values = Vec::with_capacity(rest.len());
        for part in between {
            let (value, after) = left.split_once(part)?;
            values.push(value);
            left = after;
        }
        values.push(left.strip_suffix(last)?);
        Some(values)
    }
}

/// The indexes, from 0, of the values that a text contains.
pub fn places(text: &str) -> Vec<usize> {
    let mut next = 0;
    let mut found = Vec::new();
    for (at, _) in text.match_indices('{') {
        let Some(end) = text[at..].find('}') else {
            break;
        };
        match &text[at + 1..at + end] {
            "" => {
                found.push(next);
                next += 1;
            }
            digit => match digit.parse::<usize>() {
                Ok(number) if number > 0 => found.push(number - 1),
                _ => {}
            },
        }
    }
    found
}

fn filled(text: &str, values: &[String]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    let mut next = 0;
    while let Some(start) = rest.find('{') {
        let Some(end) = rest[start..].find('}').map(|end| start + end) else {
            break;
        };
        filled.push_str(&rest[..start]);
        let place = match &rest[start + 1..end] {
            "" => {
                next += 1;
                Some(next - 1)
            }
            digit => digit.parse::<usize>().ok().and_then(|n| n.checked_sub(1)),
        };
        match place.and_then(|place| values.get(place)) {
            Some(value) => filled.push_str(value),
            None => filled.push_str(&rest[start..=end]),
        }
        rest = &rest[end + 1..];
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_found_again_whatever_was_filled_in() {
        let mut sentences = Sentences::default();
        sentences.add("must be {}", "muss {} sein");
        sentences.add("must be at most {}", "darf höchstens {} sein");
        sentences.add("true or false", "wahr oder falsch");
        sentences.add(
            "policy {} allows {} keys in a workspace; delete one first",
            "mehr als {2} Schlüssel erlaubt die Regel {1} nicht",
        );
        sentences.add("may have {…...} only at its end", "nur am Ende {…...}");
        for (english, own) in [
            ("must be true or false", "muss wahr oder falsch sein"),
            ("must be at most 7", "darf höchstens 7 sein"),
            (
                "policy a {1} b allows 5 keys in a workspace; delete one first",
                "mehr als 5 Schlüssel erlaubt die Regel a {1} b nicht",
            ),
            ("may have {…...} only at its end", "nur am Ende {…...}"),
            ("what nobody knows", "what nobody knows"),
            ("", ""),
        ] {
            assert_eq!(sentences.render(english), own);
        }
    }
}
