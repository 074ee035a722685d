//! Names of settings that resemble an unknown one, to suggest the one that was probably meant.

/// How similar a name must be to be suggested, from 0 to 1. A common beginning counts most.
const ALIKE: f64 = 0.85;

/// As above for variables, by the number of letters that differ.
const ALIKE_VARIABLES: f64 = 0.65;

/// How similar a word of a variable must be to the word in its place. Below, it is another word and no typing error.
const ALIKE_WORDS: f64 = 0.2;

/// The least number of characters of a variable's name that may be the shortened name of a setting.
const SHORTENED_MIN: usize = 5;

/// The least number of characters of a variable's name that may have a typing error. Shorter names, such as `KEY` and
/// `LOG`, are common in the files of other programs.
const MISTYPED_MIN: usize = 4;

/// The variable that the administrator probably meant, without the common prefix. A name also counts as similar if it
/// continues a known name with another word, or the reverse. Other names are compared more strictly than those in the
/// file, because not every variable with the prefix was meant for this program.
pub fn nearest_variable<'a>(
    name: &str,
    mut known: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    if name.len() < MISTYPED_MIN {
        return None;
    }
    let goes_on = |long: &str, short: &str| {
        long.strip_prefix(short)
            .is_some_and(|rest| rest.starts_with('_'))
    };
    let score = |known: &'a str| (strsim::normalized_damerau_levenshtein(name, known), known);
    known
        .clone()
        .map(score)
        .filter(|(alike, known)| *alike >= ALIKE_VARIABLES && has_similar_words(name, known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, near)| near)
        .or_else(|| {
            known.find(|known| {
                let is_long = name.len() >= SHORTENED_MIN;
                goes_on(name, known) || goes_on(known, name) || (is_long && known.starts_with(name))
            })
        })
}

/// Whether no word of a name differs altogether from the word in its place, as `CONSOLE_URL` does from `CONSOLE_PATH`.
fn has_similar_words(name: &str, known: &str) -> bool {
    let count = |text: &str| text.split('_').count();
    let alike = |(a, b): (&str, &str)| strsim::normalized_damerau_levenshtein(a, b) >= ALIKE_WORDS;
    count(name) != count(known) || name.split('_').zip(known.split('_')).all(alike)
}

/// The name that the administrator probably meant.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let score = |known: &'a str| (strsim::jaro_winkler(name, known), known);
    known
        .map(score)
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, near)| near)
}
