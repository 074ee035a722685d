//! The rules of a policy in words: the table of the form, with values instead of fields.

use super::form::{Control, GROUPS, Line, lines};
use crate::dialects::console::keys::facts::rate_text;
use crate::dialects::console::layout::moment::span;
use crate::dialects::console::text::Texts;
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::{Editable, Expiry, Policy, word};

/// The rules that belong together, with a heading.
pub struct Facts {
    pub title: &'static str,
    pub rows: Vec<Fact>,
}

/// One rule.
pub struct Fact {
    pub label: &'static str,
    pub value: String,
    /// Whether the value is text for programs.
    pub is_code: bool,
}

/// All rules of a policy that say something.
pub fn facts(texts: &Texts, policy: &Policy) -> Vec<Facts> {
    let group = |(title, lines): &(&str, &'static [Line])| {
        let row = |line: &'static Line| {
            let value = value(texts, policy, line)?;
            Some(Fact {
                label: texts.get(&format!("policy_field.{}", line.name)),
                value,
                is_code: matches!(line.control, Control::Lines | Control::Text),
            })
        };
        Facts {
            title: texts.get(title),
            rows: lines.iter().filter_map(row).collect(),
        }
    };
    let groups = GROUPS.iter().map(group);
    groups.filter(|group| !group.rows.is_empty()).collect()
}

/// When keys of the policy expire, in a few words.
pub fn expiry(texts: &Texts, policy: &Policy) -> String {
    let kind = texts.get(match policy.expiry {
        Expiry::Forbidden => "policies.expires_never",
        Expiry::Optional => "policies.expires_optional",
        Expiry::Required => "policies.expires_required",
    });
    let months = policy.expiry_months_max;
    let longest = match (policy.expiry_s_max, months) {
        (Some(seconds), _) => span(texts, seconds),
        (None, Some(months)) => texts.count("when.month", u64::from(months)),
        (None, None) => return kind.to_owned(),
    };
    texts
        .with("policies.expires_within", kind)
        .replacen("{}", &longest, 1)
}

/// Who creates keys of the policy, in a few words.
pub fn issued_by(texts: &Texts, policy: &Policy) -> &'static str {
    texts.get(&format!("policy_by.{}", word(policy.issued_by)))
}

/// The value of one line; `None` if there is nothing to say, or if another line says it.
fn value(texts: &Texts, policy: &Policy, line: &Line) -> Option<String> {
    let name = line.name;
    let value = (line.fill)(policy);
    let listed = |group: &str, words: Vec<&str>| {
        let label = |word: &str| texts.get(&format!("{group}.{word}"));
        let labels: Vec<&str> = words.into_iter().map(label).collect();
        labels.join(" · ")
    };
    let rate = |rate: Option<RateLimit>| rate.map(|rate| rate_text(texts, rate));
    match line.control {
        _ if matches!(
            name,
            "description" | "rate_window" | "rate_exact" | "rate_max_window"
        ) =>
        {
            None
        }
        _ if name == "at_owner_max" && policy.keys_per_owner_max.is_none() => None,
        _ if name == "self_rotation" && !policy.can_rotate => None,
        Control::Catalog if value.is_empty() => {
            Some(texts.get("policy_form.any_catalog").to_owned())
        }
        Control::Choice(_) => Some(texts.get(&format!("policy_{name}.{value}")).to_owned()),
        Control::Editable if policy.editable.is_nothing() => {
            Some(texts.get("audit.no_value").to_owned())
        }
        Control::Editable if policy.editable == Editable::All => {
            Some(texts.get("policies.all_fields").to_owned())
        }
        Control::Editable => Some(listed("editable", policy.editable.words())),
        Control::Rules => {
            let is_on = |line: &&Line| {
                matches!(line.control, Control::Switch) && (line.fill)(policy) == "true"
            };
            let on = lines().filter(is_on).map(|line| line.name);
            Some(listed("rule", on.collect())).filter(|text| !text.is_empty())
        }
        Control::Switch | Control::Unit => None,
        Control::Number if name == "life_max" => {
            policy.expiry_s_max.map(|seconds| span(texts, seconds))
        }
        Control::Number if name == "rate_limit" => rate(policy.rate_limit),
        Control::Number if name == "rate_max" => rate(policy.rate_limit_max),
        Control::Number | Control::Lines | Control::Text | Control::Catalog => {
            (!value.is_empty()).then_some(value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::english;

    #[test]
    fn the_rules_of_a_policy_are_values_behind_labels() {
        let policy = Policy {
            expiry: Expiry::Required,
            expiry_s_max: Some(90 * 86_400),
            rate_limit: Some(RateLimit {
                limit: 60,
                window_s: 60,
                exact: false,
            }),
            can_rotate: false,
            ..Policy::standard()
        };
        let found = facts(english(), &policy);
        let rows = || found.iter().flat_map(|facts| &facts.rows);
        let value = |label: &str| {
            let mut rows = rows().filter(|row| row.label == label);
            rows.next().map(|row| row.value.as_str())
        };
        assert_eq!(value("Maximum validity"), Some("3 months"));
        assert_eq!(
            value("Default request limit"),
            Some("60 requests in 1 minute")
        );
        assert_eq!(value("Expiry"), Some("Each expires"));
        assert_eq!(value("Rotation by the key itself"), None);
        assert_eq!(value("Unit"), None);
        assert!(rows().all(|row| !row.value.is_empty()));
        assert_eq!(expiry(english(), &policy), "Required, within 3 months");
    }
}
