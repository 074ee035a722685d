//! Sentences that are made below the console, where there is no language but English: found again by their English
//! words, whatever was filled into them.

/// See the heading.
#[derive(Debug, Default)]
pub struct Sentences(Vec<Sentence>);

/// One sentence.
#[derive(Debug)]
struct Sentence {
    /// The English words between what is filled in.
    parts: Vec<&'static str>,
    /// The same in another language, with `{}` or `{1}`, `{2}` for what is filled in.
    own: &'static str,
}

impl Sentences {
    pub fn add(&mut self, english: &'static str, own: &'static str) {
        let parts = english.split("{}").collect();
        self.0.push(Sentence { parts, own });
    }

    /// Whether a sentence is there, as [`Sentences::add`] took it.
    pub fn has(&self, english: &str) -> bool {
        let mut parts = self.0.iter().map(|sentence| &sentence.parts);
        parts.any(|parts| english.split("{}").eq(parts.iter().copied()))
    }

    /// The words for a text into which nothing was filled.
    pub fn find(&self, english: &str) -> Option<&'static str> {
        let mut known = self.0.iter();
        known
            .find(|sentence| sentence.parts == [english])
            .map(|sentence| sentence.own)
    }

    /// A text in the words of this language. What was filled in may be such a text itself.
    pub fn render(&self, english: &str) -> String {
        let fitting = self
            .0
            .iter()
            .filter_map(|sentence| Some((sentence, sentence.values(english)?)));
        // The one that says the most itself: others may take its words for something filled in.
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
    /// Bytes that are its own.
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// What was filled in, if a text is this sentence.
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

/// Which values a text takes, counted from 0.
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
