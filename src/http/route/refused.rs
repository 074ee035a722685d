//! Refusals of requests that a catalog describes, in the words of the catalog's dialect: told through a proxy, or to
//! whoever sends such a request to this server itself.

use super::Call;
use crate::domain::catalog::Scope;
use crate::domain::key::verdict::{Code, Detail, Question};
use crate::error::Result;
use crate::http::credential::{self, Presented};
use crate::http::reply::Reply;
use crate::ops::verify::{Outcome, Verdict, verify, verify_blocking};

/// When to ask again for a key whose uses are spent: somebody has to give it more.
const USES_RETRY_S: u64 = 3600;

/// How a dialect words refusals of requests that the operations of its catalog describe.
pub struct CatalogWords {
    pub catalog: &'static str,
    /// Gives a refusal its body, and headers if it needs some. Status and headers that are there stay.
    pub word: fn(&Refused<'_>, Reply) -> Reply,
}

/// A request that is not let through.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Refused<'a> {
    /// What the client is to see: 401, 403 or 429; by [`judge`] also 400, 404 and 405.
    pub status: u16,
    /// Why: the code of a verdict or of its detail. Empty where it is about the credential.
    pub code: &'a str,
    pub retry_after_s: Option<u64>,
    /// The scopes of which the operation needs one. Empty where it is not about scopes.
    pub needed: Vec<&'a Scope>,
    /// The scopes that the question itself demands, all of them. Empty where it is not about scopes.
    pub demanded: Vec<&'a str>,
}

impl<'a> Refused<'a> {
    /// No credential, or one that is no good here.
    pub fn credential() -> Refused<'a> {
        Refused {
            status: 401,
            ..Refused::default()
        }
    }

    /// A good key, but not for this request.
    pub fn request(code: &'a str) -> Refused<'a> {
        Refused {
            status: 403,
            code,
            ..Refused::default()
        }
    }

    /// What is told of a verdict; `None` if it is in favour.
    pub fn of(verdict: &'a Verdict<'_>, question: &'a Question<'_>) -> Option<Refused<'a>> {
        let limited = |retry_after_s: u64| Refused {
            status: 429,
            code: verdict.code.as_str(),
            retry_after_s: Some(retry_after_s.max(1)),
            ..Refused::default()
        };
        match (verdict.code, verdict.detail) {
            (Code::Valid, _) => None,
            (Code::RateLimited, _) => Some(limited(verdict.retry_after_s())),
            (Code::UsageExceeded, _) => Some(limited(USES_RETRY_S)),
            (code, _) if code.is_about_the_key() => Some(Refused::credential()),
            (_, Some(detail)) => Some(Refused::request(detail.as_str())),
            (Code::InsufficientScope, None) => Some(Refused {
                needed: needed(verdict, question).unwrap_or_default(),
                demanded: question.scopes.clone(),
                ..Refused::request(verdict.code.as_str())
            }),
            (code, None) => Some(Refused::request(code.as_str())),
        }
    }
}

/// The scopes that the operation asks for.
fn needed<'a>(verdict: &'a Verdict<'_>, question: &Question<'_>) -> Option<Vec<&'a Scope>> {
    let catalog = verdict.directory.catalog(question.catalog?)?;
    let demand = catalog.demand(question.method?, question.path?, question.host);
    let any_of = demand.ok()?.any_of.iter();
    Some(any_of.filter_map(|name| catalog.scope(name)).collect())
}

/// Judges the request itself, whose path the catalog has below `mount`, with or without a slash at its end: 204 without
/// a body if its key opens it, else a refusal in these words. The methods that the catalog has for a path are told to
/// whoever has a good key.
pub fn judge(call: &Call<'_>, words: &CatalogWords, mount: &str) -> Result<Option<Reply>> {
    let below = call.below.strip_suffix('/').unwrap_or(call.below);
    let path = &*format!("{mount}{below}");
    let head = &call.request.head;
    let presented = credential::read(head, call.app.index.directory().named_headers());
    let Presented::One(credential) = presented else {
        return Ok(Some(words.refusal(&Refused::credential())));
    };
    let question = Question {
        catalog: Some(words.catalog),
        method: Some(head.method.as_str()),
        path: Some(path),
        host: head.host(),
        address: call.trust.client_address(head),
        header: Some(credential.header),
        cost: 1,
        ..Question::default()
    };
    let told = |verdict: &Verdict<'_>| {
        let Some(mut refused) = Refused::of(verdict, &question) else {
            return Reply::new(204);
        };
        let mut allow = Vec::new();
        match verdict.detail {
            None => (),
            Some(Detail::UnsafeRequest) => refused.status = 400,
            Some(Detail::UnknownOperation) => {
                let catalog = verdict.directory.catalog(words.catalog);
                allow =
                    catalog.map_or_else(Vec::new, |catalog| catalog.methods(path, question.host));
                refused.status = if allow.is_empty() { 404 } else { 405 };
            }
        }
        let reply = words.refusal(&refused);
        match refused.status {
            405 => reply.with("allow", allow.join(", ")),
            _ => reply,
        }
    };
    if call.may_wait {
        return verify_blocking(call.app, credential.secret, &question, None, told).map(Some);
    }
    match verify(call.app, credential.secret, &question, None, told) {
        Outcome::Done(reply) => Ok(Some(reply)),
        Outcome::MustWait => Ok(None),
    }
}

impl CatalogWords {
    /// A refusal as this server itself answers it.
    fn refusal(&self, refused: &Refused<'_>) -> Reply {
        let reply = Reply::new(refused.status);
        let reply = match refused.retry_after_s {
            None => reply,
            Some(seconds) => reply.with("retry-after", seconds.to_string()),
        };
        (self.word)(refused, reply)
    }
}
