//! Words of a sentence that depend on a number in it: `{count:line is|lines are}`.

/// The form of `forms`, which are separated by `|`, for the number that an argument is. Of two forms the first is for 1. Of three,
/// as Polish has them, the first is for 1, the second for numbers that end in 2, 3 or 4, but for 12 to 14, and the last for the rest
/// (Unicode CLDR 48, cardinal rules for whole numbers).
pub fn form<'t>(number: &str, forms: &'t str) -> &'t str {
    let forms: Vec<&str> = forms.split('|').collect();
    let last = forms.len() - 1;
    let at = match (number.parse::<u64>(), forms.len()) {
        (Ok(1), _) => 0,
        (Ok(number), 3) if matches!(number % 10, 2..=4) && !matches!(number % 100, 12..=14) => 1,
        _ => last,
    };
    forms[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_belongs_to_its_number() {
        let lines = "line is|lines are";
        for (number, expected) in [
            ("1", "line is"),
            ("0", "lines are"),
            ("2", "lines are"),
            ("21", "lines are"),
            ("many", "lines are"),
        ] {
            assert_eq!(form(number, lines), expected, "{number}");
        }
        let polish = "klucz|klucze|kluczy";
        for (number, expected) in [
            ("1", "klucz"),
            ("0", "kluczy"),
            ("3", "klucze"),
            ("5", "kluczy"),
            ("12", "kluczy"),
            ("22", "klucze"),
            ("114", "kluczy"),
        ] {
            assert_eq!(form(number, polish), expected, "{number}");
        }
        assert_eq!(form("1", "|, …"), "");
        assert_eq!(form("7", "one form"), "one form");
    }
}
