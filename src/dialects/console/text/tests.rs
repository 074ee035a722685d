//! Checks that every text of the console is in the file of its language, and that the file has no other texts.

use super::*;
use crate::domain::audit::actions;
use crate::domain::notices;
use crate::domain::users::permissions::Permissions;
use crate::error::Error;
use std::path::Path;

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// The names in quotes after `t(`, `t1(` or `tn(` in templates, and after `text(` and similar calls in sources.
fn asked(text: &str) -> Vec<String> {
    let calls = [".t(\"", ".t1(\"", ".get(\"", ".with(\""];
    let one = |call: &&str| -> Vec<String> {
        let rests = text.split(*call).skip(1);
        rests
            .filter_map(|rest| rest.split_once('"').map(|(name, _)| name.to_owned()))
            .filter(|name| name.contains('.') && !name.ends_with('.'))
            .collect()
    };
    let counts = text.split(".tn(\"").skip(1).filter_map(|rest| {
        let name = rest.split_once('"')?.0;
        Some([format!("{name}.one"), format!("{name}.other")])
    });
    let mut names: Vec<String> = calls.iter().flat_map(one).collect();
    names.extend(counts.flatten());
    names
}

#[test]
fn every_text_that_is_asked_for_is_there() {
    let mut found = Vec::new();
    files(Path::new("templates/console"), &mut found);
    files(Path::new("src/dialects/console"), &mut found);
    let texts = english();
    for path in found {
        let source = std::fs::read_to_string(&path).unwrap();
        for name in asked(&source) {
            assert!(
                texts.find(&name).is_some(),
                "{} asks for {name}",
                path.display()
            );
        }
    }
}

#[test]
fn every_action_of_the_audit_log_has_words() {
    let texts = strict(template()).unwrap();
    for action in actions::ALL {
        assert_ne!(texts.action(action), *action);
    }
    for noun in actions::nouns() {
        assert!(
            texts.find(&format!("action_noun.{noun}")).is_some(),
            "{noun}"
        );
    }
    let words = texts
        .words
        .named
        .keys()
        .filter(|name| name.starts_with("action."));
    assert_eq!(words.count(), actions::ALL.len());
    assert_eq!(
        texts.action("key.of_another_version"),
        "key.of_another_version"
    );
}

#[test]
fn every_kind_of_notices_has_words() {
    for kind in notices::Kind::all() {
        let name = format!("notice.{}", kind.as_str());
        assert!(english().find(&name).is_some(), "{name}");
    }
}

#[test]
fn every_permission_that_a_user_lacks_has_words() {
    for scope in Permissions::all().scopes() {
        let refusal = refusals::access::lacks_in_workspace(scope);
        let text = english().sentence(&refusal);
        assert!(text.starts_with("You may not"), "{scope}: {text}");
    }
}

#[test]
fn the_file_of_english_is_complete() {
    let texts = strict(template()).unwrap().words;
    assert_eq!(texts.named.len(), english_words().named.len());
    for sentence in refusals::all() {
        let text = texts.named.get(&format!("refusals.{}", sentence.code));
        assert_eq!(text, Some(&sentence.english));
    }
}

