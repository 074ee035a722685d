//! Reads the credential from the headers of a request: never from the query or a cookie, and from a body only at
//! endpoints where OAuth clients authenticate.

use crate::domain::policies::CredentialHeader;
use crate::http::query;
use crate::http::request::{Head, HeaderFault, Request};
use base64ct::{Base64, Encoding};

/// A presented secret, and the header that contained it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credential<'a> {
    pub secret: &'a str,
    pub header: CredentialHeader,
    /// For `Authorization: Basic`: user name, colon and password, which together can be a secret of another system.
    pub basic: Option<&'a str>,
}

/// The content of the headers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Presented<'a> {
    /// There is a header, but its value cannot be a secret.
    Faulty,
    /// More than one credential, or a header that occurs twice. The server never uses the first one (attacks 46, 48).
    Many,
    None,
    One(Credential<'a>),
}

/// Reads `Authorization` and the named headers. `Authorization: Basic` is never a credential here.
pub fn read<'a>(head: &'a Head, named: &[String]) -> Presented<'a> {
    with_named(authorization(head, None), head, named)
}

/// Reads the credential of a client of an application behind a proxy. It does the same as [`read`], and also accepts a
/// key as a part of `Authorization: Basic`, whose decoded text is written to `room`. With `only`, it reads just that
/// header, and all others belong to the application.
pub fn read_for_proxy<'a>(
    head: &'a Head,
    named: &[String],
    only: Option<&str>,
    room: &'a mut String,
) -> Presented<'a> {
    match only {
        None => with_named(authorization(head, Some(room)), head, named),
        Some("authorization") => authorization(head, Some(room)),
        Some(name) => in_header(head, name),
    }
}

/// How an OAuth client authenticates at an endpoint for such clients (RFC 6749, section 2.3): with a header as at all
/// endpoints, or with a secret in `Authorization: Basic` or in the form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Client<'a> {
    /// Neither `Basic` nor a member of the form; the headers contain what [`read`] finds.
    Header(Presented<'a>),
    /// The client tried to authenticate, but its credentials are malformed.
    Faulty,
    /// More than one way of authentication (RFC 6749, section 2.3: a client must not use more than one).
    Many,
    /// `client_secret_basic` or `client_secret_post`.
    Secret(String),
}

/// Reads the credential of an OAuth client.
pub fn read_client<'a>(request: &'a Request, named: &[String]) -> Client<'a> {
    let (form_id, form_secret) = match form_client(request) {
        Ok(found) => found,
        Err(DuplicateMember) => return Client::Many,
    };
    if !tries_basic(request) {
        return match (read(request, named), form_secret) {
            (found, None) => Client::Header(found),
            (Presented::None, Some(secret)) => Client::Secret(secret),
            (_, Some(_)) => Client::Many,
        };
    }
    let is_alone = named.iter().all(|name| !request.headers.contains(name));
    if !is_alone || form_secret.is_some() {
        return Client::Many;
    }
    let basic = match request.header("authorization") {
        Err(HeaderFault::Repeated) => return Client::Many,
        Ok(Some(value)) => value.split_once(' ').and_then(|(_, rest)| basic(rest)),
        Ok(None) | Err(HeaderFault::NotText) => None,
    };
    // Both parts are encoded as in a form (RFC 6749, section 2.3.1).
    let decoded = basic
        .and_then(|(id, secret)| Some((query::decode(&id, true)?, query::decode(&secret, true)?)));
    match decoded {
        Some((id, _)) if form_id.is_some_and(|form_id| form_id != id) => Client::Many,
        Some((_, secret)) if !secret.is_empty() => Client::Secret(secret),
        Some(_) | None => Client::Faulty,
    }
}

/// Whether a client tries one of the two standard ways for OAuth clients.
pub fn is_oauth_client(request: &Request) -> bool {
    tries_basic(request) || !matches!(form_client(request), Ok((None, None)))
}

/// Whether one `Authorization` header of the request has the scheme `Basic`.
pub fn tries_basic(head: &Head) -> bool {
    head.headers.all("authorization").any(|value| {
        let begins = value.get(..5);
        begins.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
            && value.get(5).is_none_or(|next| matches!(next, b' ' | b'\t'))
    })
}

