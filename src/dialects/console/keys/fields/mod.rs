//! The fields of the form of a key: which of them a policy has, their values, and the parsing of the form.

mod choices;
pub mod expiry;

use super::labels::Words;
use crate::dialects::console::auth::Visit;
pub use crate::dialects::console::form::{Choice, Input, Kind};
use crate::dialects::console::form::{day, end_of_day, number};
use crate::dialects::console::text::Texts;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::{Meaning, Member, NO_METADATA};
use crate::domain::policies::{AddressRule, Expiry, Policy, Presence, ReadOnlyBy};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::numbers;
use crate::ops::keys::members::KeyMembers;
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

/// The fields of the form that show or edit a member. `create` adds the field of the secret's prefix.
pub fn fields_of(member: Member) -> &'static [&'static str] {
    match member {
        Member::AllowedIps => &["allowed_ips"],
        Member::Catalog => &["catalog"],
        Member::Contact => &["contact"],
        Member::Description => &["description"],
        Member::ExpiresAt => &["expires_on"],
        Member::Metadata => &["metadata"],
        Member::Name => &["name"],
        Member::NotBefore => &["starts_on"],
        Member::Owner => &["owner"],
        Member::RateLimit => &["rate_limit", "rate_window", "rate_exact"],
        Member::ReadOnly => &["read_only"],
        Member::Scopes => &["scopes"],
        Member::UsesLeft => &["uses_left"],
        Member::Workspace => &["workspace"],
        // The form is that of a policy, and disabling is a button.
        Member::Enabled | Member::Policy => &[],
        Member::CreatedAt
        | Member::CreatedBy
        | Member::DeclaredDigest
        | Member::DeclaredName
        | Member::DeclaredState
        | Member::DeletedAt
        | Member::Held
        | Member::Hint
        | Member::Id
        | Member::Number
        | Member::RotatedAt
        | Member::SelfRotatedFrom
        | Member::Source
        | Member::Weak => &[],
    }
}

