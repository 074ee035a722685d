//! The field for the end of a key: some periods, a day, or never. It needs no script.

use crate::dialects::console::auth::Visit;
use crate::dialects::console::form::{Choice, Input, Kind, end_of_day};
use crate::dialects::console::text::Texts;
use crate::domain::policies::{Expiry, Policy};
use crate::domain::time::Timestamp;
use crate::domain::time_zone::Zone;
use crate::error::{Error, Result};
use crate::http::form::Form;

const DAY_S: u64 = 86_400;
/// The periods that are offered, in days.
const PERIODS: [u64; 4] = [7, 30, 90, 365];
/// The period of a new key, if its policy permits it.
pub const DEFAULT_DAYS: &str = "90";
/// The values of the field that are no period.
pub const DATE: &str = "date";
/// See [`DATE`].
pub const NEVER: &str = "never";

/// The end that a period has if it begins now: the end of a day in the zone, or the last moment that the policy permits.
fn end_of(days: u64, latest: Option<Timestamp>, now: Timestamp, zone: &Zone) -> Option<Timestamp> {
    let exact = now.plus_s(days * DAY_S);
    let end = zone.end_of_day(&zone.local(exact).date())?;
    match latest {
        Some(latest) if exact > latest => None,
        Some(latest) => Some(end.min(latest)),
        None => Some(end),
    }
}

/// The field. `chosen` is selected if the form has no choice yet.
pub fn input(visit: &Visit<'_>, policy: Option<&Policy>, typed: &Form, chosen: &str) -> Input {
    let (texts, now) = (visit.texts, visit.call.app.now().wall);
    let latest = policy.and_then(|policy| policy.latest_end(now));
    let is_required = policy.is_some_and(|policy| policy.expiry == Expiry::Required);
    let periods = PERIODS.into_iter().filter_map(|days| {
        let end = end_of(days, latest, now, &texts.zone)?;
        Some((
            days.to_string(),
            texts.count("expiry.days", days),
            texts.day_text(&texts.zone.last_whole_day(end)),
        ))
    });
    let mut all: Vec<(String, String, String)> = periods.collect();
    let last_period = all.last().map(|(value, ..)| value.clone());
    all.push((
        DATE.to_owned(),
        texts.get("expiry.date").to_owned(),
        String::new(),
    ));
    if !is_required {
        all.push((
            NEVER.to_owned(),
            texts.get("expiry.never").to_owned(),
            String::new(),
        ));
    }
    let wanted = typed.some("life").unwrap_or_else(|| chosen.to_owned());
    let known = all.iter().any(|(value, ..)| *value == wanted);
    let chosen = match known {
        true => wanted,
        false => last_period.unwrap_or_else(|| DATE.to_owned()),
    };
    let choices = all.into_iter().map(|(value, label, hint)| Choice {
        hint,
        ..Choice::of(value, label, &chosen)
    });
    Input {
        name: "expires_on",
        label: texts.get("expiry.label"),
        hint: match latest {
            Some(latest) => texts.with(
                "hint.expires_by",
                &texts.day_text(&texts.zone.last_whole_day(latest)),
            ),
            None if is_required => texts.get("hint.expires_required").to_owned(),
            None => texts.get("expiry.hint").to_owned(),
        },
        link: None,
        kind: Kind::Life {
            choices: choices.collect(),
            least: texts.zone.local(now).date(),
            most: latest
                .map(|latest| texts.zone.last_whole_day(latest))
                .unwrap_or_default(),
        },
        value: typed.text("expires_on").to_owned(),
        required: is_required,
        refusal: String::new(),
    }
}

/// The end that the form asks for; `None` if the form has no such field.
pub fn read(
    texts: &Texts,
    form: &Form,
    policy: Option<&Policy>,
    now: Timestamp,
) -> Result<Option<Option<Timestamp>>> {
    let refused = |name: &str| Error::invalid_text("expires_on", texts.get(name));
    let on = end_of_day(texts, form, "expires_on")?;
    // The day of a key that is edited is there before anybody types one.
    let before = Form::parse(form.text("before"))?;
    let is_typed = on.is_some() && before.text("expires_on") != form.text("expires_on");
    let latest = policy.and_then(|policy| policy.latest_end(now));
    match form.text("life") {
        "" => Ok(None),
        DATE => on
            .map(|end| Some(Some(end)))
            .ok_or_else(|| refused("expiry.no_day")),
        _ if is_typed => Err(refused("expiry.both")),
        NEVER => Ok(Some(None)),
        text => {
            let days = PERIODS.into_iter().find(|days| days.to_string() == text);
            let end = days.and_then(|days| end_of(days, latest, now, &texts.zone));
            end.map(|end| Some(Some(end)))
                .ok_or_else(|| refused("refusal.choice"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::english;

    const NOON: &str = "2026-11-29T12:00:00Z";

    #[track_caller]
    fn check(form: &str, expected: std::result::Result<Option<Option<&str>>, ()>) {
        let now = Timestamp::parse("now", NOON).unwrap();
        let form = Form::parse(form).unwrap();
        let found = read(english(), &form, None, now).map_err(drop);
        let found = found.map(|found| found.map(|end| end.map(|end| end.to_string())));
        let expected = expected.map(|end| end.map(|end| end.map(str::to_owned)));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_period_ends_with_its_last_day_and_two_answers_are_none() {
        check("", Ok(None));
        check("expires_on=2027-01-01", Ok(None));
        check("life=7", Ok(Some(Some("2026-12-07T00:00:00Z"))));
        check(
            "life=date&expires_on=2027-01-01",
            Ok(Some(Some("2027-01-02T00:00:00Z"))),
        );
        check("life=never", Ok(Some(None)));
        check("life=date", Err(()));
        check("life=8", Err(()));
        check("life=7&expires_on=2027-01-01", Err(()));
        check("life=never&expires_on=soon", Err(()));
        let kept = "life=never&expires_on=2027-01-01&before=expires_on%3D2027-01-01";
        check(kept, Ok(Some(None)));
    }

    #[test]
    fn a_period_never_passes_the_end_that_a_policy_permits() {
        let now = Timestamp::parse("now", NOON).unwrap();
        let exactly = now.plus_s(30 * DAY_S);
        let end = |days| end_of(days, Some(exactly), now, &Zone::utc());
        assert_eq!(end(30), Some(exactly));
        assert_eq!(end(31), None);
        assert_eq!(end(7).unwrap().to_string(), "2026-12-07T00:00:00Z");
    }
}
