//! The form of a policy: its fields in groups, their values, and the parsing of the form.

use crate::dialects::console::auth::Visit;
use crate::dialects::console::form::{Choice, Input, Kind, Refusal, number};
use crate::dialects::console::text::Texts;
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::roles::RoleRule;
use crate::domain::policies::{
    AddressRule, AtMax, CredentialHeader, Editable, Expiry, Field, IssuedBy, Policy, Presence,
    ReadOnlyBy, SecretShown, SelfRotation, TiedTo, Words, from_word, word, words,
};
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::ops::catalogs;
use crate::ops::policies::PolicyEdit;

/// A form that is ready to be rendered.
pub struct PolicyForm {
    pub groups: Vec<Group>,
    /// The refusal that concerns no single field.
    pub refusal: Option<String>,
}

/// A group of fields with a heading.
pub struct Group {
    pub title: &'static str,
    pub fields: Vec<Input>,
}

/// The heading of each group, and the names of its fields.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "policy_form.about",
        &["name", "description", "issued_by", "owner", "tied_to"],
    ),
    (
        "policy_form.may",
        &["catalog", "scopes", "read_only_by", "addresses"],
    ),
    (
        "policy_form.life",
        &["expiry", "life_max", "life_unit", "months_max"],
    ),
    ("policy_form.secret", &["headers", "prefix", "secret_shown"]),
    (
        "policy_form.limits",
        &[
            "per_workspace",
            "per_owner",
            "at_owner_max",
            "rate_limit",
            "rate_window",
            "rate_max",
            "rate_max_window",
        ],
    ),
    (
        "policy_form.later",
        &["editable", "rules", "self_rotation", "roles"],
    ),
];

/// The members of a policy that are switches.
const RULES: &[&str] = &[
    "can_disable",
    "can_rotate",
    "confirm_name",
    "name_unique",
    "acts_for_owner",
];

/// The units of a lifetime in seconds, the largest first.
const UNITS: &[(&str, u64)] = &[
    ("days", 86_400),
    ("hours", 3_600),
    ("minutes", 60),
    ("seconds", 1),
];
/// The maximum lifetime. The policy would refuse a longer one too, but with a message in seconds.
const LIFE_DAYS_MAX: u64 = 36_600;

impl PolicyForm {
    /// `typed` contains the values of the fields. The name of an existing policy cannot be edited.
    pub fn new(
        visit: &Visit<'_>,
        typed: &Form,
        is_new: bool,
        refusal: Option<&Refusal>,
    ) -> Result<PolicyForm> {
        let (field, why) = match refusal {
            Some(refusal) => (field_of(refusal), refusal.why.as_str()),
            None => ("", ""),
        };
        let mut groups = Vec::new();
        for (title, names) in GROUPS {
            let shown = names.iter().filter(|name| is_new || **name != "name");
            let fields = shown.map(|name| {
                let mut input = input(visit, typed, name)?;
                if *name == field {
                    why.clone_into(&mut input.refusal);
                }
                Ok(input)
            });
            groups.push(Group {
                title: visit.texts.get(title),
                fields: fields.collect::<Result<_>>()?,
            });
        }
        let told = groups
            .iter()
            .flat_map(|group| &group.fields)
            .any(|input| !input.refusal.is_empty());
        Ok(PolicyForm {
            groups,
            refusal: refusal.filter(|_| !told).map(|refusal| refusal.why.clone()),
        })
    }
}

/// The name of the field on the page that a refusal concerns.
fn field_of(refusal: &Refusal) -> &str {
    match (refusal.member.as_str(), refusal.bare()) {
        ("rate_limit.window_s", _) => "rate_window",
        ("rate_limit_max.window_s", _) => "rate_max_window",
        (_, "rate_limit_max") => "rate_max",
        (_, "expiry_s_max") => "life_max",
        (_, "expiry_months_max") => "months_max",
        (_, "keys_per_workspace_max") => "per_workspace",
        (_, "keys_per_owner_max") => "per_owner",
        (_, bare) if RULES.contains(&bare) => "rules",
        (_, bare) => bare,
    }
}

