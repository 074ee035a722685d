//! The query of `POST …/logins/apikey` and similar requests, which contains all their parameters (1D-5 to 1D-8, 1D-17).

use super::super::lists::SelectedProperties;
use super::super::preset;
use super::super::token::{flag, narrowed};
use crate::domain::text;
use crate::error::{Error, Result};
use crate::http::query::{self, Query};
use crate::http::route::Call;
use crate::refusals::verbatim;

/// The parameters of every identity, apart from `scopes`.
const PARAMETERS: [&str; 3] = ["description", "isReadAccessOnly", "select"];

pub struct LoginRequest {
    pub description: String,
    /// Without duplicates, in the order of the request.
    pub scopes: Vec<String>,
    pub read_only: bool,
    pub picked: SelectedProperties,
}

impl LoginRequest {
    /// Parses a request without a body.
    pub fn read_alone(call: &Call<'_>, known: &[&str]) -> Result<LoginRequest> {
        // Clients that declare their requests as JSON send an empty body.
        let body = call.request.body.trim_ascii();
        if !matches!(body, b"" | b"{}" | b"null") {
            return Err(Error::Malformed(verbatim(
                "the parameters belong into the query, and there is no body",
            )));
        }
        Ok(LoginRequest::read(call, known, [])?.0)
    }

    /// Parses a request with further parameters; an empty one counts as absent. Names are not case-sensitive, and
    /// unknown parameters are ignored.
    pub fn read<const N: usize>(
        call: &Call<'_>,
        known: &[&str],
        further: [&str; N],
    ) -> Result<(LoginRequest, [Option<String>; N])> {
        let (scopes, others): (Vec<_>, Vec<_>) = query::pairs(call.request.query())?
            .into_iter()
            .partition(|(name, _)| is_scopes(name));
        let scopes = scopes_of(scopes.iter().map(|(_, value)| value.as_str()))?;
        let named: Vec<&str> = PARAMETERS.iter().copied().chain(further).collect();
        narrowed(others.iter().map(|(name, _)| name.as_str()), &named)?;
        let mut query = Query::of_names(others, &named)?;
        let description = query.take("description").unwrap_or_default();
        if description.trim().is_empty() {
            return Err(Error::invalid_text(
                "description",
                "is needed: it says what the identity is for",
            ));
        }
        text::check_description("description", &description)?;
        let read_only = flag("isReadAccessOnly", query.take("isReadAccessOnly"))?;
        let found = further.map(|name| query.take(name).filter(|value| !value.is_empty()));
        let asked = LoginRequest {
            description,
            scopes,
            read_only,
            picked: SelectedProperties::of_query(&mut query, known)?,
        };
        Ok((asked, found))
    }
}

/// Whether the name is `scopes`, `scopes[]`, or `scopes[0]`, which PHP writes and ASP.NET reads, in any case.
fn is_scopes(name: &str) -> bool {
    let start = name.get(..6).unwrap_or_default();
    let rest = name.get(6..).unwrap_or_default();
    let index = rest
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let numbered = index.is_some_and(|index| index.bytes().all(|b| b.is_ascii_digit()));
    start.eq_ignore_ascii_case("scopes") && (rest.is_empty() || numbered)
}

/// Parses all formats that clients send: a JSON array, the same without quotes (because a shell has removed them), a
/// repeated parameter, or names separated by commas.
fn scopes_of<'a>(values: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    let mut scopes: Vec<String> = Vec::new();
    for value in values {
        for name in names(value.trim()) {
            let known = preset::SCOPES.iter().any(|(known, _)| *known == name);
            if !known {
                return Err(refused());
            }
            if !scopes.contains(&name) {
                scopes.push(name);
            }
        }
    }
    if scopes.is_empty() {
        return Err(refused());
    }
    Ok(scopes)
}

fn names(value: &str) -> Vec<String> {
    if let Ok(names) = serde_json::from_str::<Vec<String>>(value) {
        return names;
    }
    let bare = value
        .strip_prefix('[')
        .and_then(|value| value.strip_suffix(']'));
    let list = bare.unwrap_or(value).split(',');
    list.map(|name| name.trim().to_owned()).collect()
}

fn refused() -> Error {
    let known = preset::SCOPES.map(|(name, _)| name).join(", ");
    Error::invalid_text("scopes", format!("must be one or more of {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_have_the_names_that_clients_give_them() {
        for name in ["scopes", "Scopes", "scopes[]", "scopes[0]", "SCOPES[12]"] {
            assert!(is_scopes(name), "{name}");
        }
        for name in [
            "scope",
            "scopes[",
            "scopes[a]",
            "scopes0",
            "scopés",
            "xscopes",
        ] {
            assert!(!is_scopes(name), "{name}");
        }
    }

    #[test]
    fn scopes_are_read_in_every_form_that_clients_send() {
        for (values, expected) in [
            (vec!["[\"integration\",\"rest\"]"], Some("integration rest")),
            (vec!["[ \"rest\" , \"ui\" ]"], Some("rest ui")),
            (vec!["[integration,rest]"], Some("integration rest")),
            (vec!["integration", "rest"], Some("integration rest")),
            (vec!["rest,integration"], Some("rest integration")),
            (vec!["rest, rest", "rest"], Some("rest")),
            (vec![], None),
            (vec![""], None),
            (vec!["[]"], None),
            (vec!["[\"rest\""], None),
            (vec!["rest,"], None),
            (vec!["unknown"], None),
            (vec!["Rest"], None),
            (vec!["rest ui"], None),
            (vec!["[1]"], None),
            (vec!["{\"rest\":1}"], None),
        ] {
            let scopes = scopes_of(values.iter().copied()).ok();
            let scopes = scopes.map(|scopes| scopes.join(" "));
            assert_eq!(scopes.as_deref(), expected, "{values:?}");
        }
    }
}
