//! The names of things inside other sentences, so that a language has its own words for them.

use super::{Refusal, verbatim};

sentences! { "nouns":
    audit() = "audit log";
    authenticator() = "authenticator";
    catalog() = "catalog";
    key() = "key";
    not_a_key() = "key: this caller is not one";
    not_a_session() = "session: this caller is not one";
    pack() = "pack";
    page() = "page";
    path() = "path";
    policy() = "policy";
    session() = "session";
    site() = "site";
    source() = "source";
    user() = "user";
    version() = "version";
    workspace() = "workspace";
}

/// The noun with this English text. A text that is no noun stays as it is.
pub fn of(english: &str) -> Refusal {
    let nouns: [fn() -> Refusal; 16] = [
        audit,
        authenticator,
        catalog,
        key,
        not_a_key,
        not_a_session,
        pack,
        page,
        path,
        policy,
        session,
        site,
        source,
        user,
        version,
        workspace,
    ];
    let known = nouns.into_iter().map(|noun| noun());
    let mut known = known.filter(|noun| noun.sentence.english == english);
    known.next().unwrap_or_else(|| verbatim(english))
}
