//! Pages of other sites cannot read anything from the console.

use super::Visitor;
use crate::support::Server;

// attacks 166
#[test]
fn no_answer_lets_another_site_read_it() {
    let server = Server::start();
    let owner = Visitor::owner(&server);
    let cookie = format!("latchkey={}", owner.session().unwrap());
    let bearer = server.admin().authorization();
    let own = format!("http://{}", server.address);
    let origins = [
        "https://evil.example",
        "null",
        "http://evil-example.com",
        &format!("{own}.evil.example"),
        &own,
    ];
    for origin in origins {
        for path in [
            "/",
            "/console",
            "/console/keys",
            "/console/assets/console.css",
            "/v1/keys",
            "/v1/verify",
            "/v1/openapi.json",
            "/auth/nginx",
            "/healthz",
        ] {
            for (method, extra) in [
                ("GET", ("Accept", "*/*")),
                ("OPTIONS", ("Access-Control-Request-Method", "DELETE")),
                (
                    "OPTIONS",
                    ("Access-Control-Request-Headers", "authorization"),
                ),
                (
                    "OPTIONS",
                    ("Access-Control-Request-Private-Network", "true"),
                ),
            ] {
                let headers = [
                    ("Origin", origin),
                    ("Cookie", &cookie),
                    ("Authorization", &bearer),
                    extra,
                ];
                let response = server.call(method, path, &headers, None);
                let told = response
                    .headers
                    .iter()
                    .find(|(name, _)| name.starts_with("access-control-"));
                assert_eq!(told, None, "{method} {path} for {origin}");
                // A proxy's question may have any method; its answer names no origin either.
                if method == "OPTIONS" && path != "/auth/nginx" {
                    assert!(response.status >= 400, "{path}: {}", response.status);
                }
            }
        }
    }
}
