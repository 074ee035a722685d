//! Veeam Service Provider Console, where transcripts are not enough: third-party clients, callers of every kind, time.

mod acting;
mod callers;
mod clients;
pub mod second_factor;
mod tokens;

use serde_json::Value;

use crate::support::{Server, User};

/// A server, and its owner signed in at `/api/v3`.
struct Console {
    server: Server,
    token: String,
    /// The owner's uid.
    me: String,
}

impl Console {
    fn start() -> Console {
        let server = Server::start();
        let token = sign_in(&server, &server.owner_user_name, &server.owner_password);
        let access = text(&token, "access_token");
        let me = server.bearer(&access).get("/api/v3/users/me").expect(200);
        Console {
            me: text(&me.json()["data"], "instanceUid"),
            token: access,
            server,
        }
    }

    fn owner(&self) -> User {
        self.server.bearer(&self.token)
    }

    /// Makes a key for the owner, and returns its number and its secret.
    #[track_caller]
    fn key(&self, query: &str) -> (i64, String) {
        let path = format!("/api/v3/users/{}/logins/apikey?{query}", self.me);
        let made = self.owner().call("POST", &path, None).expect(200).json();
        let id = made["data"]["id"].as_i64().unwrap();
        (id, text(&made["data"], "parameters"))
    }
}

/// The answer to a successful password grant.
#[track_caller]
fn sign_in(server: &Server, user_name: &str, password: &str) -> Value {
    let form = format!("grant_type=password&username={user_name}&password={password}");
    let answer = token(server, &form);
    assert_eq!(answer.0, 200, "{}", answer.1);
    answer.1
}

/// Sends a request to `/token`, and returns its status and body.
fn token(server: &Server, form: &str) -> (u16, Value) {
    let answer = server.anonymous().send(
        "POST",
        "/api/v3/token",
        "application/x-www-form-urlencoded",
        form.as_bytes(),
    );
    (answer.status, answer.json())
}

#[track_caller]
fn text(object: &Value, member: &str) -> String {
    object[member].as_str().unwrap().to_owned()
}
