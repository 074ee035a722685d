//! All callers of the test, and what each may do. The roles are deliberately defined here a second time.

use super::world::{BELOW, HERE, PASSWORD, ROOT, THERE, World};
use crate::domain::users::permissions::{Permission, Permissions};
use serde_json::{Value, json};

/// The permissions of each role (docs/security-model.md).
#[rustfmt::skip]
const ROLES: [(&str, &str); 5] = [
    ("owner",         "keys:read keys:write keys:verify keys:reveal workspaces:read workspaces:write users:read users:write \
                       policies:read policies:write catalogs:read catalogs:write audit:read server:admin leaks:report"),
    ("administrator", "keys:read keys:write keys:verify keys:reveal workspaces:read workspaces:write users:read users:write \
                       policies:read catalogs:read audit:read leaks:report"),
    ("key_manager",   "keys:read keys:write keys:verify workspaces:read policies:read catalogs:read leaks:report"),
    ("auditor",       "keys:read workspaces:read users:read policies:read catalogs:read audit:read"),
    // A member has these permissions on keys only for their own keys.
    ("member",        "keys:read keys:write policies:read catalogs:read"),
];

/// One caller of the test.
pub struct Caller {
    pub name: String,
    /// `None` for a caller without a credential.
    pub secret: Option<String>,
    is: Is,
}

enum Is {
    /// The credential is missing or not in force.
    Nobody,
    Manager(Manager),
    /// The key is in force but is no management key.
    Stranger,
}

struct Manager {
    scopes: Vec<&'static str>,
    /// The workspace to which the credential is bound.
    place: &'static str,
    read_only: bool,
    /// A role, and the workspace to which it is bound.
    role: Option<(&'static str, &'static str)>,
    /// The body that issues the same key again; `None` for an access token.
    key: Option<Value>,
}

impl Caller {
    pub fn is_known(&self) -> bool {
        !matches!(self.is, Is::Nobody)
    }

    /// Whether the credential is an access token in force.
    pub fn is_session(&self) -> bool {
        matches!(&self.is, Is::Manager(manager) if manager.key.is_none())
    }

    /// Whether the credential is a key in force that is not read-only.
    pub fn is_key(&self) -> bool {
        match &self.is {
            Is::Manager(manager) => manager.key.is_some() && !manager.read_only,
            Is::Nobody => false,
            Is::Stranger => true,
        }
    }

    /// A new credential with the same properties, for a request that may end it.
    pub fn renewed(&self, world: &mut World) -> Option<String> {
        match &self.is {
            Is::Manager(Manager {
                key: Some(body), ..
            }) => Some(issue(world, body.clone()).1),
            Is::Manager(Manager { role, .. }) => {
                role.map(|(role, at)| sign_in(world, &format!("{role}.{at}")))
            }
            Is::Nobody => self.secret.clone(),
            Is::Stranger => Some(issue(world, json!({ "name": "stranger" })).1),
        }
    }

    /// Whether the credential has the permission in any workspace.
    pub fn holds(&self, permission: Permission) -> bool {
        match &self.is {
            Is::Manager(manager) => manager.holds(permission.scope()),
            Is::Nobody | Is::Stranger => false,
        }
    }

    /// Whether the caller has the permission in a workspace, for things that are not their own.
    pub fn has(&self, permission: Permission, place: &str) -> bool {
        self.may(permission, place, false)
    }

    /// Like `has`, for things that are the caller's own.
    pub fn has_for_themselves(&self, permission: Permission, place: &str) -> bool {
        self.may(permission, place, true)
    }

    pub fn has_at_home(&self, permission: Permission) -> bool {
        match &self.is {
            Is::Manager(manager) => self.may(permission, manager.place, false),
            Is::Nobody | Is::Stranger => false,
        }
    }

    fn may(&self, permission: Permission, place: &str, own: bool) -> bool {
        let Is::Manager(manager) = &self.is else {
            return false;
        };
        let scope = permission.scope();
        let granted = |role: &str, at: &str| {
            let list = ROLES.iter().find(|(name, _)| *name == role).unwrap().1;
            let others = role == "member" && scope.starts_with("keys:") && !own;
            holds_place(at, place) && list.split(' ').any(|one| one == scope) && !others
        };
        manager.holds(scope)
            && holds_place(manager.place, place)
            && manager.role.is_none_or(|(role, at)| granted(role, at))
    }
}

impl Manager {
    fn holds(&self, scope: &str) -> bool {
        let read = scope.replace(":read", ":write");
        let granted = self
            .scopes
            .iter()
            .any(|one| *one == scope || *one == read && scope.ends_with(":read"));
        let reading = scope.ends_with(":read") || scope == "keys:verify";
        granted && (reading || !self.read_only)
    }
}

/// Whether the second workspace is the first one or below it.
fn holds_place(above: &str, place: &str) -> bool {
    match above {
        ROOT => true,
        HERE => place == HERE || place == BELOW,
        other => place == other,
    }
}

