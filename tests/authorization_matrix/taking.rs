//! The complete list of routes whose requests only remove or restrict something, so that the server reserves capacity
//! for them.

use crate::dialects::SURFACES;
use crate::http::route::{Route, Takes};

/// The routes of which every request only removes or restricts something. Those with the method DELETE are omitted,
/// because this is true of all of them.
const ALWAYS: &[&str] = &[
    "POST /console/account/end-sessions",
    "POST /console/account/sessions/{id}/end",
    "POST /console/catalogs/{name}/delete",
    "POST /console/keys/{id}/delete",
    "POST /console/keys/{id}/disable",
    "POST /console/keys/{id}/end-previous",
    "POST /console/policies/{name}/delete",
    "POST /console/sign-out",
    "POST /console/sites/{name}/keys/{id}/disable",
    "POST /console/sites/{name}/remove",
    "POST /console/users/{name}/delete",
    "POST /console/users/{name}/end-sessions",
    "POST /console/users/{name}/sessions/{id}/end",
    "POST /console/workspaces/{slug}/delete",
    "POST /v1/keys/{id}/disable",
    "POST /v1/revoke",
];

/// The routes of which only some requests do so.
const SOMETIMES: &[&str] = &[
    "PATCH /api/v3/users/{userUid}",
    "PATCH /api/v3/users/{userUid}/logins/{userLoginId}",
    "PATCH /v1/keys/{id}",
    "PATCH /v1/users/{id}",
    "PATCH /v1/workspaces/{id}",
    "POST /console/keys/bulk/confirmed",
    "POST /console/users/{name}",
    "POST /console/users/{name}/roles",
    "POST /console/workspaces/{slug}",
    "POST /v1/keys/batch",
    "PUT /v1/users/{id}/roles",
];

fn named(wanted: impl Fn(&Route) -> bool) -> Vec<String> {
    let mut names = Vec::new();
    for surface in SURFACES {
        let routes = surface.routes.iter().filter(|route| wanted(route));
        names.extend(routes.map(|it| format!("{} {}{}", it.method, surface.mount, it.path)));
    }
    names.sort();
    names
}

#[test]
fn exactly_these_routes_take_away() {
    let always = |route: &Route| matches!(route.takes, Takes::Always) && route.method != "DELETE";
    assert_eq!(named(always), ALWAYS);
    assert_eq!(
        named(|route| matches!(route.takes, Takes::If(_))),
        SOMETIMES
    );
    let others = |route: &Route| !matches!(route.takes, Takes::Always) && route.method == "DELETE";
    assert_eq!(named(others), Vec::<String>::new());
}
