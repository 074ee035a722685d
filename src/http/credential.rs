//! Reading the credential out of a request's headers. Never from the query, a cookie or the body.

use crate::domain::policy::CredentialHeader;
use crate::http::request::{Head, HeaderFault};

/// A secret as it was presented, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credential<'a> {
    pub secret: &'a str,
    pub header: CredentialHeader,
}

/// What the headers hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Presented<'a> {
    /// A header is there, but nothing in it could be a secret.
    Faulty,
    /// More than one credential, or a header that occurs twice: never "the first wins" (attacks 46, 48).
    Many,
    None,
    One(Credential<'a>),
}

/// Looks at `Authorization` and at the named headers.
pub fn read<'a>(head: &'a Head, named: &[String]) -> Presented<'a> {
    let mut found = Presented::None;
    if let Some(credential) = authorization(head) {
        found = credential;
    }
    for name in named {
        let next = match head.header(name) {
            Ok(None) => continue,
            Ok(Some("")) | Err(HeaderFault::NotText) => Presented::Faulty,
            Ok(Some(secret)) => Presented::One(Credential {
                secret,
                header: CredentialHeader::Named(name.clone()),
            }),
            Err(HeaderFault::Repeated) => return Presented::Many,
        };
        if found != Presented::None {
            return Presented::Many;
        }
        found = next;
    }
    found
}

/// `Authorization: Bearer …` or `Token …`; the scheme in any case, then at least one space (RFC 9110, 11.4).
fn authorization(head: &Head) -> Option<Presented<'_>> {
    let value = match head.header("authorization") {
        Ok(None) => return None,
        Ok(Some(value)) => value,
        Err(HeaderFault::NotText) => return Some(Presented::Faulty),
        Err(HeaderFault::Repeated) => return Some(Presented::Many),
    };
    let Some((scheme, rest)) = value.split_once(' ') else {
        return Some(Presented::Faulty);
    };
    let header = if scheme.eq_ignore_ascii_case("bearer") {
        CredentialHeader::Bearer
    } else if scheme.eq_ignore_ascii_case("token") {
        CredentialHeader::Token
    } else {
        return Some(Presented::Faulty);
    };
    let secret = rest.trim_start_matches(' ');
    if secret.is_empty() || secret.contains([' ', '\t', ',']) {
        return Some(Presented::Faulty);
    }
    Some(Presented::One(Credential { secret, header }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Peer, RequestId};
    use http::Method;

    #[track_caller]
    fn check(headers: &[(&str, &str)], expected: Option<(&str, CredentialHeader)>) {
        let head = Head {
            method: Method::GET,
            target: "/?key=lk_x".parse().unwrap(),
            headers: headers.iter().copied().collect(),
            peer: Peer::Unix { uid: 0 },
            id: RequestId::new(0, 0),
        };
        let found = match read(&head, &["x-api-key".to_owned()]) {
            Presented::One(credential) => Some((credential.secret, credential.header)),
            _ => None,
        };
        assert_eq!(found, expected, "{headers:?}");
    }

    // attacks 46, 48, 49, 50, 102
    #[test]
    fn exactly_one_credential_in_a_known_form_is_read() {
        let bearer = |secret| Some((secret, CredentialHeader::Bearer));
        check(&[("authorization", "Bearer a")], bearer("a"));
        check(&[("authorization", "bEARER  a")], bearer("a"));
        check(
            &[("authorization", "Token a")],
            Some(("a", CredentialHeader::Token)),
        );
        check(
            &[("x-api-key", "a")],
            Some(("a", CredentialHeader::Named("x-api-key".to_owned()))),
        );
        let refused: [&[(&str, &str)]; 14] = [
            &[],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer\ta")],
            &[("authorization", "Bearera")],
            &[("authorization", "Bearer a b")],
            &[("authorization", "Bearer a,b")],
            &[("authorization", "Basic YTpi")],
            &[("authorization", "a")],
            &[("authorization", "")],
            &[("x-api-key", "")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
            &[("authorization", "Bearer a"), ("x-api-key", "a")],
            &[("x-api-key", "a"), ("x-api-key", "a")],
            &[("cookie", "key=a"), ("x-apikey", "a")],
        ];
        for headers in refused {
            check(headers, None);
        }
    }
}
