//! The fields of the form of a key: which of them a policy has, their values, and the parsing of the form.

mod choices;

use super::labels::Words;
use crate::dialects::console::auth::Visit;
pub use crate::dialects::console::form::{Choice, Input, Kind};
use crate::dialects::console::form::{day, number};
use crate::dialects::console::text::Texts;
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::{AddressRule, Expiry, Field, Policy, Presence, ReadOnlyBy};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::numbers;
use crate::ops::keys::{View, offered};
use crate::refusals::verbatim;

/// A form that is ready to be rendered.
pub struct KeyForm {
    /// The fields that are always visible, in order.
    pub fields: Vec<Input>,
    /// The fields that few users need; they are folded.
    pub more: Vec<Input>,
    /// Whether the folded fields are open, because one of them was refused or has a value.
    pub more_open: bool,
    /// The refusal that concerns the whole form.
    pub refusal: Option<String>,
}

/// The parsed values of a form.
#[derive(Debug, Default)]
pub struct Typed {
    pub expires_at: Option<Timestamp>,
    pub not_before: Option<Timestamp>,
    pub allowed_ips: Option<Vec<String>>,
    pub rate_limit: Option<RateLimit>,
    pub uses_left: Option<u64>,
    pub scopes: Vec<String>,
    pub read_only: bool,
    /// A compact JSON object; empty if there is none.
    pub metadata: String,
}

/// A key that expires on a day works until the end of that day.
const DAY_S: u64 = 86_400;

/// The names of all fields in the order of the form; the ones that few users need come last.
const ALL: &[&str] = &[
    "name",
    "description",
    "workspace",
    "owner",
    "catalog",
    "scopes",
    "read_only",
    "expires_on",
];
const MORE: &[&str] = &[
    "allowed_ips",
    "rate_limit",
    "rate_window",
    "uses_left",
    "starts_on",
    "metadata",
    "prefix",
];

impl KeyForm {
    /// The form for a new key of a policy.
    pub fn create(
        visit: &Visit<'_>,
        policy: &Policy,
        words: Words,
        typed: &Form,
        faults: &[Error],
    ) -> Result<KeyForm> {
        let has = |name: &str| match name {
            "catalog" => policy.catalog.is_none(),
            _ => has_meaning(policy, name),
        };
        let mut form = build(visit, policy, words, typed, faults, &has)?;
        // Without a field for the workspace, the key belongs to the user's own one.
        let home = visit.home();
        let has_workspace = words
            .section()
            .is_none_or(|section| section.has("workspace"));
        let workspace = (!has_workspace).then_some(home.as_str());
        if offered::only_reads(visit.call.app, &visit.caller, policy, workspace) {
            form.offer_only_reading(visit.texts);
        }
        Ok(form)
    }

    /// The form for the members of a key that the caller may change.
    pub fn edit(
        visit: &Visit<'_>,
        policy: &Policy,
        editable: &[Field],
        words: Words,
        typed: &Form,
        faults: &[Error],
    ) -> Result<KeyForm> {
        let has = |name: &str| {
            field_of(name).is_some_and(|field| editable.contains(&field))
                && has_meaning(policy, name)
        };
        build(visit, policy, words, typed, faults, &has)
    }
}

impl KeyForm {
    /// Leaves only the read-only choice of `read_only`, selects it, and explains why it is the only one.
    fn offer_only_reading(&mut self, texts: &Texts) {
        for input in self.fields.iter_mut().chain(&mut self.more) {
            let Kind::Radios(choices) = &mut input.kind else {
                continue;
            };
            if input.name != "read_only" {
                continue;
            }
            choices.retain(|choice| choice.value == "yes");
            for choice in choices {
                choice.chosen = true;
                choice.hint = format!("{} {}", choice.hint, texts.get("hint.access_only_read"));
            }
        }
    }
}

/// Whether keys of a policy can have this field; if not, no page asks for it or displays it.
pub fn has_meaning(policy: &Policy, name: &str) -> bool {
    match name {
        "owner" => policy.owner != Presence::Forbidden,
        "scopes" => policy.scopes != Presence::Forbidden,
        "read_only" => policy.read_only_by != ReadOnlyBy::Scope,
        "expires_on" => policy.expiry != Expiry::Forbidden,
        "allowed_ips" => policy.addresses != AddressRule::Off,
        _ => true,
    }
}