fn input(visit: &Visit<'_>, typed: &Form, name: &'static str) -> Result<Input> {
    let texts = visit.texts;
    let kind = match name {
        "issued_by" => select::<IssuedBy>(texts, typed, name),
        "owner" | "scopes" => select::<Presence>(texts, typed, name),
        "tied_to" => select::<TiedTo>(texts, typed, name),
        "read_only_by" => select::<ReadOnlyBy>(texts, typed, name),
        "addresses" => select::<AddressRule>(texts, typed, name),
        "at_owner_max" => select::<AtMax>(texts, typed, name),
        "expiry" => select::<Expiry>(texts, typed, name),
        "secret_shown" => select::<SecretShown>(texts, typed, name),
        "self_rotation" => select::<SelfRotation>(texts, typed, name),
        "catalog" => Kind::Select(catalog_choices(visit, typed)?),
        "life_unit" => {
            let unit = |(unit, _): &(&str, u64)| {
                let label = texts.get(&format!("unit.{unit}"));
                Choice::of(*unit, label, typed.text(name))
            };
            Kind::Select(UNITS.iter().map(unit).collect())
        }
        "life_max" | "months_max" | "per_workspace" | "per_owner" | "rate_limit"
        | "rate_window" | "rate_max" | "rate_max_window" => Kind::Number,
        "editable" => {
            let words = [vec![Editable::ALL], words::<Field>()].concat();
            Kind::Boxes(boxes(typed, name, &words, |word| match word {
                Editable::ALL => texts.get("editable.all"),
                word => texts.get(&format!("editable.{word}")),
            }))
        }
        "roles" => Kind::Lines(5),
        "rules" => Kind::Boxes(boxes(typed, name, RULES, |rule| {
            texts.get(&format!("rule.{rule}"))
        })),
        _ => Kind::Text,
    };
    Ok(Input {
        link: None,
        name,
        label: texts.get(&format!("policy_field.{name}")),
        hint: texts.get(&format!("policy_hint.{name}")).to_owned(),
        required: matches!(kind, Kind::Select(_) | Kind::Boxes(_))
            || matches!(name, "name" | "headers"),
        value: match kind {
            Kind::Boxes(_) | Kind::Select(_) => String::new(),
            _ => typed.text(name).to_owned(),
        },
        kind,
        refusal: String::new(),
    })
}

fn select<T: Words>(texts: &Texts, typed: &Form, name: &str) -> Kind {
    let choice = |word: &'static str| {
        let label = texts.get(&format!("policy_{name}.{word}"));
        Choice::of(word, label, typed.text(name))
    };
    Kind::Select(words::<T>().into_iter().map(choice).collect())
}

fn boxes(
    typed: &Form,
    name: &str,
    all: &[&'static str],
    label: impl Fn(&str) -> &'static str,
) -> Vec<Choice> {
    let ticked = typed.all(&format!("{name}[]"));
    let one = |word: &&'static str| Choice {
        value: (*word).to_owned(),
        label: label(word).to_owned(),
        hint: String::new(),
        chosen: ticked.iter().any(|ticked| ticked == word),
    };
    all.iter().map(one).collect()
}

fn catalog_choices(visit: &Visit<'_>, typed: &Form) -> Result<Vec<Choice>> {
    let found = match catalogs::list(visit.call.app, &visit.caller) {
        Err(Error::Forbidden(_)) => Vec::new(),
        other => other?,
    };
    let chosen = typed.text("catalog");
    let any = Choice::of("", visit.texts.get("policy_form.any_catalog"), chosen);
    let named = found
        .iter()
        .map(|catalog| Choice::of(catalog.name(), catalog.name(), chosen));
    Ok(std::iter::once(any).chain(named).collect())
}