/// Whether few users need the fields of a member, so that they are folded.
fn is_folded(member: Member) -> bool {
    match member {
        // Every form has these.
        Member::ExpiresAt | Member::Owner | Member::ReadOnly | Member::Scopes => false,
        other => match other.meaning() {
            Meaning::Limit | Meaning::ForServices => true,
            Meaning::Identity | Meaning::Label | Meaning::State | Meaning::Switch => false,
        },
    }
}

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
        editable: &[Member],
        words: Words,
        typed: &Form,
        faults: &[Error],
    ) -> Result<KeyForm> {
        // The owner has no field in this form: the list of users is that of a new key.
        let is_open = |member: Member| member != Member::Owner && editable.contains(&member);
        let has = |name: &str| member_of(name).is_some_and(is_open) && has_meaning(policy, name);
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

/// The member of a key that a field shows or edits.
pub fn member_of(name: &str) -> Option<Member> {
    let mut members = Member::ALL.iter().copied();
    members.find(|member| fields_of(*member).contains(&name))
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
        None => {
            let names = |folded: bool| {
                let members = Member::ALL.iter().copied();
                let members = members.filter(move |member| is_folded(*member) == folded);
                let fields = members.flat_map(fields_of);
                fields.filter(|name| **name != "rate_window")
            };
            (
                names(false).filter_map(make).collect::<Result<_>>()?,
                names(true)
                    .chain(&["prefix"])
                    .filter_map(make)
                    .collect::<Result<_>>()?,
            )
        }
    };
    let is_shown = |name: &str| fields.iter().chain(&more).any(|input| input.name == name);
    let elsewhere = refused.iter().filter_map(|(field, reason)| match field {
        Some(name) if is_shown(name) => None,
        _ => Some(reason.as_str()),
    });
    let elsewhere = elsewhere.collect::<Vec<_>>().join(" ");
    let set = |input: &Input| {
        let second = matches!(&input.kind, Kind::Phrase { second: Some((_, value)), .. } if !value.is_empty());
        !input.refusal.is_empty() || !input.value.is_empty() || second
    };
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
        return (None, visit.texts.error(err));
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
        // Both numbers are in one sentence.
        ("rate_window", _) if words.section().is_none() => "rate_limit",
        (_, "rate_limit.window_s") if words.section().is_none() => "rate_limit",
        (_, "rate_limit.window_s") => "rate_window",
        (_, "rate_limit.exact") => "rate_exact",
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
    if name == "expires_on" && words.section().is_none() {
        return Ok(expiry::input(
            visit,
            Some(policy),
            typed,
            expiry::DEFAULT_DAYS,
        ));
    }
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
            let latest = policy
                .expiry_months_max
                .map(|months| now.end_of_day_after_months(months));
            let most = latest
                .into_iter()
                .chain(policy.expiry_s_max.map(|s| now.plus_s(s)))
                .min();
            let own = words.hint(policy, name);
            hint = match (most, required) {
                (Some(most), _) if own.is_some() => texts.with(
                    "hint.expires_last",
                    &texts.day_text(&texts.zone.last_whole_day(most)),
                ),
                (Some(most), _) => texts.with(
                    "hint.expires_by",
                    &texts.day_text(&texts.zone.last_whole_day(most)),
                ),
                (None, true) => texts.get("hint.expires_required").to_owned(),
                (None, false) => hint,
            };
            Kind::Date {
                least: texts.zone.local(now).date(),
                most: most
                    .map(|most| texts.zone.last_whole_day(most))
                    .unwrap_or_default(),
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
                opens: Vec::new(),
            };
            let on = typed.text("read_only") == "yes";
            Kind::Radios(vec![
                choice("yes", read, texts.get("hint.access_read"), on),
                choice("no", write, texts.get("hint.access_write"), !on),
            ])
        }
        "rate_exact" => {
            let word = if typed.text(name) == "yes" {
                "yes"
            } else {
                "no"
            };
            let choice = |value| Choice::of(value, texts.get(&format!("key.exact_{value}")), word);
            Kind::Radios(vec![choice("no"), choice("yes")])
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
        "rate_limit" if words.section().is_none() => Kind::Phrase {
            parts: parts(texts, "form.rate"),
            second: Some(("rate_window", typed.text("rate_window").to_owned())),
        },
        "uses_left" if words.section().is_none() => Kind::Phrase {
            parts: parts(texts, "form.uses"),
            second: None,
        },
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
        label: match words.section() {
            // A form asks where a page states.
            None => texts.find(&format!("asked.{name}")),
            Some(_) => None,
        }
        .unwrap_or_else(|| words.field(name)),
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

/// The parts of a text around its `{}`.
fn parts(texts: &Texts, name: &str) -> Vec<&'static str> {
    texts.get(name).split("{}").collect()
}

/// As [`read`], with the end of the key as a form of Latchkey's own keys asks for it.
pub fn read_for(visit: &Visit<'_>, policy: &Policy, form: &Form) -> (KeyMembers, Vec<Error>) {
    let (mut members, mut faults) = read(visit.texts, form);
    match expiry::read(visit.texts, form, Some(policy), visit.call.app.now().wall) {
        Ok(None) => {}
        Ok(Some(end)) => members.expires_at = Some(end),
        // A day that is none is among the faults already.
        Err(fault) => {
            let known =
                |it: &Error| matches!(it, Error::Invalid { field, .. } if field == "expires_on");
            if !faults.iter().any(known) {
                faults.push(fault);
            }
        }
    }
    (members, faults)
}

