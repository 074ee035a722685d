//! Refusals of requests that a catalog describes, in the format of the catalog's dialect. A proxy passes them on, or
//! this server sends them to a client that makes such a request directly.

use super::Call;
use crate::domain::catalogs::Scope;
use crate::domain::keys::verdict::{Code, Detail, Question};
use crate::error::Result;
use crate::http::credential::{self, Presented};
use crate::http::reply::Reply;
use crate::ops::verify::{Outcome, Verdict, verify, verify_blocking};

/// The `Retry-After` for a key whose uses are spent: a retry succeeds only after a user has granted the key more uses.
const USES_RETRY_S: u64 = 3600;

/// How a dialect renders refusals of requests that the operations of its catalog describe.
pub struct CatalogWords {
    pub catalog: &'static str,
    /// Adds a body to a refusal, and headers if needed. The status and the headers of the given reply stay unchanged.
    pub word: fn(&RefusedRequest<'_>, Reply) -> Reply,
}

/// A request that is refused.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RefusedRequest<'a> {
    /// The status for the client: 401, 403 or 429; from [`judge`] also 400, 404 and 405.
    pub status: u16,
    /// The reason: the code of a verdict or of its detail. Empty if the credential is the reason.
    pub code: &'a str,
    pub retry_after_s: Option<u64>,
    /// The scopes of which the operation needs at least one. Empty if scopes are not the reason, or the key has one of
    /// them.
    pub needed: Vec<&'a Scope>,
    /// The scopes that the operation needs together, without those that the key has.
    pub needed_together: Vec<&'a Scope>,
    /// The scopes that the question itself demands, all of them. Empty where it is not about scopes.
    pub demanded: Vec<&'a str>,
    /// Whether the key does not belong to the catalog. If so, a refusal does not name the scopes of a catalog that an
    /// administrator has written; those of a built-in catalog are public.
    pub of_other_catalog: bool,
}

impl<'a> RefusedRequest<'a> {
    /// The credential is missing or not accepted.
    pub fn credential() -> RefusedRequest<'a> {
        RefusedRequest {
            status: 401,
            ..RefusedRequest::default()
        }
    }

    /// The key is valid, but it may not make this request.
    pub fn request(code: &'a str) -> RefusedRequest<'a> {
        RefusedRequest {
            status: 403,
            code,
            ..RefusedRequest::default()
        }
    }

    /// The refusal for a verdict; `None` if the verdict is positive.
    pub fn of(verdict: &'a Verdict<'_>, question: &'a Question<'_>) -> Option<RefusedRequest<'a>> {
        let limited = |retry_after_s: u64| RefusedRequest {
            status: 429,
            code: verdict.code.as_str(),
            retry_after_s: Some(retry_after_s.max(1)),
            ..RefusedRequest::default()
        };
        match (verdict.code, verdict.detail) {
            (Code::Valid, _) => None,
            (Code::RateLimited, _) => Some(limited(verdict.retry_after_s())),
            (Code::UsageExceeded, _) => Some(limited(USES_RETRY_S)),
            (code, _) if code.is_about_the_key() => Some(RefusedRequest::credential()),
            (_, Some(detail)) => Some(RefusedRequest::request(detail.as_str())),
            (Code::InsufficientScope, None) => {
                let (needed_together, needed) = needed(verdict, question).unwrap_or_default();
                Some(RefusedRequest {
                    needed,
                    needed_together,
                    demanded: question.scopes.clone(),
                    of_other_catalog: is_of_other_catalog(verdict, question),
                    ..RefusedRequest::request(verdict.code.as_str())
                })
            }
            (code, None) => Some(RefusedRequest::request(code.as_str())),
        }
    }
}

/// Whether the question is about a catalog, and the key belongs to another one or to none.
fn is_of_other_catalog(verdict: &Verdict<'_>, question: &Question<'_>) -> bool {
    let own = verdict.key.and_then(|key| key.shared.catalog.as_deref());
    question.catalog.is_some_and(|wanted| own != Some(wanted))
}

/// What the operation requires and the key lacks: scopes that are needed together, and scopes of which one is needed.
fn needed<'a>(
    verdict: &'a Verdict<'_>,
    question: &Question<'_>,
) -> Option<(Vec<&'a Scope>, Vec<&'a Scope>)> {
    let catalog = verdict.directory.catalog(question.catalog?)?;
    let demand = catalog.demand(question.method?, question.path?, question.host);
    let requirement = demand.ok()?.requirement;
    let held = verdict.key.map(|key| (verdict.scopes(key), key));
    let has = |name: &String| {
        held.as_ref().is_some_and(|(scopes, key)| {
            catalog.grants(
                scopes,
                verdict.directory.is_root(key.shared.workspace),
                name,
            )
        })
    };
    let scope = |name: &String| catalog.scope(name);
    let all_of = requirement.all_of().iter().filter(|name| !has(name));
    let any_of = requirement.any_of();
    let any_of = match any_of.iter().any(has) {
        true => &[],
        false => any_of,
    };
    Some((
        all_of.filter_map(scope).collect(),
        any_of.iter().filter_map(scope).collect(),
    ))
}

/// Judges the request itself. Its path in the catalog is `mount` followed by the path below, without a trailing slash.
/// The answer is 204 without a body if the key opens the request, otherwise a refusal in the format of `words`. A
/// client with a valid key also learns the methods that the catalog has for the path.
pub fn judge(call: &Call<'_>, words: &CatalogWords, mount: &str) -> Result<Option<Reply>> {
    let below = call.below.strip_suffix('/').unwrap_or(call.below);
    let path = &*format!("{mount}{below}");
    let head = &call.request.head;
    let presented = credential::read(head, call.app.index.directory().named_headers());
    let Presented::One(credential) = presented else {
        return Ok(Some(words.refusal(&RefusedRequest::credential())));
    };
    let question = Question {
        catalog: Some(words.catalog),
        method: Some(head.method.as_str()),
        path: Some(path),
        host: head.host(),
        address: call.trust.client_address(head),
        header: Some(credential.header),
        via: "dialect",
        cost: 1,
        ..Question::default()
    };
    let told = |verdict: &Verdict<'_>| {
        let Some(mut refused) = RefusedRequest::of(verdict, &question) else {
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
    /// A refusal as an answer of this server itself.
    fn refusal(&self, refused: &RefusedRequest<'_>) -> Reply {
        let reply = Reply::new(refused.status);
        let reply = match refused.retry_after_s {
            None => reply,
            Some(seconds) => reply.with("retry-after", seconds.to_string()),
        };
        (self.word)(refused, reply)
    }
}