/// A member of the form occurs twice.
struct DuplicateMember;

/// `client_id` and `client_secret` of the form. A body of another kind has none.
fn form_client(request: &Request) -> Result<(Option<String>, Option<String>), DuplicateMember> {
    let kind = request.header("content-type").ok().flatten().unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok((None, None));
    }
    let (mut id, mut secret) = (None, None);
    // The handler refuses a form that cannot be read.
    let pairs = std::str::from_utf8(&request.body).ok();
    let pairs = pairs.and_then(|text| query::pairs(text).ok());
    for (name, value) in pairs.unwrap_or_default() {
        let place = match name.as_str() {
            "client_id" => &mut id,
            "client_secret" => &mut secret,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(DuplicateMember);
        }
    }
    Ok((id, secret))
}

/// Adds the named headers to the content of `Authorization`. Two credentials are refused.
fn with_named<'a>(mut found: Presented<'a>, head: &'a Head, named: &[String]) -> Presented<'a> {
    for name in named {
        let next = match in_header(head, name) {
            Presented::None => continue,
            Presented::Many => return Presented::Many,
            next => next,
        };
        if found != Presented::None {
            return Presented::Many;
        }
        found = next;
    }
    found
}

/// The credential in a header other than `Authorization`.
fn in_header<'a>(head: &'a Head, name: &str) -> Presented<'a> {
    match head.header(name) {
        Ok(None) => Presented::None,
        Ok(Some("")) | Err(HeaderFault::NotText) => Presented::Faulty,
        Ok(Some(secret)) => Presented::One(Credential {
            secret,
            header: CredentialHeader::Named(name.to_owned()),
            basic: None,
        }),
        Err(HeaderFault::Repeated) => Presented::Many,
    }
}

/// `Authorization: Bearer …` or `Token …`; the scheme in any case, then at least one space (RFC 9110, 11.4). `Basic …`
/// is accepted only with `room` for its decoded text.
fn authorization<'a>(head: &'a Head, room: Option<&'a mut String>) -> Presented<'a> {
    let value = match head.header("authorization") {
        Ok(None) => return Presented::None,
        Ok(Some(value)) => value,
        Err(HeaderFault::NotText) => return Presented::Faulty,
        Err(HeaderFault::Repeated) => return Presented::Many,
    };
    let Some((scheme, rest)) = value.split_once(' ') else {
        return Presented::Faulty;
    };
    let header = if scheme.eq_ignore_ascii_case("bearer") {
        CredentialHeader::Bearer
    } else if scheme.eq_ignore_ascii_case("token") {
        CredentialHeader::Token
    } else if scheme.eq_ignore_ascii_case("basic")
        && let Some(room) = room
    {
        let Some((user, password)) = basic(rest) else {
            return Presented::Faulty;
        };
        *room = format!("{user}:{password}");
        let whole: &'a str = room;
        // The key is the password, or the user name if the password is empty.
        let secret = match password.is_empty() {
            true => &whole[..user.len()],
            false => &whole[user.len() + 1..],
        };
        if secret.is_empty() {
            return Presented::Faulty;
        }
        return Presented::One(Credential {
            secret,
            header: CredentialHeader::Basic,
            basic: Some(whole),
        });
    } else {
        return Presented::Faulty;
    };
    let secret = rest.trim_start_matches(' ');
    if secret.is_empty() || secret.contains([' ', '\t', ',']) {
        return Presented::Faulty;
    }
    Presented::One(Credential {
        secret,
        header,
        basic: None,
    })
}

