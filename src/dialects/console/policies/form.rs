//! The form of a policy: one table of fields says how each is shown, filled from a policy and read into an edit.

use crate::dialects::console::auth::Visit;
use crate::dialects::console::form::{Choice, Input, Kind, Refusal, UNITS, in_units, number};
use crate::dialects::console::text::Texts;
use crate::domain::keys::Member;
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::roles::RoleRule;
use crate::domain::policies::{
    AddressRule, AtMax, CredentialHeader, Editable, Expiry, IssuedBy, OnLeak, OnReuse, Policy,
    Presence, ReadOnlyBy, SecretShown, SelfRotation, TiedTo, Words, from_word, word, words,
};
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::ops::catalogs;
use crate::ops::policies::PolicyEdit;

/// A form that is ready to be rendered.
pub struct PolicyForm {
    /// The fields that are always visible; empty for an existing policy, whose fields are all in groups.
    pub first: Vec<Input>,
    pub groups: Vec<Group>,
    /// Whether one of the folded fields was refused.
    pub is_open: bool,
    /// The refusal that concerns no single field.
    pub refusal: Option<String>,
}

/// A group of fields with a heading.
pub struct Group {
    pub title: &'static str,
    pub fields: Vec<Input>,
}

/// The fields of a new policy that are always visible; all others are folded.
const FIRST: &[&str] = &[
    "name",
    "description",
    "issued_by",
    "catalog",
    "scopes",
    "expiry",
    "life_max",
    "life_unit",
    "secret_shown",
    "prefix",
];

/// One line of the table. The label of a field is `policy_field.NAME`, its hint `policy_hint.NAME`.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// The member of a policy whose refusals are shown at this field.
    member: &'static str,
    pub(super) control: Control,
    /// The value that a policy has; boxes have words with a blank between them.
    pub(super) fill: fn(&Policy) -> String,
    /// Writes what was typed into an edit. A field that another one reads does nothing.
    read: fn(&Typed<'_>, &mut PolicyEdit) -> Result<()>,
}

/// How a field is shown.
pub(super) enum Control {
    Catalog,
    /// One of these words; their labels are `policy_NAME.WORD`.
    Choice(fn() -> Vec<&'static str>),
    Editable,
    Lines,
    Number,
    /// One box for each line of the table that is a [`Control::Switch`].
    Rules,
    /// One of the boxes of the field `rules`; its label is `rule.NAME`.
    Switch,
    Text,
    Unit,
}

/// What was typed into one field, and into the fields that belong to it.
struct Typed<'a> {
    texts: &'a Texts,
    form: &'a Form,
    name: &'static str,
}

