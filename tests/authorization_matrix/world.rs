//! A server without sockets that processes one request at a time.

use super::{Line, Thing};
use crate::dialects::SURFACES;
use crate::domain::security_txt::SecurityTxt;
use crate::domain::time::Timestamp;
use crate::http::client::Trust;
use crate::http::request::{Head, Method, Peer, Request, RequestId};
use crate::http::route::{Mounts, Router};
use crate::http1::{Execution, Service};
use crate::ops::App;
use crate::ops::setup::fixture::{Fixture, NOW};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The workspaces of the test: `here` and `there` are next to each other, and `below`, which contains the things, is in
/// `here`.
pub const ROOT: &str = "root";
/// See [`ROOT`].
pub const HERE: &str = "here";
/// See [`ROOT`].
pub const BELOW: &str = "below";
/// See [`ROOT`].
pub const THERE: &str = "there";

/// The password of all users.
pub const PASSWORD: &str = "seven lanterns over the harbour";

/// The time that has passed since [`NOW`], in milliseconds.
static LATER: AtomicI64 = AtomicI64::new(0);

/// The server of the test.
pub struct World {
    service: Service,
    /// Dropped after the service, because it deletes the data folder.
    fixture: Fixture,
    count: u64,
    /// The thing of the last request, with its id and its secret, if that request has changed nothing.
    unchanged: Option<(Thing, String, String)>,
}

/// The result of a request.
pub struct Seen {
    pub status: u16,
    pub text: String,
    /// Whether the request added an event to the audit log that is not a denial.
    pub changed: bool,
    pub shows_thing: bool,
}

impl Seen {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Who sends a request.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// A client on any machine, with this credential.
    Bearer(Option<&'a str>),
    /// The administrator of the machine.
    Local,
}

/// Things that depend on each other: verdicts on the key depend on all of them.
pub struct Dependents {
    key: (String, String),
    user: String,
    policy: String,
    catalog: String,
    workspace: String,
}

impl Dependents {
    /// The id and the secret of the thing of this kind.
    pub fn of(&self, thing: Thing) -> (&str, &str) {
        match thing {
            Thing::Catalog => (&self.catalog, ""),
            Thing::Key => (&self.key.0, &self.key.1),
            Thing::Nothing => ("", ""),
            Thing::Policy => (&self.policy, ""),
            Thing::User => (&self.user, ""),
            Thing::Workspace => (&self.workspace, ""),
        }
    }
}

impl World {
    /// The server itself.
    pub fn app(&self) -> Arc<App> {
        self.fixture.app.clone()
    }

    /// Creates one of each kind in `below`.
    pub fn dependents(&mut self) -> Dependents {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let name = self.new_name();
        let policy = json!({ "name": name, "secret_shown": "sealed" });
        self.local("POST", "/v1/policies", policy);
        let scopes = json!({ "scopes": [{ "name": format!("{name}:read") }] });
        self.local("PUT", &format!("/v1/catalogs/{name}"), scopes);
        let workspace = json!({ "slug": name, "parent": BELOW });
        self.local("POST", "/v1/workspaces", workspace);
        let user = json!({
            "user_name": name, "workspace": BELOW, "roles": [{ "workspace": name, "role": "member" }],
        });
        self.local("POST", "/v1/users", user);
        let key = json!({
            "name": name, "workspace": name, "policy": name, "owner": name, "catalog": name,
            "scopes": [format!("{name}:read")],
        });
        let issued = self.local("POST", "/v1/keys", key);
        Dependents {
            key: (text(&issued["key"]["id"]), text(&issued["secret"])),
            user: name.clone(),
            policy: name.clone(),
            catalog: name.clone(),
            workspace: name,
        }
    }

    pub fn new() -> World {
        let fixture = Fixture::with_clock(&[], || Timestamp(NOW.0 + LATER.load(Ordering::Relaxed)));
        let trust = Trust {
            verify_from_loopback: true,
            security_txt: Some(SecurityTxt {
                text: "Contact: mailto:security@example.com\n".to_owned(),
                expires_at: NOW,
            }),
            ..Trust::default()
        };
        let router = Router::new(fixture.app.clone(), trust, SURFACES, &Mounts::default());
        let mut world = World {
            service: router.service(),
            fixture,
            count: 0,
            unchanged: None,
        };
        for (slug, parent) in [(HERE, ROOT), (BELOW, HERE), (THERE, ROOT)] {
            world.local(
                "POST",
                "/v1/workspaces",
                json!({ "slug": slug, "parent": parent }),
            );
        }
        let sealed = json!({ "name": "sealed", "secret_shown": "sealed" });
        world.local("POST", "/v1/policies", sealed);
        world
    }

