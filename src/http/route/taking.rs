//! Which requests only remove or restrict something. They wait in a queue of their own, count against no budget, and
//! may use the disk space that is reserved for them.

use crate::domain::users::roles::Role;
use crate::http::fields::{self, Fields};
use crate::http::request::Request;
use crate::ops::App;
use serde_json::{Value, json};

/// Whether the requests of a route only remove or restrict something.
#[derive(Clone, Copy)]
pub enum Takes {
    Always,
    /// It depends on the request; the function also receives the path below the mount. The function uses memory only,
    /// and returns false for a request that it cannot read.
    If(fn(&App, &Request, &str) -> bool),
    Never,
}

/// A longer body than this changes more than a single switch.
const BODY_BYTES_MAX: usize = 8 * 1024;

impl Takes {
    /// Whether this request only removes or restricts something.
    pub fn away(self, app: &App, request: &Request, below: &str) -> bool {
        match self {
            Takes::Always => true,
            Takes::If(decide) => {
                request.body.len() <= BODY_BYTES_MAX && decide(app, request, below)
            }
            Takes::Never => false,
        }
    }
}

/// The body is a JSON object that disables something and changes nothing else.
pub fn disables(_: &App, request: &Request, _: &str) -> bool {
    fields::value(&request.body).is_ok_and(|body| body == json!({ "enabled": false }))
}

/// A JSON object that deletes or disables several keys.
pub fn ends_keys(_: &App, request: &Request, _: &str) -> bool {
    let body = fields::value(&request.body);
    body.is_ok_and(|body| {
        let action = body.get("action").and_then(Value::as_str);
        matches!(action, Some("delete" | "disable"))
    })
}

/// The body is a JSON object with a list of roles, all of which the user in the path has already.
pub fn leaves_only_roles(app: &App, request: &Request, below: &str) -> bool {
    let listed = || -> Option<Vec<(String, Role)>> {
        let mut body = Fields::parse(&request.body).ok()?;
        let items = body.objects("roles").ok()??;
        let mut roles = Vec::new();
        for mut item in items {
            let workspace = item.text("workspace").ok()??;
            roles.push((workspace, Role::parse(&item.text("role").ok()??)?));
        }
        Some(roles)
    };
    let Some(listed) = listed() else {
        return false;
    };
    let directory = app.index.directory();
    let name = below.split('/').nth(2).unwrap_or_default();
    let Some(user) = directory.find_user(&name.to_ascii_lowercase()) else {
        return false;
    };
    listed.iter().all(|(workspace, role)| {
        let place = directory.find_place(workspace);
        let uid = place.map(|place| place.workspace.uid);
        let mut held = user.roles.iter();
        held.any(|binding| Some(binding.workspace) == uid && binding.role == *role)
    })
}

/// The body is a JSON Patch (RFC 6902) of one operation that sets `status` to the value for "disabled".
pub fn patches_off(_: &App, request: &Request, _: &str) -> bool {
    let Ok(Value::Array(operations)) = fields::value(&request.body) else {
        return false;
    };
    let [operation] = operations.as_slice() else {
        return false;
    };
    let text = |member: &str| operation.get(member).and_then(Value::as_str).unwrap_or("");
    matches!(text("op"), "add" | "replace")
        && matches!(text("path"), "status" | "/status")
        && text("value").eq_ignore_ascii_case("disabled")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::RequestId;
    use crate::ops::setup::fixture::Fixture;
    use crate::ops::users::{NewUser, create};

    fn request(path: &str, body: &str) -> Request {
        let body = body.as_bytes().to_vec();
        Request::in_process("PUT", path, body, 0, RequestId::new(0, 0)).unwrap()
    }

    #[track_caller]
    fn check(decide: fn(&App, &Request, &str) -> bool, fixture: &Fixture, body: &str, takes: bool) {
        let path = "/users/Anna/roles";
        let request = request(path, body);
        let found = Takes::If(decide).away(&fixture.app, &request, path);
        assert_eq!(found, takes, "{body}");
    }

    #[test]
    fn switching_off_is_told_from_all_else() {
        let fixture = Fixture::new();
        check(disables, &fixture, r#"{"enabled":false}"#, true);
        check(disables, &fixture, r#" { "enabled" : false } "#, true);
        check(
            ends_keys,
            &fixture,
            r#"{"action":"delete","ids":["x"]}"#,
            true,
        );
        check(
            ends_keys,
            &fixture,
            r#"{"action":"disable","ids":["x"]}"#,
            true,
        );
        for other in [
            r#"{"action":"enable","ids":["x"]}"#,
            "{}",
            "[]",
            "x",
            r#"{"action":7}"#,
        ] {
            check(ends_keys, &fixture, other, false);
        }
        for other in [
            r#"{"enabled":true}"#,
            r#"{"enabled":null}"#,
            r#"{"enabled":false,"name":"x"}"#,
            r#"{"enabled":true,"enabled":false}"#,
            "{}",
            "",
            "nonsense",
        ] {
            check(disables, &fixture, other, false);
        }
        let padded = format!(r#"{{"enabled":false{}}}"#, " ".repeat(BODY_BYTES_MAX));
        check(disables, &fixture, &padded, false);

        let off = r#"[{"op":"replace","path":"/status","value":"Disabled"}]"#;
        check(patches_off, &fixture, off, true);
        for other in [
            r#"[{"op":"replace","path":"/status","value":"Enabled"}]"#,
            r#"[{"op":"test","path":"/status","value":"Disabled"}]"#,
            r#"[{"op":"replace","path":"/status","value":"Disabled"},{"op":"remove","path":"/status"}]"#,
            "[]",
        ] {
            check(patches_off, &fixture, other, false);
        }
    }

    #[test]
    fn roles_that_a_user_has_already_are_told_from_new_ones() {
        let fixture = Fixture::new();
        let anna = NewUser {
            user_name: "anna".to_owned(),
            email: None,
            workspace: None,
            password: None,
            roles: vec![("root".to_owned(), Role::KeyManager)],
        };
        create(&fixture.app, &fixture.local(), anna, None).unwrap();
        let of = |role: &str| format!(r#"{{"roles":[{{"workspace":"root","role":"{role}"}}]}}"#);
        check(leaves_only_roles, &fixture, r#"{"roles":[]}"#, true);
        check(leaves_only_roles, &fixture, &of("key_manager"), true);
        for other in [&of("owner"), &of("nonsense"), "{}", r#"{"roles":null}"#] {
            check(leaves_only_roles, &fixture, other, false);
        }
    }
}