#[rustfmt::skip] // Columns are the point of this table.
pub(super) const GROUPS: &[(&str, &[Line])] = &[
    ("policy_form.about", &[
        line  ("name",              Control::Text,     nothing,                                |_, _| Ok(())),
        line  ("description",       Control::Text,     |policy| policy.description.clone(),    |typed, edit| set(&mut edit.description, typed.text())),
        choice::<IssuedBy>("issued_by",                |policy| text(policy.issued_by),        |typed, edit| set(&mut edit.issued_by, typed.choice())),
        choice::<Presence>("owner",                    |policy| text(policy.owner),            |typed, edit| set(&mut edit.owner, typed.choice())),
        choice::<TiedTo>("tied_to",                    |policy| text(policy.tied_to),          |typed, edit| set(&mut edit.tied_to, typed.choice())),
    ]),
    ("policy_form.may", &[
        line  ("catalog",           Control::Catalog,  |policy| policy.catalog.clone().unwrap_or_default(), |typed, edit| set(&mut edit.catalog, Ok(typed.form.some("catalog")))),
        choice::<Presence>("scopes",                   |policy| text(policy.scopes),           |typed, edit| set(&mut edit.scopes, typed.choice())),
        choice::<ReadOnlyBy>("read_only_by",           |policy| text(policy.read_only_by),     |typed, edit| set(&mut edit.read_only_by, typed.choice())),
        choice::<AddressRule>("addresses",             |policy| text(policy.addresses),        |typed, edit| set(&mut edit.addresses, typed.choice())),
    ]),
    ("policy_form.life", &[
        choice::<Expiry>("expiry",                     |policy| text(policy.expiry),           |typed, edit| set(&mut edit.expiry, typed.choice())),
        line  ("life_max",          Control::Number,   |policy| some(life(policy).0),          |typed, edit| set(&mut edit.expiry_s_max, typed.life())).of("expiry_s_max"),
        line  ("life_unit",         Control::Unit,     |policy| life(policy).1.to_owned(),     |_, _| Ok(())),
        line  ("months_max",        Control::Number,   |policy| some(policy.expiry_months_max), |typed, edit| set(&mut edit.expiry_months_max, typed.small())).of("expiry_months_max"),
        line  ("expiry_notice_days", Control::Text,    notice_days,                            |typed, edit| set(&mut edit.expiry_notice_days, typed.notice_days())),
    ]),
    ("policy_form.secret", &[
        line  ("headers",           Control::Text,     headers,                                |typed, edit| set(&mut edit.headers, typed.headers())),
        line  ("prefix",            Control::Text,     |policy| policy.prefix.clone(),         |typed, edit| set(&mut edit.prefix, typed.text())),
        choice::<SecretShown>("secret_shown",          |policy| text(policy.secret_shown),     |typed, edit| set(&mut edit.secret_shown, typed.choice())),
    ]),
    ("policy_form.limits", &[
        line  ("per_workspace",     Control::Number,   |policy| some(policy.keys_per_workspace_max), |typed, edit| set(&mut edit.keys_per_workspace_max, typed.small())).of("keys_per_workspace_max"),
        line  ("per_owner",         Control::Number,   |policy| some(policy.keys_per_owner_max), |typed, edit| set(&mut edit.keys_per_owner_max, typed.small())).of("keys_per_owner_max"),
        choice::<AtMax>("at_owner_max",                |policy| text(policy.at_owner_max),     |typed, edit| set(&mut edit.at_owner_max, typed.choice())),
        line  ("rate_limit",        Control::Number,   |policy| some(policy.rate_limit.map(|rate| rate.limit)), |typed, edit| set(&mut edit.rate_limit, typed.rate("rate_window", "rate_exact"))),
        line  ("rate_window",       Control::Number,   |policy| some(policy.rate_limit.map(|rate| rate.window_s)), |_, _| Ok(())).of("rate_limit.window_s"),
        line  ("rate_exact",        Control::Choice(yes_or_no), |policy| yes_if(policy.rate_limit.is_some_and(|rate| rate.exact)), |_, _| Ok(())).of("rate_limit.exact"),
        line  ("rate_max",          Control::Number,   |policy| some(policy.rate_limit_max.map(|rate| rate.limit)), |typed, edit| set(&mut edit.rate_limit_max, typed.rate("rate_max_window", ""))).of("rate_limit_max"),
        line  ("rate_max_window",   Control::Number,   |policy| some(policy.rate_limit_max.map(|rate| rate.window_s)), |_, _| Ok(())).of("rate_limit_max.window_s"),
    ]),
    ("policy_form.later", &[
        line  ("editable",          Control::Editable, |policy| policy.editable.words().join(" "), |typed, edit| set(&mut edit.editable, typed.editable())),
        line  ("rules",             Control::Rules,    nothing,                                |_, _| Ok(())),
        line  ("can_disable",       Control::Switch,   |policy| policy.can_disable.to_string(), |typed, edit| set(&mut edit.can_disable, typed.is_on())),
        line  ("can_rotate",        Control::Switch,   |policy| policy.can_rotate.to_string(), |typed, edit| set(&mut edit.can_rotate, typed.is_on())),
        line  ("confirm_name",      Control::Switch,   |policy| policy.confirm_name.to_string(), |typed, edit| set(&mut edit.confirm_name, typed.is_on())),
        line  ("second_factor",     Control::Switch,   |policy| policy.second_factor.to_string(), |typed, edit| set(&mut edit.second_factor, typed.is_on())),
        line  ("decoy",             Control::Switch,   |policy| policy.decoy.to_string(),      |typed, edit| set(&mut edit.decoy, typed.is_on())),
        line  ("name_unique",       Control::Switch,   |policy| policy.name_unique.to_string(), |typed, edit| set(&mut edit.name_unique, typed.is_on())),
        line  ("acts_for_owner",    Control::Switch,   |policy| policy.acts_for_owner.to_string(), |typed, edit| set(&mut edit.acts_for_owner, typed.is_on())),
        choice::<OnReuse>("on_reuse",                  |policy| text(policy.on_reuse),         |typed, edit| set(&mut edit.on_reuse, typed.choice())),
        choice::<OnLeak>("on_leak",                    |policy| text(policy.on_leak),          |typed, edit| set(&mut edit.on_leak, typed.choice())),
        choice::<SelfRotation>("self_rotation",        |policy| text(policy.self_rotation),    |typed, edit| set(&mut edit.self_rotation, typed.choice())),
        line  ("roles",             Control::Lines,    roles,                                  |typed, edit| typed.roles().map(|roles| edit.roles = roles)),
    ]),
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
        let at_fault = refusal.map_or("", field_of);
        let (mut first, mut groups) = (Vec::new(), Vec::new());
        for (title, lines) in GROUPS {
            let mut fields = Vec::new();
            for line in *lines {
                if (line.name == "name" && !is_new) || matches!(line.control, Control::Switch) {
                    continue;
                }
                let mut input = input(visit, typed, line)?;
                if line.name == at_fault {
                    input.refusal = refusal
                        .map(|refusal| refusal.why.clone())
                        .unwrap_or_default();
                }
                match is_new && FIRST.contains(&line.name) {
                    true => first.push(input),
                    false => fields.push(input),
                }
            }
            let title = visit.texts.get(title);
            groups.push(Group { title, fields });
        }
        groups.retain(|group| !group.fields.is_empty());
        let refused = |input: &Input| !input.refusal.is_empty();
        let is_open = groups.iter().flat_map(|group| &group.fields).any(refused);
        let told = is_open || first.iter().any(refused);
        Ok(PolicyForm {
            first,
            groups,
            is_open,
            refusal: refusal.filter(|_| !told).map(|refusal| refusal.why.clone()),
        })
    }
}