/// Whether pages display this field for keys of a policy: keys of the policy can have it, and if the system has its own
/// words, it is one of the system's fields.
pub fn is_shown(policy: &Policy, words: Words, name: &str) -> bool {
    has_meaning(policy, name) && words.section().is_none_or(|section| section.has(name))
}

/// The member of a key that a field edits.
pub fn field_of(name: &str) -> Option<Field> {
    Some(match name {
        "name" => Field::Name,
        "description" => Field::Description,
        "scopes" => Field::Scopes,
        "read_only" => Field::ReadOnly,
        "expires_on" => Field::ExpiresAt,
        "starts_on" => Field::NotBefore,
        "allowed_ips" => Field::AllowedIps,
        "rate_limit" | "rate_window" => Field::RateLimit,
        "uses_left" => Field::UsesLeft,
        "metadata" => Field::Metadata,
        _ => return None,
    })
}

fn build(
    visit: &Visit<'_>,
    policy: &Policy,
    words: Words,
    typed: &Form,
    faults: &[Error],
    has: &dyn Fn(&str) -> bool,
) -> Result<KeyForm> {
    let refused: Vec<(Option<String>, String)> = faults
        .iter()
        .map(|err| refusal(visit, words, err))
        .collect();
    // A field displays its first fault; a list displays each faulty line.
    let said = |name: &str| -> String {
        let mut about = refused
            .iter()
            .filter(|(field, _)| field.as_deref() == Some(name))
            .map(|(_, reason)| reason.as_str());
        let lines = texts_of_lines(visit);
        let first: Vec<&str> = about.by_ref().take(1).collect();
        let is_line = first.first().is_some_and(|first| first.starts_with(&lines));
        let others = about.filter(|reason| is_line && reason.starts_with(&lines));
        first
            .into_iter()
            .chain(others)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let make = |name: &&'static str| -> Option<Result<Input>> {
        has(name).then(|| {
            let mut input = input(visit, policy, words, typed, name)?;
            input.refusal = said(name);
            Ok(input)
        })
    };
    let (fields, more): (Vec<Input>, Vec<Input>) = match words.section() {
        Some(section) => {
            let named = section.fields.iter().map(|(name, _)| name);
            (named.filter_map(make).collect::<Result<_>>()?, Vec::new())
        }
        None => (
            ALL.iter().filter_map(make).collect::<Result<_>>()?,
            MORE.iter().filter_map(make).collect::<Result<_>>()?,
        ),
    };
    let is_shown = |name: &str| fields.iter().chain(&more).any(|input| input.name == name);
    let elsewhere = refused.iter().filter_map(|(field, reason)| match field {
        Some(name) if is_shown(name) => None,
        _ => Some(reason.as_str()),
    });
    let elsewhere = elsewhere.collect::<Vec<_>>().join(" ");
    let set = |input: &Input| !input.refusal.is_empty() || !input.value.is_empty();
    Ok(KeyForm {
        more_open: more.iter().any(set),
        refusal: (!elsewhere.is_empty()).then_some(elsewhere),
        fields,
        more,
    })
}

/// The text with which the refusal of one line of a list begins.
fn texts_of_lines(visit: &Visit<'_>) -> String {
    let line = visit.texts.get("form.line");
    line.split("{}").next().unwrap_or(line).to_owned()
}

/// The name of the field on the page that an error concerns, and the message.
fn refusal(visit: &Visit<'_>, words: Words, err: &Error) -> (Option<String>, String) {
    let Error::Invalid { field, reason } = err else {
        return (None, visit.texts.sentence(&err.refusal()));
    };
    let bare = field.split(['[', '.']).next().unwrap_or(field);
    let place = field
        .split(['[', ']'])
        .nth(1)
        .and_then(|position| position.parse::<u64>().ok());
    let name = match (bare, field.as_str()) {
        ("expires_at" | "expires_in_s", _) => "expires_on",
        ("not_before", _) => "starts_on",
        // The name is derived from the description, which is what the user typed.
        ("name", _) if words.is_described() => "description",
        (_, "rate_limit.window_s") => "rate_window",
        (bare, _) => bare,
    };
    let reason = match place {
        Some(position) if name == "allowed_ips" => {
            let line = visit.texts.with("form.line", &(position + 1).to_string());
            visit
                .texts
                .sentence(&verbatim(format!("{line} {}", visit.texts.refusal(reason))))
        }
        _ => visit.texts.sentence(reason),
    };
    (Some(name.to_owned()), reason)
}