    /// Advances the clock.
    pub fn wait_s(&self, seconds: i64) {
        LATER.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// An unused name.
    pub fn new_name(&mut self) -> String {
        self.count += 1;
        format!("n{}", self.count)
    }

    /// Sends a request as the administrator of the machine; it must succeed.
    #[track_caller]
    pub fn local(&mut self, method: &str, path: &str, body: Value) -> Value {
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        self.count += 1;
        let id = RequestId::new(0, self.count);
        let request = Request::in_process(method, path, body, 0, id).unwrap();
        let (status, text) = self.answer(&request);
        assert!((200..300).contains(&status), "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Sends a request about a thing that no request has changed.
    #[track_caller]
    pub fn ask(&mut self, mount: &str, line: &Line, secret: Option<&str>) -> Seen {
        let (id, thing_secret) = match self.unchanged.take() {
            Some((thing, id, secret)) if thing == line.thing => (id, secret),
            _ => self.thing(line.thing),
        };
        let seen = self.ask_about(mount, line, (&id, &thing_secret), By::Bearer(secret));
        if !seen.changed {
            self.unchanged = Some((line.thing, id, thing_secret));
        }
        seen
    }

    /// Sends the request of a line about a thing, by its id and its secret.
    #[track_caller]
    pub fn ask_about(
        &mut self,
        mount: &str,
        line: &Line,
        (id, thing_secret): (&str, &str),
        by: By<'_>,
    ) -> Seen {
        let new = self.new_name();
        let filled = |text: &str| {
            text.replace("{id}", id)
                .replace("{name}", id)
                .replace("{slug}", id)
                .replace("{userUid}", id)
                .replace("{userLoginId}", "7")
                .replace("{organizationUid}", "7")
                .replace("/gateway/{path...}", "/gateway/-/-/a/b")
                .replace("{path...}", "a/b")
                .replace("{secret}", thing_secret)
                .replace("{new}", &new)
        };
        let path = match (mount, line.path) {
            ("", "") => "/".to_owned(),
            _ => format!("{mount}{}?{}", filled(line.path), filled(line.query)),
        };
        let method = if line.method == "*" {
            "GET"
        } else {
            line.method
        };
        let before = self.fixture.last_event();
        let (path, body) = (path.trim_end_matches('?'), filled(line.body));
        let (status, text) = match by {
            By::Bearer(secret) => self.call(method, path, &body, secret),
            By::Local => {
                self.count += 1;
                let id = RequestId::new(0, self.count);
                let request = Request::in_process(method, path, body.into_bytes(), 0, id);
                self.answer(&request.unwrap())
            }
        };
        let asked = RequestId::new(0, self.count).to_string();
        let changed = self.fixture.last_event() > before && self.has_changed_by(&asked);
        let shows_thing = !id.is_empty() && text.contains(id);
        Seen {
            status,
            changed,
            shows_thing,
            text,
        }
    }

    /// Sends one request from another machine.
    #[track_caller]
    pub fn call(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
        secret: Option<&str>,
    ) -> (u16, String) {
        let mut headers = vec![("host", "192.0.2.1:8443".to_owned())];
        if let Some(secret) = secret {
            headers.push(("authorization", format!("Bearer {secret}")));
        }
        if !body.is_empty() {
            let media_type = match body.starts_with(['{', '[']) {
                true => "application/json",
                false => "application/x-www-form-urlencoded",
            };
            headers.push(("content-type", media_type.to_owned()));
        }
        self.count += 1;
        // Each request has another client address, so that attempts to sign in are counted separately.
        let client = format!("198.51.{}.{}:1", self.count / 250 % 250, self.count % 250);
        let request = Request {
            head: Head {
                method: Method::from_bytes(method.as_bytes()).unwrap(),
                target: path.parse().unwrap(),
                is_http_11: true,
                headers: headers
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect(),
                peer: Peer::Tcp {
                    peer: client.parse().unwrap(),
                    local: "192.0.2.1:8443".parse().unwrap(),
                    is_tls: true,
                },
                id: RequestId::new(0, self.count),
            },
            body: body.to_owned().into_bytes(),
        };
        self.answer(&request)
    }

    fn answer(&self, request: &Request) -> (u16, String) {
        let reply = (self.service.answer)(request, Execution::Blocking).unwrap();
        (reply.status, String::from_utf8(reply.body.into()).unwrap())
    }

    /// Creates a new thing in `below`; returns its id and secret.
    fn thing(&mut self, thing: Thing) -> (String, String) {
        let name = self.new_name();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match thing {
            Thing::Catalog => {
                self.local("PUT", &format!("/v1/catalogs/{name}"), json!({}));
                (name, String::new())
            }
            Thing::Key => {
                let body = json!({ "name": name, "workspace": BELOW, "policy": "sealed" });
                let issued = self.local("POST", "/v1/keys", body);
                (text(&issued["key"]["id"]), text(&issued["secret"]))
            }
            Thing::Nothing => Default::default(),
            Thing::Policy => {
                self.local("POST", "/v1/policies", json!({ "name": name }));
                (name, String::new())
            }
            Thing::User => {
                let body = json!({ "user_name": name, "workspace": BELOW });
                let made = self.local("POST", "/v1/users", body);
                (text(&made["uid"]), String::new())
            }
            Thing::Workspace => {
                let body = json!({ "slug": name, "parent": BELOW });
                let made = self.local("POST", "/v1/workspaces", body);
                (text(&made["uid"]), String::new())
            }
        }
    }

    /// Whether one of the newest events is of this request and no denial.
    fn has_changed_by(&mut self, request: &str) -> bool {
        let page = self.local("GET", "/v1/audit-events?limit=10", Value::Null);
        let events = page["items"].as_array().unwrap();
        events
            .iter()
            .any(|event| event["request_id"] == request && event["outcome"] == "allowed")
    }
}