/// The form with the values of a policy.
pub fn filled(policy: &Policy) -> Form {
    let mut form = Form::default();
    let some = |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
    let headers: Vec<&str> = policy
        .headers
        .iter()
        .map(CredentialHeader::as_str)
        .collect();
    let (life, unit) = match policy.expiry_s_max {
        None => (None, UNITS[0].0),
        Some(seconds) => {
            let fitting = UNITS.iter().find(|(_, size)| seconds % size == 0);
            let (unit, size) = fitting.unwrap_or(&UNITS[UNITS.len() - 1]);
            (Some(seconds / size), *unit)
        }
    };
    let (rate, most) = (policy.rate_limit, policy.rate_limit_max);
    for (name, value) in [
        ("description", policy.description.clone()),
        ("issued_by", word(policy.issued_by).to_owned()),
        ("owner", word(policy.owner).to_owned()),
        ("tied_to", word(policy.tied_to).to_owned()),
        ("catalog", policy.catalog.clone().unwrap_or_default()),
        ("scopes", word(policy.scopes).to_owned()),
        ("read_only_by", word(policy.read_only_by).to_owned()),
        ("addresses", word(policy.addresses).to_owned()),
        ("expiry", word(policy.expiry).to_owned()),
        ("life_max", some(life)),
        ("life_unit", unit.to_owned()),
        ("months_max", some(policy.expiry_months_max.map(u64::from))),
        ("headers", headers.join(" ")),
        ("prefix", policy.prefix.clone()),
        ("secret_shown", word(policy.secret_shown).to_owned()),
        ("self_rotation", word(policy.self_rotation).to_owned()),
        (
            "per_workspace",
            some(policy.keys_per_workspace_max.map(u64::from)),
        ),
        ("per_owner", some(policy.keys_per_owner_max.map(u64::from))),
        ("at_owner_max", word(policy.at_owner_max).to_owned()),
        ("rate_max", some(most.map(|most| most.limit))),
        ("rate_max_window", some(most.map(|most| most.window_s))),
        ("rate_limit", some(rate.map(|rate| rate.limit))),
        ("rate_window", some(rate.map(|rate| rate.window_s))),
    ] {
        form.put(name, value);
    }
    for word in policy.editable.words() {
        form.put("editable[]", word);
    }
    let lines: Vec<String> = policy.roles.iter().map(RoleRule::line).collect();
    form.put("roles", lines.join("\n"));
    for (rule, on) in [
        ("can_disable", policy.can_disable),
        ("can_rotate", policy.can_rotate),
        ("confirm_name", policy.confirm_name),
        ("name_unique", policy.name_unique),
        ("acts_for_owner", policy.acts_for_owner),
    ] {
        if on {
            form.put("rules[]", rule);
        }
    }
    form
}