fn input(
    visit: &Visit<'_>,
    policy: &Policy,
    words: Words,
    typed: &Form,
    name: &'static str,
) -> Result<Input> {
    let texts = visit.texts;
    let mut hint = texts.get(&format!("hint.{name}")).to_owned();
    let mut required = matches!(name, "name" | "workspace" | "read_only")
        || name == "description" && words.is_described();
    let kind = match name {
        "allowed_ips" => {
            hint = match policy.addresses {
                AddressRule::Exact => texts.get("hint.allowed_ips_exact"),
                _ => texts.get("hint.allowed_ips"),
            }
            .to_owned();
            Kind::Lines(4)
        }
        "catalog" => Kind::Select(choices::catalogs(visit, typed)?),
        "expires_on" => {
            required = policy.expiry == Expiry::Required;
            let now = visit.call.app.now().wall;
            let day = |at: Timestamp| at.to_string().chars().take(10).collect::<String>();
            let latest = policy
                .expiry_months_max
                .map(|months| now.end_of_day_after_months(months));
            let most = latest
                .into_iter()
                .chain(policy.expiry_s_max.map(|s| now.plus_s(s)))
                .min();
            let own = words.hint(policy, name);
            hint = match (most, required) {
                (Some(most), _) if own.is_some() => {
                    texts.with("hint.expires_last", &last_day(most))
                }
                (Some(most), _) => texts.with("hint.expires_by", &last_day(most)),
                (None, true) => texts.get("hint.expires_required").to_owned(),
                (None, false) => hint,
            };
            Kind::Date {
                least: day(now),
                most: most.map(last_day).unwrap_or_default(),
            }
        }
        "metadata" => Kind::Lines(4),
        "owner" => Kind::Select(choices::owners(visit, policy, typed)?),
        "read_only" => {
            let (read, write) = words.access();
            let choice = |value: &str, label: &str, hint: &str, chosen| Choice {
                value: value.to_owned(),
                label: label.to_owned(),
                hint: hint.to_owned(),
                chosen,
            };
            let on = typed.text("read_only") == "yes";
            Kind::Radios(vec![
                choice("yes", read, texts.get("hint.access_read"), on),
                choice("no", write, texts.get("hint.access_write"), !on),
            ])
        }
        "scopes" => {
            required = policy.scopes == Presence::Required;
            let one_of = words.section().and_then(|section| section.scopes);
            match choices::scopes(visit, policy, words, typed)? {
                Some(mut choices) if one_of.is_some() => {
                    choices.retain(|choice| one_of.is_some_and(|of| of.contains(&&*choice.value)));
                    for choice in &mut choices {
                        choice.chosen = typed.text("scopes") == choice.value;
                    }
                    hint = texts.get("hint.scopes_one").to_owned();
                    Kind::Radios(choices)
                }
                Some(choices) => Kind::Boxes(choices),
                None => {
                    hint = texts.get("hint.scopes_free").to_owned();
                    Kind::Lines(4)
                }
            }
        }
        "starts_on" => Kind::Date {
            least: String::new(),
            most: String::new(),
        },
        "rate_limit" | "rate_window" | "uses_left" => Kind::Number,
        "workspace" => Kind::Select(choices::workspaces(visit, typed)?),
        _ => Kind::Text,
    };
    let value = match (&kind, name) {
        (Kind::Boxes(_) | Kind::Radios(_) | Kind::Select(_), _) => String::new(),
        (_, "scopes") => typed.text("scopes_free").to_owned(),
        _ => typed.text(name).to_owned(),
    };
    let (own, is_day) = (words.hint(policy, name), matches!(kind, Kind::Date { .. }));
    Ok(Input {
        name,
        label: words.field(name),
        // The system's own hint comes first; the last possible day always comes from the console.
        hint: match own {
            Some(own) if is_day => format!("{own} {hint}"),
            Some(own) => own.to_owned(),
            None => hint,
        },
        link: match name {
            "scopes" => choices::overview(visit, policy, words, typed),
            _ => None,
        },
        kind,
        value,
        required,
        refusal: String::new(),
    })
}