/// The texts of a file that an administrator has configured.
fn strict(file: &'static str) -> Result<&'static Texts> {
    let words: &'static Words = Box::leak(Box::new(Words::strict(file)?));
    Ok(words.in_zone(&Zone::utc()))
}

#[test]
fn what_is_no_file_of_a_language_is_refused() {
    for (file, why) in [
        ("[nav]\nkeys\n", "line 2: "),
        (
            "# x\n\n[when]\nnow = x\nago = ago\n",
            "line 5: \"when.ago\" lacks the place {}",
        ),
        ("[when]\nday.few = {}\n", "no form \"few\""),
        (
            "[frame]\nlanguage = pl\n[when]\nday.other = {}\n",
            "its forms are one, few, many",
        ),
        (
            "[when]\nday.other = days\n",
            "\"when.day.other\" lacks the place {}",
        ),
        (
            "[frame]\nlanguage = fr\n[when]\nday.one = un jour\n",
            "lacks the place {}",
        ),
        ("[date]\nday = {day}.{month}.\n", "lacks the place {year}"),
        (
            "[refusals]\nvalues.at_most = viel\n",
            "lacks the place {most}",
        ),
        ("[nav]\nkey = x\n", "no text \"nav.key\""),
        ("[nav]\nkeys = x\nkeys = y\n", "there twice"),
        ("[when]\nago = {} {} {}\n", "\"when.ago\" has a place {}"),
        ("[given]\nwhat nobody says = x\n", "no text"),
        ("[nav]\nkeys = \n", "\"nav.keys\" has no text"),
        ("[refusals]\nkeys.expire = x\n", "no text"),
        ("[refusals]\nvalues.at_most = {} {least}\n", "a place {}"),
        ("[refusals]\nvalues.at_most = {least}\n", "a place {least}"),
        (
            "[refusals]\nrequests.too_many = {seconds} {second:Sekunde|Sekunden}\n",
            "a place {second:Sekunde|Sekunden}",
        ),
        (
            "[refusals]\nrequests.too_many = {seconds:Sekunde|Sekunden}\n",
            "lacks the place {seconds}",
        ),
        ("[when]\nago = {} {:a|b}\n", "a place {:a|b}"),
    ] {
        let err = strict(file).unwrap_err().to_string();
        assert!(err.contains(why), "{file}: {err}");
    }
}

#[test]
fn what_a_language_lacks_is_english() {
    let texts = strict(
        "[nav]\nkeys = Schlüssel\n[given]\nRead catalogs = Kataloge lesen\n\
         [refusals]\nvalues.at_most = höchstens {most}, nicht mehr als {most}\n",
    );
    let texts = texts.unwrap();
    assert_eq!(texts.get("nav.keys"), "Schlüssel");
    assert_eq!(texts.get("nav.users"), "Users");
    assert_eq!(texts.word("Read catalogs"), "Kataloge lesen");
    assert_eq!(texts.word("Read policies"), "Read policies");
    let most = refusals::values::at_most("{most}");
    assert_eq!(
        texts.sentence(&Error::invalid("a", most).refusal()),
        "A: höchstens {most}, nicht mehr als {most}."
    );
    assert_eq!(
        texts.sentence(&refusals::values::empty()),
        "Must not be empty."
    );
    let all = english_words().named.len() + reading::labels().count();
    assert_eq!(texts.words.lacking().len(), all - 3);
}

// Files of older versions have such a group.
#[test]
fn the_sentences_of_older_files_are_ignored() {
    let file = "[nav]\nkeys = Schlüssel\n[said]\nis needed = fehlt\n[word]\ncancel = Abbrechen\n";
    let texts = strict(file).unwrap();
    assert!(reading::has_sentences(file) && !reading::has_sentences(template()));
    assert_eq!(
        (texts.get("nav.keys"), texts.get("word.cancel")),
        ("Schlüssel", "Abbrechen")
    );
    assert_eq!(texts.refusal(&refusals::values::needed()), "is needed");
}

/// The constant texts of a template: its text, and the attributes that users can read.
fn said(template: &str) -> Vec<String> {
    let mut plain = template.to_owned();
    for (open, close) in [("{#", "#}"), ("{%", "%}"), ("{{", "}}")] {
        while let Some(start) = plain.find(open) {
            let end = plain[start..].find(close).unwrap() + start + close.len();
            plain.replace_range(start..end, " ");
        }
    }
    let mut said = Vec::new();
    for part in plain.split('<') {
        let (tag, text) = part.split_once('>').unwrap_or(("", part));
        // Commands are not translated.
        let is_command = tag.starts_with("pre class=\"code\"");
        said.extend((!is_command).then(|| text.to_owned()));
        for name in ["aria-label", "placeholder", "title", "alt", "content"] {
            let begins = format!(" {name}=\"");
            let rests = tag.split(&begins).skip(1);
            said.extend(rests.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    said
}

#[test]
fn no_template_has_words_of_its_own() {
    let mut found = Vec::new();
    files(Path::new("templates/console"), &mut found);
    let known = [
        "Latchkey",
        "UTC",
        "/invoices/7",
        "/v1/openapi.json",
        "0",
        "width=device-width,",
        "initial-scale=1",
        "light",
        "dark",
    ];
    for path in found {
        let template = std::fs::read_to_string(&path).unwrap();
        for text in said(&template) {
            for word in text.split_whitespace() {
                let is_attribute = word.contains("=\"") || word.starts_with("hint-");
                let is_word = word.chars().any(char::is_alphabetic) && !is_attribute;
                assert!(
                    !is_word || known.contains(&word),
                    "{} says {word:?} in {text:?}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn numbers_are_grouped() {
    for (number, text) in [
        (0, "0"),
        (999, "999"),
        (1000, "1,000"),
        (1234567, "1,234,567"),
    ] {
        assert_eq!(english().number(number), text);
    }
}

#[test]
fn a_number_takes_the_form_of_its_language() {
    let polish = "[frame]\nlanguage = pl\n[when]\nday.one = jeden dzień\nday.few = {} dni\nday.many = {} dni!\n";
    let texts = strict(polish).unwrap();
    for (number, text) in [
        (1, "jeden dzień"),
        (3, "3 dni"),
        (5, "5 dni!"),
        (22, "22 dni"),
    ] {
        assert_eq!(texts.count("when.day", number), text);
    }
    // What is not translated has the English form of the number.
    assert_eq!(texts.count("when.hour", 1), "1 hour");
    assert_eq!(texts.count("when.hour", 3), "3 hours");
    let lacking = texts.words.lacking();
    for name in ["when.hour.one", "when.hour.few", "when.hour.many"] {
        assert!(lacking.iter().any(|lacking| lacking == name), "{name}");
    }
    assert!(
        !lacking
            .iter()
            .any(|name| name.starts_with("when.day.") || name == "when.hour.other")
    );
    let french = "[frame]\nlanguage = fr\n[when]\nday.one = {} jour\nday.other = {} jours\n";
    let texts = strict(french).unwrap();
    assert_eq!(texts.count("when.day", 0), "0 jour");
    assert_eq!(texts.count("when.day", 1_000_000), "1,000,000 jours");
}

#[test]
fn days_and_times_follow_the_language_and_the_zone() {
    let german = "[frame]\nlanguage = de\n[date]\nday = {day}.{month}.{year}\ntime = {day}, {time} ({zone})\n";
    let at = crate::domain::time::Timestamp::parse("at", "2027-01-31T23:30:05Z").unwrap();
    let berlin = Zone::find("Europe/Berlin").unwrap();
    let texts = strict(german).unwrap().in_zone(&berlin);
    assert_eq!(texts.day(at), "01.02.2027");
    assert_eq!(texts.minute(at), "01.02.2027, 00:30 (CET)");
    assert_eq!(texts.instant(at), "01.02.2027, 00:30:05 (CET)");
    assert_eq!(english().instant(at), "2027-01-31 23:30:05 UTC");
    assert!(std::ptr::eq(texts, texts.in_zone(&berlin)));
}
