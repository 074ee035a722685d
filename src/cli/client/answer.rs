//! An answer of the server or of this process, and the errors in it.

use super::Target;
use crate::cli::failure::{Failure, Result};
use crate::refusals::visible;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The status, the link to the next page, and the body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The value of `Link`, if there is one.
    pub link: Option<String>,
    /// The value of `Latchkey-Sites`: the sites that the answer has waited for.
    pub sites: Option<String>,
    pub body: Vec<u8>,
}

/// The members of RFC 9457 problem details that commands use.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    field: Option<String>,
    request_id: String,
}

impl Answer {
    /// Returns the answer if it is a success, otherwise its problem as one sentence.
    pub fn accepted(self, method: &str, target: &Target) -> Result<Answer> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let why = visible(&self.refusal(method, target));
        Err(Failure::Refused(match self.known_of_sites() {
            // A change that was made before is refused, and the sites were waited for all the same.
            Some(sites) => format!("{why}\n{sites}"),
            None => why,
        }))
    }

    /// What is known of the sites, if the answer has waited for them.
    pub fn known_of_sites(&self) -> Option<String> {
        self.sites.as_deref().map(|sites| match sites {
            "none" => "no site is linked".to_owned(),
            sites => format!("sites: {}", visible(sites)),
        })
    }

    fn refusal(&self, method: &str, target: &Target) -> String {
        let Ok(problem) = serde_json::from_slice::<Problem>(&self.body) else {
            return format!("the server answered {} and no reason", self.status);
        };
        let Problem {
            code,
            detail,
            field,
            request_id,
        } = problem;
        match (code.as_str(), field) {
            ("not-found", _) if detail.ends_with("such path") => format!(
                "this server has no {method} {}; it is of another version than this command",
                target.path()
            ),
            ("internal", _) => format!("{detail} {request_id}"),
            (_, Some(field)) if !detail.starts_with(&field) => format!("{field}: {detail}"),
            _ => detail,
        }
    }

    /// The body as text, without the final line end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().to_owned()
    }

    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|err| Failure::refused(format!("the server's answer cannot be read: {err}")))
    }

    /// The next page: the target of a `Link` whose relation is `next` (RFC 8288).
    pub fn next(&self) -> Option<Target> {
        let (target, parameters) = self.link.as_deref()?.strip_prefix('<')?.split_once('>')?;
        parameters
            .contains("rel=\"next\"")
            .then(|| Target::named(target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refusal_cannot_move_the_cursor() {
        let problem = json!({
            "code": "conflict",
            "detail": "no \u{1b}]0;x\u{7}\u{9b}2J\nlatchkey: all is well",
            "request_id": "1",
        });
        let answer = Answer {
            status: 409,
            link: None,
            sites: None,
            body: problem.to_string().into_bytes(),
        };
        let Err(Failure::Refused(told)) = answer.accepted("GET", &Target::of(&["keys"])) else {
            panic!("it is a refusal");
        };
        assert!(!told.contains(char::is_control), "{told:?}");
    }

    #[test]
    fn a_refusal_says_what_is_known_of_the_sites() {
        let refused = |sites: Option<&str>| {
            let problem =
                json!({ "code": "conflict", "detail": "the key is deleted", "request_id": "1" });
            let answer = Answer {
                status: 409,
                link: None,
                sites: sites.map(str::to_owned),
                body: problem.to_string().into_bytes(),
            };
            match answer.accepted("DELETE", &Target::of(&["keys"])) {
                Err(Failure::Refused(why)) => why,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(None), "the key is deleted");
        assert_eq!(
            refused(Some("none")),
            "the key is deleted\nno site is linked"
        );
        assert_eq!(
            refused(Some("plant-7=applied, ship-2=lease-over")),
            "the key is deleted\nsites: plant-7=applied, ship-2=lease-over"
        );
    }
}