/// Parses all members of the form.
pub fn read(texts: &Texts, form: &Form) -> Result<PolicyEdit> {
    let small = |name: &str| -> Result<Option<u32>> {
        // A number that does not fit in 32 bits exceeds the maximum of every policy member, and is refused for that.
        let number = number(texts, form, name)?;
        Ok(number.map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
    };
    let rules = form.all("rules[]");
    let rule = |name: &str| Some(rules.iter().any(|rule| rule == name));
    let headers = form.text("headers").split_whitespace();
    Ok(PolicyEdit {
        description: Some(form.text("description").to_owned()),
        issued_by: choice(texts, form, "issued_by")?,
        owner: choice(texts, form, "owner")?,
        catalog: Some(form.some("catalog")),
        scopes: choice(texts, form, "scopes")?,
        headers: Some(headers.map(CredentialHeader::parse).collect()),
        read_only_by: choice(texts, form, "read_only_by")?,
        expiry: choice(texts, form, "expiry")?,
        expiry_s_max: Some(life(texts, form)?),
        expiry_months_max: Some(small("months_max")?),
        addresses: choice(texts, form, "addresses")?,
        keys_per_workspace_max: Some(small("per_workspace")?),
        keys_per_owner_max: Some(small("per_owner")?),
        at_owner_max: choice(texts, form, "at_owner_max")?,
        name_unique: rule("name_unique"),
        secret_shown: choice(texts, form, "secret_shown")?,
        editable: Some(editable(texts, form)?),
        can_disable: rule("can_disable"),
        can_rotate: rule("can_rotate"),
        self_rotation: choice(texts, form, "self_rotation")?,
        confirm_name: rule("confirm_name"),
        tied_to: choice(texts, form, "tied_to")?,
        acts_for_owner: rule("acts_for_owner"),
        roles: roles(texts, form)?,
        rate_limit: Some(rate(texts, form, "rate_limit", "rate_window")?),
        rate_limit_max: Some(rate(texts, form, "rate_max", "rate_max_window")?),
        prefix: Some(form.text("prefix").to_owned()),
    })
}

/// Parses a rate limit from its two fields.
fn rate(texts: &Texts, form: &Form, limit: &str, window: &str) -> Result<Option<RateLimit>> {
    let Some(limit) = number(texts, form, limit)? else {
        return Ok(None);
    };
    let window_s = number(texts, form, window)?.unwrap_or(60);
    Ok(Some(RateLimit { limit, window_s }))
}

/// Parses one rule per line. If there is none, keys that act for their owner get the default rules, and other keys get
/// none.
fn roles(texts: &Texts, form: &Form) -> Result<Option<Vec<RoleRule>>> {
    let lines = form.text("roles").lines().map(str::trim);
    let rules = lines
        .filter(|line| !line.is_empty())
        .map(RoleRule::parse)
        .collect::<Option<Vec<RoleRule>>>()
        .ok_or_else(|| Error::invalid("roles", texts.get("refusal.role_rule")))?;
    Ok((!rules.is_empty()).then_some(rules))
}

/// If the box for all fields is ticked, the other boxes do not matter.
fn editable(texts: &Texts, form: &Form) -> Result<Editable> {
    let ticked = form.all("editable[]");
    if ticked.iter().any(|word| *word == Editable::ALL) {
        return Ok(Editable::All);
    }
    if ticked.iter().any(|text| from_word::<Field>(text).is_none()) {
        return Err(Error::invalid("editable", texts.get("refusal.choice")));
    }
    // In a fixed order, so that the same boxes always result in the same edit.
    let fields = Field::all().filter(|field| ticked.iter().any(|text| *text == word(*field)));
    Ok(Editable::Only(fields.collect()))
}

/// Only the members that the user changed: a concurrent change to another member is preserved.
pub fn changed(texts: &Texts, form: &Form, before: &Form) -> Result<PolicyEdit> {
    fn new<T: PartialEq>(now: Option<T>, then: Option<T>) -> Option<T> {
        now.filter(|now| then.as_ref() != Some(now))
    }
    let (now, then) = (read(texts, form)?, read(texts, before)?);
    Ok(PolicyEdit {
        description: new(now.description, then.description),
        issued_by: new(now.issued_by, then.issued_by),
        owner: new(now.owner, then.owner),
        catalog: new(now.catalog, then.catalog),
        scopes: new(now.scopes, then.scopes),
        headers: new(now.headers, then.headers),
        read_only_by: new(now.read_only_by, then.read_only_by),
        expiry: new(now.expiry, then.expiry),
        expiry_s_max: new(now.expiry_s_max, then.expiry_s_max),
        expiry_months_max: new(now.expiry_months_max, then.expiry_months_max),
        addresses: new(now.addresses, then.addresses),
        keys_per_workspace_max: new(now.keys_per_workspace_max, then.keys_per_workspace_max),
        keys_per_owner_max: new(now.keys_per_owner_max, then.keys_per_owner_max),
        at_owner_max: new(now.at_owner_max, then.at_owner_max),
        name_unique: new(now.name_unique, then.name_unique),
        secret_shown: new(now.secret_shown, then.secret_shown),
        editable: new(now.editable, then.editable),
        can_disable: new(now.can_disable, then.can_disable),
        can_rotate: new(now.can_rotate, then.can_rotate),
        self_rotation: new(now.self_rotation, then.self_rotation),
        confirm_name: new(now.confirm_name, then.confirm_name),
        tied_to: new(now.tied_to, then.tied_to),
        acts_for_owner: new(now.acts_for_owner, then.acts_for_owner),
        roles: new(now.roles, then.roles),
        rate_limit: new(now.rate_limit, then.rate_limit),
        rate_limit_max: new(now.rate_limit_max, then.rate_limit_max),
        prefix: new(now.prefix, then.prefix),
    })
}

fn choice<T: Words>(texts: &Texts, form: &Form, name: &str) -> Result<Option<T>> {
    from_word(form.text(name))
        .map(Some)
        .ok_or_else(|| Error::invalid(name, texts.get("refusal.choice")))
}

/// The maximum lifetime in seconds.
fn life(texts: &Texts, form: &Form) -> Result<Option<u64>> {
    let Some(count) = number(texts, form, "life_max")? else {
        return Ok(None);
    };
    let unit = UNITS
        .iter()
        .find(|(unit, _)| *unit == form.text("life_unit"));
    let (_, size) = unit.ok_or_else(|| Error::invalid("life_unit", texts.get("refusal.choice")))?;
    match count.checked_mul(*size) {
        Some(seconds @ 1..) if seconds <= LIFE_DAYS_MAX * 86_400 => Ok(Some(seconds)),
        _ => Err(Error::invalid("life_max", texts.get("refusal.life"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::english;

    /// Parsing a form that was filled from a policy returns the same members.
    #[track_caller]
    fn check(policy: &Policy) {
        let form = filled(policy);
        let edit = read(english(), &form).unwrap();
        let read = Policy {
            description: edit.description.unwrap(),
            expiry: edit.expiry.unwrap(),
            expiry_s_max: edit.expiry_s_max.unwrap(),
            expiry_months_max: edit.expiry_months_max.unwrap(),
            headers: edit.headers.unwrap(),
            editable: edit.editable.unwrap(),
            rate_limit: edit.rate_limit.unwrap(),
            rate_limit_max: edit.rate_limit_max.unwrap(),
            at_owner_max: edit.at_owner_max.unwrap(),
            keys_per_workspace_max: edit.keys_per_workspace_max.unwrap(),
            name_unique: edit.name_unique.unwrap(),
            self_rotation: edit.self_rotation.unwrap(),
            ..policy.clone()
        };
        assert_eq!(read, *policy);
        let none = changed(english(), &form, &form).unwrap();
        assert_eq!(format!("{none:?}"), format!("{:?}", PolicyEdit::default()));
    }

    #[test]
    fn what_a_form_is_filled_with_is_what_it_comes_to() {
        check(&Policy::standard());
        for seconds in [1, 90, 3_600, 5_400, 86_400, 90 * 86_400] {
            check(&Policy {
                expiry_s_max: Some(seconds),
                expiry_months_max: Some(12),
                expiry: Expiry::Required,
                headers: vec![CredentialHeader::Named("x-token".to_owned())],
                editable: Editable::Only(vec![Field::Name]),
                rate_limit: Some(RateLimit {
                    limit: 60,
                    window_s: 60,
                }),
                rate_limit_max: Some(RateLimit {
                    limit: 120,
                    window_s: 90,
                }),
                at_owner_max: AtMax::Replace,
                keys_per_workspace_max: Some(0),
                name_unique: true,
                ..Policy::standard()
            });
        }
    }

    #[test]
    fn an_edit_holds_only_what_was_changed() {
        let before = filled(&Policy {
            expiry_s_max: Some(3_600),
            ..Policy::standard()
        });
        let now = filled(&Policy {
            description: "New.".to_owned(),
            expiry_s_max: Some(3_600),
            ..Policy::standard()
        });
        let edit = changed(english(), &now, &before).unwrap();
        let expected = PolicyEdit {
            description: Some("New.".to_owned()),
            ..PolicyEdit::default()
        };
        assert_eq!(format!("{edit:?}"), format!("{expected:?}"));
        for (name, bad) in [
            ("issued_by", "anybody"),
            ("life_max", "0"),
            ("life_max", "x"),
            ("life_max", "99999999999999"),
            ("months_max", "-1"),
            ("life_unit", "fortnights"),
        ] {
            let kept = before.fields().iter();
            let kept = kept.filter(|(known, _)| known != name);
            let mut form = Form::default();
            kept.for_each(|(name, value)| form.put(name, value.clone()));
            form.put(name, bad);
            assert!(matches!(
                read(english(), &form),
                Err(Error::Invalid { field, .. }) if field == name
            ));
        }
    }
}
