//! The fields of what a site is given, for the page that changes it and for the page that writes the command for a new one.

use crate::dialects::console::auth::Visit;
use crate::dialects::console::form::{Choice, Input, Kind, Refusal, UNITS, in_units, number};
use crate::dialects::console::text::Texts;
use crate::domain::packs::site::{LEND, MAX_STALE_S, UNTIL_S};
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::ops::catalogs;
use crate::ops::packs::sites::{SiteEdit, SiteView};
use crate::ops::workspaces::offered;

/// The fields of an existing site, in their order. Labels are `site_field.NAME`, hints `site_hint.NAME`.
pub const FIELDS: &[&str] = &[
    "workspaces",
    "catalogs",
    "names",
    "until",
    "until_unit",
    "lend",
    "max_stale",
];

/// The fields with the values of a site.
pub fn filled(view: &SiteView) -> Form {
    let mut form = Form::default();
    let many = [
        ("workspaces[]", &view.workspaces),
        ("catalogs[]", &view.site.catalogs),
    ];
    for (name, values) in many {
        values.iter().for_each(|value| form.put(name, value));
    }
    put_rest(
        &mut form,
        view.site.minimal,
        [view.site.until_s, view.site.lend, view.site.max_stale_s],
    );
    form
}

/// The fields of a new site.
pub fn blank() -> Form {
    let mut form = Form::default();
    put_rest(&mut form, false, [UNTIL_S, LEND, MAX_STALE_S]);
    form
}

fn put_rest(form: &mut Form, minimal: bool, [until_s, lend, max_stale_s]: [u64; 3]) {
    let (until, unit) = in_units(until_s);
    form.put("names", if minimal { "no" } else { "yes" });
    form.put("until", until.to_string());
    form.put("until_unit", unit);
    form.put("lend", lend.to_string());
    form.put("max_stale", max_stale_s.to_string());
}

/// Reads the fields.
pub fn read(texts: &Texts, form: &Form) -> Result<SiteEdit> {
    let unit = UNITS
        .iter()
        .find(|(name, _)| *name == form.text("until_unit"));
    let wrong = |field, why| Error::invalid_text(field, texts.get(why));
    let (_, size) = unit.ok_or_else(|| wrong("until_unit", "refusal.choice"))?;
    let whole = |field| number(texts, form, field)?.ok_or_else(|| wrong(field, "refusal.number"));
    let (until, lend, max_stale_s) = (whole("until")?, whole("lend")?, whole("max_stale")?);
    Ok(SiteEdit {
        workspaces: Some(form.all("workspaces[]")),
        catalogs: Some(form.all("catalogs[]")),
        minimal: match form.text("names") {
            "yes" => Some(false),
            "no" => Some(true),
            _ => return Err(wrong("names", "refusal.choice")),
        },
        until_s: Some(until.saturating_mul(*size)),
        lend: Some(lend),
        max_stale_s: Some(max_stale_s),
        life: None,
        unlinks: false,
    })
}

/// Only what the user has changed: a change by another user to another member is preserved.
pub fn changed(texts: &Texts, form: &Form, before: &Form) -> Result<SiteEdit> {
    let (now, then) = (read(texts, form)?, read(texts, before)?);
    fn other<T: PartialEq>(now: Option<T>, then: &Option<T>) -> Option<T> {
        now.filter(|now| Some(now) != then.as_ref())
    }
    Ok(SiteEdit {
        workspaces: other(now.workspaces, &then.workspaces),
        catalogs: other(now.catalogs, &then.catalogs),
        minimal: other(now.minimal, &then.minimal),
        until_s: other(now.until_s, &then.until_s),
        lend: other(now.lend, &then.lend),
        max_stale_s: other(now.max_stale_s, &then.max_stale_s),
        life: None,
        unlinks: false,
    })
}