impl Typed {
    /// Parses the fields that are not plain text, and collects the faults.
    pub fn read(texts: &Texts, form: &Form) -> (Typed, Vec<Error>) {
        let mut faults = Vec::new();
        let lines = |name: &str| -> Option<Vec<String>> {
            let lines = form.text(name).lines().map(str::trim);
            let lines: Vec<String> = lines
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect();
            (!lines.is_empty()).then_some(lines)
        };
        let mut scopes = form.all("scopes[]");
        let free = form.text("scopes_free").split_whitespace();
        scopes.extend(free.map(str::to_owned));
        scopes.extend(form.some("scopes"));
        let mut days = |name: &str| collected(day(texts, form, name), &mut faults);
        let (expires_on, not_before) = (days("expires_on"), days("starts_on"));
        let mut numbers = |name: &str| collected(number(texts, form, name), &mut faults);
        let (limit, window) = (numbers("rate_limit"), numbers("rate_window"));
        let uses_left = numbers("uses_left");
        let metadata = collected(metadata(texts, form).map(Some), &mut faults);
        let typed = Typed {
            expires_at: expires_on.map(|day| day.plus_s(DAY_S)),
            not_before,
            allowed_ips: lines("allowed_ips"),
            rate_limit: limit.map(|limit| RateLimit {
                limit,
                window_s: window.unwrap_or(60),
            }),
            uses_left,
            scopes,
            read_only: form.text("read_only") == "yes",
            metadata: metadata.unwrap_or_default(),
        };
        (typed, faults)
    }
}

/// The parsed value; a fault is collected, and its field counts as empty.
fn collected<T>(read: Result<Option<T>>, faults: &mut Vec<Error>) -> Option<T> {
    read.unwrap_or_else(|fault| {
        faults.push(fault);
        None
    })
}

/// Parses a JSON object and returns it in compact form.
fn metadata(texts: &Texts, form: &Form) -> Result<String> {
    let Some(text) = form.some("metadata") else {
        return Ok(String::new());
    };
    let refused = || Error::invalid_text("metadata", texts.get("refusal.metadata"));
    numbers::check_whole(text.as_bytes(), "metadata")?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|_| refused())?;
    match value.is_object() {
        true => Ok(value.to_string()),
        false => Err(refused()),
    }
}

/// The last day on which something works that ends at `end`.
pub fn last_day(end: Timestamp) -> String {
    let last = Timestamp(end.0 - 1).to_string();
    last.chars().take(10).collect()
}

/// The form with the values of an existing key.
pub fn filled(view: &View) -> Form {
    let key = &view.key;
    let mut form = Form::default();
    form.put("name", &*key.name);
    form.put("description", &*key.description);
    form.put("workspace", &*view.workspace);
    form.put("owner", view.owner.as_deref().unwrap_or(""));
    form.put("catalog", key.catalog.as_deref().unwrap_or(""));
    match key.catalog {
        None => form.put("scopes_free", key.scopes.join("\n")),
        Some(_) => key
            .scopes
            .iter()
            .for_each(|scope| form.put("scopes[]", &**scope)),
    }
    form.put("read_only", if key.read_only { "yes" } else { "no" });
    let day = |at: Timestamp| at.to_string().chars().take(10).collect::<String>();
    form.put(
        "expires_on",
        key.expires_at.map(last_day).unwrap_or_default(),
    );
    form.put("starts_on", key.not_before.map(day).unwrap_or_default());
    let addresses = key.allowed_ips.as_ref().map(|list| {
        let lines: Vec<String> = list.blocks().iter().map(ToString::to_string).collect();
        lines.join("\n")
    });
    form.put("allowed_ips", addresses.unwrap_or_default());
    let rate = key.rate_limit;
    form.put(
        "rate_limit",
        rate.map(|rate| rate.limit.to_string()).unwrap_or_default(),
    );
    form.put(
        "rate_window",
        rate.map(|rate| rate.window_s.to_string())
            .unwrap_or_default(),
    );
    form.put(
        "uses_left",
        key.uses_left
            .map(|uses| uses.to_string())
            .unwrap_or_default(),
    );
    let metadata = Some(&key.metadata).filter(|text| *text != "{}");
    form.put("metadata", metadata.cloned().unwrap_or_default());
    form
}