pub(super) fn lines() -> impl Iterator<Item = &'static Line> {
    GROUPS.iter().flat_map(|(_, lines)| *lines)
}

/// The name of the field on the page that a refusal concerns; empty if it concerns none.
fn field_of(refusal: &Refusal) -> &'static str {
    let of = |member: &str| lines().find(|line| line.member == member || line.name == member);
    match of(&refusal.member).or_else(|| of(refusal.bare())) {
        Some(line) if matches!(line.control, Control::Switch) => "rules",
        line => line.map_or("", |line| line.name),
    }
}

fn input(visit: &Visit<'_>, typed: &Form, line: &'static Line) -> Result<Input> {
    let (texts, name) = (visit.texts, line.name);
    let label = |kind: &str, word: &str| texts.get(&format!("{kind}.{word}"));
    let chosen = |word: &'static str, label: &str| Choice::of(word, label, typed.text(name));
    let kind = match line.control {
        Control::Catalog => Kind::Select(catalog_choices(visit, typed)?),
        Control::Choice(words) => {
            let kind = format!("policy_{name}");
            let words = words().into_iter();
            Kind::Select(words.map(|word| chosen(word, label(&kind, word))).collect())
        }
        Control::Editable => {
            let words = Editable::all_words();
            Kind::Boxes(boxes(typed, name, words, |word| {
                label("editable", if word == "*" { "all" } else { word })
            }))
        }
        Control::Lines => Kind::Lines(5),
        Control::Number => Kind::Number,
        Control::Rules | Control::Switch => {
            let rules = lines().filter(|line| matches!(line.control, Control::Switch));
            let rules = rules.map(|line| line.name).collect();
            Kind::Boxes(boxes(typed, name, rules, |rule| label("rule", rule)))
        }
        Control::Text => Kind::Text,
        Control::Unit => {
            let unit = |(unit, _): &(&'static str, u64)| chosen(unit, label("unit", unit));
            Kind::Select(UNITS.iter().map(unit).collect())
        }
    };
    Ok(Input {
        link: None,
        name,
        label: label("policy_field", name),
        hint: label("policy_hint", name).to_owned(),
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

fn boxes(
    typed: &Form,
    name: &str,
    all: Vec<&'static str>,
    label: impl Fn(&str) -> &'static str,
) -> Vec<Choice> {
    let ticked = typed.all(&format!("{name}[]"));
    let one = |word: &'static str| Choice {
        value: word.to_owned(),
        label: label(word).to_owned(),
        hint: String::new(),
        opens: Vec::new(),
        chosen: ticked.iter().any(|ticked| *ticked == word),
    };
    all.into_iter().map(one).collect()
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
    for line in lines() {
        let value = (line.fill)(policy);
        match line.control {
            Control::Editable => {
                let words = value.split_whitespace();
                words.for_each(|word| form.put("editable[]", word));
            }
            Control::Switch if value == "true" => form.put("rules[]", line.name),
            Control::Rules | Control::Switch => {}
            _ => form.put(line.name, value),
        }
    }
    form
}

/// Parses all members of the form.
pub fn read(texts: &Texts, form: &Form) -> Result<PolicyEdit> {
    let mut edit = PolicyEdit::default();
    for line in lines() {
        line.read(texts, form, &mut edit)?;
    }
    Ok(edit)
}

/// Only the members that the user changed: a concurrent change to another member is preserved.
pub fn changed(texts: &Texts, form: &Form, before: &Form) -> Result<PolicyEdit> {
    let mut edit = PolicyEdit::default();
    for line in lines() {
        let (mut now, mut then) = (PolicyEdit::default(), PolicyEdit::default());
        line.read(texts, form, &mut now)?;
        line.read(texts, before, &mut then)?;
        if now != then {
            line.read(texts, form, &mut edit)?;
        }
    }
    Ok(edit)
}

type Fill = fn(&Policy) -> String;
type Read = fn(&Typed<'_>, &mut PolicyEdit) -> Result<()>;

const fn line(name: &'static str, control: Control, fill: Fill, read: Read) -> Line {
    Line {
        name,
        member: name,
        control,
        fill,
        read,
    }
}

const fn choice<T: Words>(name: &'static str, fill: Fill, read: Read) -> Line {
    line(name, Control::Choice(words::<T>), fill, read)
}

impl Line {
    const fn of(mut self, member: &'static str) -> Line {
        self.member = member;
        self
    }

    fn read(&self, texts: &Texts, form: &Form, edit: &mut PolicyEdit) -> Result<()> {
        let name = self.name;
        (self.read)(&Typed { texts, form, name }, edit)
    }
}

fn set<T>(member: &mut Option<T>, value: Result<T>) -> Result<()> {
    *member = Some(value?);
    Ok(())
}

fn nothing(_: &Policy) -> String {
    String::new()
}

fn text<T: Words>(value: T) -> String {
    word(value).to_owned()
}

fn some(number: Option<impl ToString>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// The words of a choice between no and yes.
fn yes_or_no() -> Vec<&'static str> {
    vec!["no", "yes"]
}

fn yes_if(is_on: bool) -> String {
    if is_on { "yes" } else { "no" }.to_owned()
}

fn headers(policy: &Policy) -> String {
    let headers = policy.headers.iter().map(CredentialHeader::as_str);
    headers.collect::<Vec<_>>().join(" ")
}

fn notice_days(policy: &Policy) -> String {
    let days = policy.expiry_notice_days.iter().map(u32::to_string);
    days.collect::<Vec<_>>().join(" ")
}

fn roles(policy: &Policy) -> String {
    let lines = policy.roles.iter().map(RoleRule::line);
    lines.collect::<Vec<_>>().join("\n")
}

/// The maximum lifetime of a policy in its largest unit, and the unit.
fn life(policy: &Policy) -> (Option<u64>, &'static str) {
    let Some(seconds) = policy.expiry_s_max else {
        return (None, UNITS[0].0);
    };
    let (count, unit) = in_units(seconds);
    (Some(count), unit)
}

impl Typed<'_> {
    fn text(&self) -> Result<String> {
        Ok(self.form.text(self.name).to_owned())
    }

    fn choice<T: Words>(&self) -> Result<T> {
        from_word(self.form.text(self.name)).ok_or_else(|| self.refused(self.name, "choice"))
    }

    /// A number that does not fit in 32 bits exceeds the maximum of every policy member, and is refused for that.
    fn small(&self) -> Result<Option<u32>> {
        let number = number(self.texts, self.form, self.name)?;
        Ok(number.map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
    }

    fn is_on(&self) -> Result<bool> {
        Ok(self
            .form
            .all("rules[]")
            .iter()
            .any(|rule| *rule == self.name))
    }

    fn headers(&self) -> Result<Vec<CredentialHeader>> {
        let words = self.form.text(self.name).split_whitespace();
        Ok(words.map(CredentialHeader::parse).collect())
    }

    /// Numbers of days, separated by blanks or commas.
    fn notice_days(&self) -> Result<Vec<u32>> {
        let text = self.form.text(self.name);
        let words = text.split([' ', ',', '\t']).filter(|word| !word.is_empty());
        let days: Option<Vec<u32>> = words.map(|word| word.parse().ok()).collect();
        days.ok_or_else(|| self.refused(self.name, "days"))
    }

    /// A rate limit from this field and those of its window and of its exactness.
    fn rate(&self, window: &str, exact: &str) -> Result<Option<RateLimit>> {
        let Some(limit) = number(self.texts, self.form, self.name)? else {
            return Ok(None);
        };
        let window_s = number(self.texts, self.form, window)?.unwrap_or(60);
        Ok(Some(RateLimit {
            limit,
            window_s,
            exact: self.form.text(exact) == "yes",
        }))
    }

    /// One rule per line. If there is none, keys that act for their owner get the default rules, and other keys get
    /// none.
    fn roles(&self) -> Result<Option<Vec<RoleRule>>> {
        let lines = self.form.text(self.name).lines().map(str::trim);
        let rules = lines
            .filter(|line| !line.is_empty())
            .map(RoleRule::parse)
            .collect::<Option<Vec<RoleRule>>>()
            .ok_or_else(|| self.refused(self.name, "role_rule"))?;
        Ok((!rules.is_empty()).then_some(rules))
    }

    /// If the box for all fields is ticked, the other boxes do not matter.
    fn editable(&self) -> Result<Editable> {
        let ticked = self.form.all("editable[]");
        if ticked.iter().any(|word| *word == Editable::ALL) {
            return Ok(Editable::All);
        }
        Editable::parse(ticked.iter().map(String::as_str))
            .map_err(|_| self.refused(self.name, "choice"))?;
        // In a fixed order, so that the same boxes always result in the same edit.
        let is_ticked = |member: &Member| ticked.iter().any(|text| *text == member.word());
        let members = Member::editable().into_iter().filter(is_ticked);
        Ok(Editable::Only(members.collect()))
    }

    /// The maximum lifetime in seconds.
    fn life(&self) -> Result<Option<u64>> {
        let Some(count) = number(self.texts, self.form, self.name)? else {
            return Ok(None);
        };
        let unit = self.form.text("life_unit");
        let unit = UNITS.iter().find(|(known, _)| *known == unit);
        let (_, size) = unit.ok_or_else(|| self.refused("life_unit", "choice"))?;
        match count.checked_mul(*size) {
            Some(seconds @ 1..) if seconds <= LIFE_DAYS_MAX * 86_400 => Ok(Some(seconds)),
            _ => Err(self.refused(self.name, "life")),
        }
    }

    fn refused(&self, field: &str, why: &str) -> Error {
        Error::invalid_text(field, self.texts.get(&format!("refusal.{why}")))
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
            expiry_notice_days: edit.expiry_notice_days.unwrap(),
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
                expiry_notice_days: Vec::new(),
                expiry: Expiry::Required,
                headers: vec![CredentialHeader::Named("x-token".to_owned())],
                editable: Editable::Only(vec![Member::Name]),
                rate_limit: Some(RateLimit {
                    limit: 60,
                    window_s: 60,
                    exact: false,
                }),
                rate_limit_max: Some(RateLimit {
                    limit: 120,
                    window_s: 90,
                    exact: false,
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
            ("expiry_notice_days", "30 x"),
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