/// The fields with these names, filled with what was typed.
pub fn inputs(
    visit: &Visit<'_>,
    names: &[&'static str],
    typed: &Form,
    refusal: Option<&Refusal>,
) -> Result<Vec<Input>> {
    names
        .iter()
        .map(|name| input(visit, name, typed, refusal))
        .collect()
}

/// Whether a refusal belongs to one of these fields.
pub fn is_at(names: &[&str], refusal: &Refusal) -> bool {
    names.iter().any(|name| is_of(name, refusal))
}

fn is_of(name: &str, refusal: &Refusal) -> bool {
    let member = match refusal.bare() {
        "until_s" => "until",
        "max_stale_s" => "max_stale",
        other => other,
    };
    member == name
}

fn input(
    visit: &Visit<'_>,
    name: &'static str,
    typed: &Form,
    refusal: Option<&Refusal>,
) -> Result<Input> {
    let texts = visit.texts;
    let value = typed.text(name).to_owned();
    let label = |group: &str, word: &str| texts.get(&format!("{group}.{word}"));
    let hint = texts.find(&format!("site_hint.{name}")).unwrap_or_default();
    let box_of = |word: &str, label: String, chosen: &[String]| Choice {
        value: word.to_owned(),
        label,
        hint: String::new(),
        opens: Vec::new(),
        chosen: chosen.iter().any(|chosen| chosen == word),
    };
    let kind = match name {
        "workspaces" => {
            let chosen = typed.all("workspaces[]");
            let found = offered::places(visit.call.app, &visit.caller, Permission::WorkspacesRead)?;
            let one = |place: &crate::domain::workspaces::Workspace| {
                let label = format!("{} ({})", place.name, place.slug);
                box_of(&place.slug, label, &chosen)
            };
            Kind::Boxes(found.iter().map(one).collect())
        }
        "catalogs" => {
            let chosen = typed.all("catalogs[]");
            let found = catalogs::list(visit.call.app, &visit.caller)?;
            let one = |name: &str| box_of(name, name.to_owned(), &chosen);
            Kind::Boxes(found.iter().map(|catalog| one(catalog.name())).collect())
        }
        "names" => {
            let choice = |word: &str| {
                let label = label("site_field", &format!("names_{word}"));
                Choice::of(word, label, &value)
            };
            Kind::Radios(vec![choice("yes"), choice("no")])
        }
        "until_unit" => {
            let unit = |(unit, _): &(&str, u64)| Choice::of(*unit, label("unit", unit), &value);
            Kind::Select(UNITS.iter().map(unit).collect())
        }
        "lend" | "max_stale" | "until" => Kind::Number,
        _ => Kind::Text,
    };
    let refused = refusal.filter(|refusal| is_of(name, refusal));
    Ok(Input {
        name,
        label: label("site_field", name),
        hint: hint.to_owned(),
        link: None,
        required: !matches!(name, "catalogs" | "server"),
        value: match kind {
            Kind::Boxes(_) | Kind::Radios(_) | Kind::Select(_) => String::new(),
            _ => value,
        },
        kind,
        refusal: refused
            .map(|refusal| refusal.why.clone())
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::english;

    fn form(more: &str) -> Form {
        Form::parse(&format!(
            "workspaces[]=emea&names=yes&until=7&until_unit=days&lend=100&max_stale=10{more}"
        ))
        .unwrap()
    }

    #[test]
    fn the_fields_of_a_new_site_are_the_defaults() {
        let read = read(english(), &blank()).unwrap();
        assert_eq!(
            (read.until_s, read.lend, read.minimal),
            (Some(UNTIL_S), Some(LEND), Some(false))
        );
    }

    #[test]
    fn only_what_was_changed_is_edited() {
        let texts = english();
        let before = form("");
        let edit = changed(texts, &form("&catalogs[]=rooms"), &before).unwrap();
        assert_eq!(edit.catalogs, Some(vec!["rooms".to_owned()]));
        assert!(edit.workspaces.is_none() && edit.minimal.is_none());
        assert!(edit.until_s.is_none() && edit.lend.is_none() && edit.max_stale_s.is_none());
        for bad in [
            "until=x",
            "until_unit=x",
            "names=x",
            "lend=",
            "max_stale=-1",
        ] {
            let name = bad.split('=').next().unwrap();
            let text = form("").encoded();
            let pairs = text
                .split('&')
                .map(|pair| match pair.starts_with(&format!("{name}=")) {
                    true => bad,
                    false => pair,
                });
            let typed = Form::parse(&pairs.collect::<Vec<_>>().join("&")).unwrap();
            let refused = changed(texts, &typed, &before).unwrap_err();
            let refusal = Refusal::of(texts, &refused).unwrap();
            assert!(is_at(FIELDS, &refusal) && refusal.bare() == name, "{bad}");
        }
    }
}
