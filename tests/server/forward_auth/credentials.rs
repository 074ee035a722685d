//! What counts as a credential for forward-auth, and what counts as none or as an invalid one.

use serde_json::json;

use super::{IDENTITY, PROXIES};
use crate::support::Server;

/// attacks 46, 48, 49, 50, 53, 92, 102
#[test]
fn no_credential_or_a_bad_one_is_401_and_says_which() {
    let server = Server::start();
    let admin = server.admin();
    let good = server.secret.as_str();
    let off = admin
        .issue(json!({ "name": "off", "enabled": false }))
        .secret;
    let early = admin
        .issue(json!({ "name": "early", "not_before": "2990-01-01T00:00:00Z" }))
        .secret;
    let bearer = |secret: &str| ("Authorization", format!("Bearer {secret}"));
    let none = "Bearer realm=\"latchkey\"";
    let bad = "Bearer realm=\"latchkey\", error=\"invalid_token\"";
    let cases: Vec<(Vec<(&str, String)>, &str)> = vec![
        (vec![], none),
        (vec![("Cookie", format!("key={good}; \"garbage"))], none),
        (vec![bearer("")], bad),
        (vec![bearer("null")], bad),
        (vec![bearer(&off)], bad),
        (vec![bearer(&early)], bad),
        (vec![bearer(&format!("{good}x"))], bad),
        (vec![bearer(&format!("{good},{good}"))], bad),
        (vec![("Authorization", good.to_owned())], bad),
        (vec![("Authorization", "Bearer".to_owned())], bad),
        (vec![("Authorization", format!("Bearer\t{good}"))], bad),
        (vec![("Authorization", format!("Basic {good}"))], bad),
        (vec![("Authorization", format!("Bearer {good} x"))], bad),
        (vec![bearer(good), bearer(good)], bad),
        (vec![bearer("lk_bad"), bearer(good)], bad),
        (vec![bearer(good), bearer("lk_bad")], bad),
        (vec![bearer(good), ("X-API-Key", good.to_owned())], bad),
        (
            vec![
                ("X-API-Key", good.to_owned()),
                ("X-API-Key", good.to_owned()),
            ],
            bad,
        ),
        (vec![("X-API-Key", String::new())], bad),
        (vec![("X-API-Key", format!("Bearer {good}"))], bad),
        (vec![("X-API-Key", "é".to_owned())], bad),
    ];
    for proxy in PROXIES {
        for (headers, challenge) in &cases {
            let user = headers
                .iter()
                .fold(server.anonymous(), |user, (name, value)| {
                    user.with(name, value)
                });
            let answer = user.get(&format!("/auth/{proxy}")).expect(401);
            assert_eq!(
                answer.header("www-authenticate"),
                Some(*challenge),
                "{proxy} {headers:?}"
            );
            assert!(answer.body.is_empty());
            for name in IDENTITY {
                assert_eq!(answer.header(name), None, "{proxy} {headers:?}");
            }
        }
        let in_query = server.anonymous().get(&format!("/auth/{proxy}?key={good}"));
        in_query.expect(401);
        for (name, value) in [
            ("Authorization", format!("bEARER  {good}")),
            ("Authorization", format!("Token {good}")),
            ("X-API-Key", good.to_owned()),
        ] {
            server
                .anonymous()
                .with(name, &value)
                .get(&format!("/auth/{proxy}"))
                .expect(200);
        }
    }
}