/// Parses the fields of a form, and collects the faults.
pub fn read(texts: &Texts, form: &Form) -> (KeyMembers, Vec<Error>) {
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
    let expires_at = collected(end_of_day(texts, form, "expires_on"), &mut faults);
    let not_before = collected(day(texts, form, "starts_on"), &mut faults);
    let mut numbers = |name: &str| collected(number(texts, form, name), &mut faults);
    let (limit, window) = (numbers("rate_limit"), numbers("rate_window"));
    let uses_left = numbers("uses_left");
    let metadata = collected(metadata(texts, form).map(Some), &mut faults);
    let members = KeyMembers {
        name: Some(form.text("name").to_owned()),
        description: Some(form.text("description").to_owned()),
        contact: Some(form.text("contact").to_owned()),
        owner: owner(form),
        scopes: Some(scopes),
        read_only: Some(form.text("read_only") == "yes"),
        enabled: None,
        not_before: Some(not_before),
        expires_at: Some(expires_at),
        expires_in_s: None,
        allowed_ips: Some(lines("allowed_ips")),
        rate_limit: Some(limit.map(|limit| RateLimit {
            limit,
            window_s: window.unwrap_or(60),
            exact: form.text("rate_exact") == "yes",
        })),
        uses_left: Some(uses_left),
        metadata: Some(metadata.unwrap_or_default()),
    };
    (members, faults)
}

/// The value that stands for "no owner" in the list of owners. No user can have this name.
pub const NO_OWNER: &str = ":nobody";

/// The selected owner; `None` if the field is empty, so that the server decides.
fn owner(form: &Form) -> Option<Option<String>> {
    form.some("owner")
        .map(|owner| Some(owner).filter(|owner| owner != NO_OWNER))
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

/// The form with the values of an existing key.
pub fn filled(texts: &Texts, view: &View) -> Form {
    let key = &view.key;
    let mut form = Form::default();
    let life = key.expires_at.map_or(expiry::NEVER, |_| expiry::DATE);
    form.put("life", life);
    let day = |at: Timestamp| texts.zone.local(at).date();
    for member in Member::ALL {
        let value = match member {
            Member::AllowedIps => key.allowed_ips.as_ref().map(|list| {
                let lines: Vec<String> = list.blocks().iter().map(ToString::to_string).collect();
                lines.join("\n")
            }),
            Member::ExpiresAt => key.expires_at.map(|end| day(Timestamp(end.0 - 1))),
            Member::Metadata => Some(&key.metadata)
                .filter(|text| *text != NO_METADATA)
                .cloned(),
            Member::NotBefore => key.not_before.map(day),
            Member::Owner => view.owner.clone(),
            Member::RateLimit => {
                let window = key.rate_limit.map(|rate| rate.window_s.to_string());
                form.put("rate_window", window.unwrap_or_default());
                let is_exact = key.rate_limit.is_some_and(|rate| rate.exact);
                form.put("rate_exact", if is_exact { "yes" } else { "no" });
                key.rate_limit.map(|rate| rate.limit.to_string())
            }
            Member::ReadOnly => Some(if key.read_only { "yes" } else { "no" }.to_owned()),
            Member::Scopes => {
                match key.catalog {
                    None => form.put("scopes_free", key.scopes.join("\n")),
                    Some(_) => key
                        .scopes
                        .iter()
                        .for_each(|scope| form.put("scopes[]", &**scope)),
                }
                continue;
            }
            Member::Workspace => Some(view.workspace.clone()),
            // The text of these is the same in the form and in the audit log.
            other => other.text(key),
        };
        if let Some(name) = fields_of(*member).first() {
            form.put(name, value.unwrap_or_default());
        }
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::english;

    /// A member without a field could not be set in the console, and one without words would have no label.
    #[test]
    fn every_member_that_can_be_set_has_fields_with_a_label_and_a_hint() {
        for member in Member::ALL {
            for name in fields_of(*member) {
                for text in [format!("field.{name}"), format!("hint.{name}")] {
                    assert!(english().find(&text).is_some(), "en.txt has no {text}");
                }
            }
        }
        for member in Member::editable() {
            let word = member.word();
            assert!(!fields_of(member).is_empty(), "{word}");
            let text = format!("editable.{word}");
            assert!(english().find(&text).is_some(), "en.txt has no {text}");
        }
    }
}
