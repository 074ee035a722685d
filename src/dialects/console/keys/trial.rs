//! The box "Test this key" on a key's page, here and at a site: a request, and the verdict that it would get.

use crate::dialects::console::auth::Visit;
use crate::dialects::console::chart::code_words;
use crate::dialects::console::form::Refusal;
use crate::dialects::console::text::Texts;
use crate::domain::keys::KeyId;
use crate::domain::keys::verdict::Code;
use crate::error::Result;
use crate::http::query::Query;
use crate::ops::verify::trial::{Request, Trial, try_key};

/// The methods that a request can be tested with.
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// The form, and the verdict if the form was sent.
pub struct TrialForm {
    /// Whether the key has a catalog: then a request is a method and a path, otherwise it is a list of scopes.
    pub by_path: bool,
    pub methods: Vec<(&'static str, bool)>,
    pub path: String,
    pub host: String,
    pub scopes: String,
    pub ip: String,
    pub verdict: Option<TrialVerdict>,
    /// The field at fault and the reason; both are empty if nothing is wrong.
    pub refused: (String, String),
}

/// The verdict, in words.
pub struct TrialVerdict {
    pub good: bool,
    pub code: &'static str,
    pub words: &'static str,
    /// The reason, and what would change the verdict.
    pub why: String,
    /// What is left of the limits; empty if the key has none.
    pub left: Vec<String>,
}

/// Takes the parameters of the form, and tries the key of this id.
pub fn take(visit: &Visit<'_>, query: &mut Query, id: KeyId, by_path: bool) -> Result<TrialForm> {
    take_with(visit.texts, query, by_path, &|request| {
        try_key(visit.call.app, &visit.caller, id, request)
    })
}

/// Takes the parameters of the form, and tries a key with the request. The form is sent with GET, because it changes nothing.
pub fn take_with(
    texts: &Texts,
    query: &mut Query,
    by_path: bool,
    try_it: &dyn Fn(&Request) -> Result<Trial>,
) -> Result<TrialForm> {
    let mut some = |name: &str| query.take(name).unwrap_or_default();
    let is_sent = !some("test").is_empty();
    let (method, path, host) = (some("method"), some("path"), some("host"));
    let (scopes, ip) = (some("scopes"), some("ip"));
    let mut form = TrialForm {
        by_path,
        methods: METHODS
            .iter()
            .map(|known| (*known, *known == method))
            .collect(),
        path: path.clone(),
        host: host.clone(),
        scopes: scopes.clone(),
        ip: ip.clone(),
        verdict: None,
        refused: Default::default(),
    };
    if !is_sent {
        return Ok(form);
    }
    let filled = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let path = filled(path).filter(|_| by_path);
    let request = Request {
        method: path.as_ref().and(filled(method)),
        host: path.as_ref().and(filled(host)),
        path,
        scopes: scopes
            .split([' ', ','])
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect(),
        ip: filled(ip),
        ..Request::default()
    };
    match try_it(&request) {
        Ok(tried) => {
            let rate = tried.rate.filter(|_| tried.code == Code::Valid);
            let rate = rate.map(|rate| texts.count("trial.rate", rate.remaining));
            let uses = tried.uses_left.filter(|_| tried.code == Code::Valid);
            let uses = uses.map(|uses| texts.count("trial.uses", uses));
            form.verdict = Some(TrialVerdict {
                good: tried.code == Code::Valid,
                code: tried.code.as_str(),
                words: code_words(texts, tried.code.as_str()),
                why: texts.sentence(&tried.why),
                left: [rate, uses].into_iter().flatten().collect(),
            });
        }
        Err(err) => match Refusal::of(texts, &err) {
            Some(refusal) => form.refused = (refusal.bare().to_owned(), refusal.why),
            None => return Err(err),
        },
    }
    Ok(form)
}