/// Decodes user name and password from the credentials of `Basic` (RFC 7617). They must be base64 with correct padding,
/// and UTF-8 without control characters; the first colon separates them.
fn basic(credentials: &str) -> Option<(String, String)> {
    let bytes = Base64::decode_vec(credentials.trim_start_matches(' ')).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    if text.chars().any(char::is_control) {
        return None;
    }
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Method, Peer, RequestId};

    #[track_caller]
    fn check(headers: &[(&str, &str)], expected: Option<(&str, CredentialHeader)>) {
        let head = Head {
            method: Method::GET,
            target: "/?key=lk_x".parse().unwrap(),
            is_http_11: true,
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

    fn basic_of(text: &[u8]) -> String {
        format!("Basic {}", Base64::encode_string(text))
    }

    #[track_caller]
    fn check_for_proxy(
        headers: &[(&str, &str)],
        only: Option<&str>,
        expected: Option<(&str, CredentialHeader)>,
    ) {
        let head = Head {
            method: Method::GET,
            target: "/".parse().unwrap(),
            is_http_11: true,
            headers: headers.iter().copied().collect(),
            peer: Peer::Unix { uid: 0 },
            id: RequestId::new(0, 0),
        };
        let mut room = String::new();
        let found = match read_for_proxy(&head, &["x-api-key".to_owned()], only, &mut room) {
            Presented::One(credential) => Some((credential.secret.to_owned(), credential.header)),
            _ => None,
        };
        let expected = expected.map(|(secret, header)| (secret.to_owned(), header));
        assert_eq!(found, expected, "{headers:?} {only:?}");
    }

    #[test]
    fn behind_a_proxy_the_key_may_be_a_part_of_basic() {
        let found = |secret| Some((secret, CredentialHeader::Basic));
        let check = |text: &[u8], expected| {
            check_for_proxy(&[("authorization", &basic_of(text))], None, expected);
        };
        check(b"git:lk_a", found("lk_a"));
        check(b":lk_a", found("lk_a"));
        check(b"lk_a:", found("lk_a"));
        check(b"lk_b:lk_a", found("lk_a"));
        check("Jörg:lk_a".as_bytes(), found("lk_a"));
        check(b"git:lk_a:x", found("lk_a:x"));
        for bad in [
            &b""[..],
            b":",
            b"lk_a",
            b"git:lk_a\n",
            b"gi\0t:lk_a",
            b"g\xfft:lk_a",
        ] {
            check(bad, None);
        }
        for bad in [
            // Without padding, with too much padding, with unused bits that are set, with the other alphabet, with text
            // after the end.
            "Basic",
            "Basic ",
            "Basic YTph=",
            "Basic YTpi=",
            "Basic YTpiYw=",
            "Basic YTpiYx==",
            "Basic YTpi YTpi",
            "Basic YTpi,",
            "Basic YTpi\t",
            "Basic\tYTpi",
            "Basic a_-=",
            "Basic YTpi\n",
            "BasicYTpi",
        ] {
            check_for_proxy(&[("authorization", bad)], None, None);
        }
        check_for_proxy(&[("authorization", "bASIC   YTpi")], None, found("b"));
        check_for_proxy(
            &[("authorization", "Basic YTpi"), ("x-api-key", "a")],
            None,
            None,
        );
        check_for_proxy(
            &[
                ("authorization", "Basic YTpi"),
                ("authorization", "Basic YTpi"),
            ],
            None,
            None,
        );
    }

    #[test]
    fn the_named_header_is_the_only_one_that_is_looked_at() {
        let named = |secret| Some((secret, CredentialHeader::Named("x-api-key".to_owned())));
        let only = Some("x-api-key");
        check_for_proxy(
            &[("x-api-key", "a"), ("authorization", "Basic YTpi")],
            only,
            named("a"),
        );
        check_for_proxy(
            &[("x-api-key", "a"), ("authorization", "Bearer b")],
            only,
            named("a"),
        );
        check_for_proxy(&[("authorization", "Bearer b")], only, None);
        check_for_proxy(&[("x-api-key", "a"), ("x-api-key", "a")], only, None);
        check_for_proxy(&[("x-api-key", "")], only, None);
        check_for_proxy(&[("x-api-key", "a")], Some("x-other"), None);
        let only = Some("authorization");
        check_for_proxy(
            &[("x-api-key", "a"), ("authorization", "Bearer b")],
            only,
            Some(("b", CredentialHeader::Bearer)),
        );
        check_for_proxy(&[("x-api-key", "a")], only, None);
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
