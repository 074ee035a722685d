//! The card with which users choose the language, the colours and the time zone of their pages.

use super::{Visit, page, submit};
use crate::dialects::console::MOUNT;
use crate::dialects::console::form::{Choice, Refusal};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::text::languages;
use crate::domain::time_zone::Zone;
use crate::domain::users::preferences::{Preferences, Theme};
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::users::preferences;
use crate::refusals::users;
use askama::Template;

/// The fields of the card.
pub struct PreferenceFields {
    languages: Vec<Choice>,
    themes: Vec<Choice>,
    /// By area, such as `Europe`.
    zones: Vec<(String, Vec<Choice>)>,
    is_utc: bool,
    /// The field that was refused, and the reason.
    refused: (String, String),
}

/// The card within a page.
#[derive(Template)]
#[template(path = "console/preferences.html")]
pub struct PreferencesCard<'a> {
    s: &'a Layout,
    p: &'a PreferenceFields,
}

#[derive(Template)]
#[template(path = "console/preferences_page.html")]
struct PreferencesPage {
    s: Layout,
    preferences: PreferenceFields,
}

impl PreferenceFields {
    /// The fields with the present choices of the user.
    pub fn of(visit: &Visit<'_>) -> PreferenceFields {
        PreferenceFields::new(visit, &visit.preferences, Default::default())
    }

    fn new(visit: &Visit<'_>, now: &Preferences, refused: (String, String)) -> PreferenceFields {
        let texts = visit.texts;
        let mut all = vec![Choice::of(
            "",
            texts.get("preferences.by_browser"),
            &now.language,
        )];
        let offered = languages::offered();
        all.extend(
            offered
                .iter()
                .map(|words| Choice::of(words.tag(), words.own_name(), &now.language)),
        );
        let theme =
            |theme: Theme, name| Choice::of(theme.word(), texts.get(name), now.theme.word());
        let mut zones: Vec<(String, Vec<Choice>)> = Vec::new();
        for name in Zone::names() {
            let (area, place) = name.split_once('/').unwrap_or((&name, &name));
            let choice = Choice::of(&name, place.replace('_', " "), &now.time_zone);
            match zones.last_mut().filter(|(last, _)| last == area) {
                Some((_, places)) => places.push(choice),
                None => zones.push((area.to_owned(), vec![choice])),
            }
        }
        PreferenceFields {
            languages: all,
            themes: vec![
                theme(Theme::Browser, "preferences.theme_system"),
                theme(Theme::Light, "preferences.theme_light"),
                theme(Theme::Dark, "preferences.theme_dark"),
            ],
            zones,
            is_utc: matches!(now.time_zone.as_str(), "" | "UTC"),
            refused,
        }
    }

    /// The rendered card.
    pub fn shown<'a>(&'a self, s: &'a Layout) -> PreferencesCard<'a> {
        PreferencesCard { s, p: self }
    }
}

/// `GET /console/account/preferences`: the card alone.
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        shown(visit, 200, &visit.preferences, Default::default())
    })
}

/// `POST /console/account/preferences`
pub fn set(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let (new, read) = chosen(form);
        let set = read.and_then(|()| preferences::set(call.app, &visit.caller, new.clone()));
        match set {
            Ok(()) => Ok(visit.done("preferences", &format!("{MOUNT}/account"))),
            Err(err) => match Refusal::of(visit.texts, &err) {
                Some(refusal) => {
                    let refused = (refusal.bare().to_owned(), refusal.why);
                    shown(visit, refusal.status, &new, refused)
                }
                None => Err(err),
            },
        }
    })
}

/// The choices of a form, and whether the form has only choices that there are.
fn chosen(form: &Form) -> (Preferences, Result<()>) {
    let theme = Theme::parse(form.text("theme"));
    let new = Preferences {
        theme: theme.unwrap_or_default(),
        language: form.text("language").to_owned(),
        time_zone: form.text("time_zone").to_owned(),
    };
    let offered = languages::offered();
    let is_offered =
        new.language.is_empty() || offered.iter().any(|words| words.tag() == new.language);
    let read = match (theme, is_offered) {
        (None, _) => Err(Error::invalid("theme", users::theme())),
        (_, false) => Err(Error::invalid("language", users::language())),
        _ => Ok(()),
    };
    (new, read)
}

fn shown(
    visit: &Visit<'_>,
    status: u16,
    now: &Preferences,
    refused: (String, String),
) -> Result<Reply> {
    let page = PreferencesPage {
        s: visit.shell(visit.texts.get("preferences.title"), Nav::Account),
        preferences: PreferenceFields::new(visit, now, refused),
    };
    html(status, &page)
}