/// All callers.
pub fn all(world: &mut World) -> Vec<Caller> {
    let everything: Vec<&'static str> = Permissions::all().scopes().collect();
    let mut callers = nobodies(world, &everything);
    callers.extend(strangers(world, &everything));
    for place in [ROOT, HERE, BELOW, THERE] {
        let name = format!("a key with every scope, in {place}");
        callers.push(manager(world, name, &everything, place, false, None));
        let name = format!("a read-only key, in {place}");
        callers.push(manager(world, name, &everything, place, true, None));
    }
    for lacking in &everything {
        let shared = lacking.replace(":read", ":write");
        let rest: Vec<&'static str> = everything
            .iter()
            .copied()
            .filter(|scope| scope != lacking && *scope != shared)
            .collect();
        let name = format!("a key without {lacking}");
        callers.push(manager(world, name, &rest, ROOT, false, None));
    }
    for (role, _) in ROLES {
        for place in [ROOT, HERE, THERE] {
            let user = format!("{role}.{place}");
            let body = json!({
                "user_name": user, "workspace": place, "password": PASSWORD,
                "roles": [{ "workspace": place, "role": role }],
            });
            world.local("POST", "/v1/users", body);
            let name = format!("a key of the {role} in {place}");
            callers.push(manager(
                world,
                name,
                &everything,
                place,
                false,
                Some((role, place)),
            ));
            callers.push(Caller {
                name: format!("the {role} in {place}, signed in"),
                secret: Some(sign_in(world, &user)),
                is: Is::Manager(Manager {
                    scopes: everything.clone(),
                    place: ROOT,
                    read_only: false,
                    role: Some((role, place)),
                    key: None,
                }),
            });
        }
    }
    callers
}

fn nobodies(world: &mut World, everything: &[&str]) -> Vec<Caller> {
    let body = |more: Value| {
        let mut body = json!({ "name": "m", "catalog": "latchkey", "scopes": everything });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let (_, expired) = issue(world, body(json!({ "expires_in_s": 1 })));
    world.wait_s(2);
    let (_, disabled) = issue(world, body(json!({ "enabled": false })));
    let early = body(json!({ "not_before": "2040-01-01T00:00:00Z" }));
    let (_, early) = issue(world, early);
    let (id, deleted) = issue(world, body(json!({})));
    world.local("DELETE", &format!("/v1/keys/{id}"), Value::Null);
    let (id, rotated) = issue(world, body(json!({})));
    world.local("POST", &format!("/v1/keys/{id}/rotate"), Value::Null);
    let elsewhere = body(json!({ "allowed_ips": ["203.0.113.1"] }));
    let (_, elsewhere) = issue(world, elsewhere);

    let user = |name: &str| json!({ "user_name": name, "password": PASSWORD, "roles": [{ "workspace": ROOT, "role": "owner" }] });
    world.local("POST", "/v1/users", user("gone"));
    let of_disabled = sign_in(world, "gone");
    let of_user = body(json!({ "owner": "gone" }));
    let (_, of_user) = issue(world, of_user);
    world.local("PATCH", "/v1/users/gone", json!({ "enabled": false }));
    world.local("POST", "/v1/users", user("out"));
    let ended = sign_in(world, "out");
    world.call("DELETE", "/v1/sessions/current", "", Some(&ended));

    let unknown = format!("{}a{}", &deleted[..20], &deleted[21..]);
    [
        ("nobody", None),
        ("garbage", Some("garbage".to_owned())),
        ("a secret that is none", Some(unknown)),
        ("an expired key", Some(expired)),
        ("a disabled key", Some(disabled)),
        ("a key before its time", Some(early)),
        ("a deleted key", Some(deleted)),
        ("a secret that was rotated away", Some(rotated)),
        ("a key for another address", Some(elsewhere)),
        ("a key of a disabled user", Some(of_user)),
        ("a session of a disabled user", Some(of_disabled)),
        ("a session that has ended", Some(ended)),
    ]
    .map(|(name, secret)| Caller {
        name: name.to_owned(),
        secret,
        is: Is::Nobody,
    })
    .into()
}

/// Keys that are in force but are no management keys: one without a catalog, and one of a catalog whose scopes have the
/// same names as those of this server.
fn strangers(world: &mut World, everything: &[&str]) -> Vec<Caller> {
    let scopes: Vec<Value> = everything
        .iter()
        .map(|name| json!({ "name": name }))
        .collect();
    world.local("PUT", "/v1/catalogs/alike", json!({ "scopes": scopes }));
    let (_, plain) = issue(world, json!({ "name": "plain" }));
    let alike = json!({ "name": "alike", "catalog": "alike", "scopes": everything });
    let (_, alike) = issue(world, alike);
    [
        ("a key of no catalog", plain),
        ("a key of another catalog with the same scopes", alike),
    ]
    .map(|(name, secret)| Caller {
        name: name.to_owned(),
        secret: Some(secret),
        is: Is::Stranger,
    })
    .into()
}

fn manager(
    world: &mut World,
    name: String,
    scopes: &[&'static str],
    place: &'static str,
    read_only: bool,
    role: Option<(&'static str, &'static str)>,
) -> Caller {
    let owner = role.map(|(role, at)| format!("{role}.{at}"));
    let body = json!({
        "name": "m", "catalog": "latchkey", "scopes": scopes, "workspace": place, "read_only": read_only, "owner": owner,
    });
    let (_, secret) = issue(world, body.clone());
    Caller {
        name,
        secret: Some(secret),
        is: Is::Manager(Manager {
            scopes: scopes.to_vec(),
            place,
            read_only,
            role,
            key: Some(body),
        }),
    }
}

/// The id and the secret of a new key.
fn issue(world: &mut World, body: Value) -> (String, String) {
    let issued = world.local("POST", "/v1/keys", body);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&issued["key"]["id"]), text(&issued["secret"]))
}

fn sign_in(world: &mut World, user: &str) -> String {
    let body = json!({ "user_name": user, "password": PASSWORD }).to_string();
    let (status, text) = world.call("POST", "/v1/sessions", &body, None);
    assert_eq!(status, 201, "{text}");
    let session: Value = serde_json::from_str(&text).unwrap();
    session["access_token"].as_str().unwrap().to_owned()
}
