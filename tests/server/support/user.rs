//! A caller of the server: an address, and the credential that is sent with every call.

use serde_json::{Value, json};

use super::client::{Address, Response};

/// The password of every user that [`User::person`] creates.
pub const PASSWORD: &str = "seven lanterns over the harbour";

/// A caller; cheap to clone.
#[derive(Clone, Debug)]
pub struct User {
    address: Address,
    headers: Vec<(String, String)>,
}

/// A key that was issued or rotated.
#[derive(Clone, Debug)]
pub struct Issued {
    pub id: String,
    pub secret: String,
    /// The key as JSON.
    pub key: Value,
}

impl User {
    pub fn new(address: Address) -> User {
        User {
            address,
            headers: Vec::new(),
        }
    }

    /// The same caller with an additional header in every call.
    pub fn with(mut self, name: &str, value: &str) -> User {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, secret: &str) -> User {
        self.with("Authorization", &format!("Bearer {secret}"))
    }

    /// The value of the `Authorization` header that is sent with every call.
    pub fn authorization(&self) -> String {
        let found = self
            .headers
            .iter()
            .find(|(name, _)| name == "Authorization");
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.call("GET", path, None)
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Response {
        self.call("POST", path, Some(&body))
    }

    #[track_caller]
    pub fn patch(&self, path: &str, body: Value) -> Response {
        self.call("PATCH", path, Some(&body))
    }

    #[track_caller]
    pub fn put(&self, path: &str, body: Value) -> Response {
        self.call("PUT", path, Some(&body))
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Response {
        self.call("DELETE", path, None)
    }

    /// Any method, with or without a JSON body.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let body = body.map(Value::to_string);
        self.address.call(
            method,
            path,
            &self.headers(body.is_some()),
            body.as_deref().map(str::as_bytes),
        )
    }

    /// Like [`User::call`]; `None` if the server ends before its answer is complete.
    pub fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Response> {
        let body = body.map(Value::to_string);
        self.address.try_call(
            method,
            path,
            &self.headers(body.is_some()),
            body.as_deref().map(str::as_bytes),
        )
    }

    fn headers(&self, has_body: bool) -> Vec<(&str, &str)> {
        let own = self.headers.iter();
        let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(has_body.then_some(("Content-Type", "application/json")))
            .collect()
    }

    /// Sends a body unchanged, whether it is JSON or not.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Response {
        let mut headers = vec![("Content-Type", content_type)];
        headers.extend(
            self.headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        self.address.call(method, path, &headers, Some(body))
    }

    /// Like [`User::send`]; `None` if the server ends before its answer is complete.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Option<Response> {
        let mut headers = vec![("Content-Type", content_type)];
        let own = self.headers.iter();
        headers.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
        self.address.try_call(method, path, &headers, Some(body))
    }

    /// Issues a key; the test fails unless the answer is 201.
    #[track_caller]
    pub fn issue(&self, key: Value) -> Issued {
        issued(&self.post("/v1/keys", key).expect(201))
    }

    /// The current state of the key.
    #[track_caller]
    pub fn key(&self, id: &str) -> Value {
        self.get(&format!("/v1/keys/{id}")).expect(200).json()
    }

    /// Edits a key; the test fails unless the answer is 200. Returns the key.
    #[track_caller]
    pub fn edit(&self, id: &str, edit: Value) -> Value {
        self.patch(&format!("/v1/keys/{id}"), edit)
            .expect(200)
            .json()
    }

    /// Creates a workspace; the test fails unless the answer is 201. Returns its uid.
    #[track_caller]
    pub fn workspace(&self, slug: &str, parent: &str) -> String {
        let body = json!({ "slug": slug, "parent": parent });
        let made = self.post("/v1/workspaces", body).expect(201).json();
        made["uid"]
            .as_str()
            .expect("a workspace has a uid")
            .to_owned()
    }

    /// Creates a user with [`PASSWORD`] and one role in a workspace that is also the user's home. Returns the user's
    /// uid.
    #[track_caller]
    pub fn person(&self, name: &str, role: &str, workspace: &str) -> String {
        let body = json!({
            "user_name": name, "password": PASSWORD, "workspace": workspace,
            "roles": [{ "workspace": workspace, "role": role }],
        });
        let made = self.post("/v1/users", body).expect(201).json();
        made["uid"].as_str().expect("a user has a uid").to_owned()
    }

    /// Signs in and returns a caller with the access token; the test fails unless the answer is 201.
    #[track_caller]
    pub fn signed_in(&self, name: &str, password: &str) -> User {
        let body = json!({ "user_name": name, "password": password });
        let session = self.post("/v1/sessions", body).expect(201).json();
        let token = session["access_token"]
            .as_str()
            .expect("a session has a token");
        User::new(self.address.clone()).bearer(token)
    }

    /// The newest audit event, apart from those of tripwires: the server writes these a moment after its answer.
    #[track_caller]
    pub fn newest_event(&self) -> Value {
        let page = self.get("/v1/audit-events?limit=20").expect(200).json();
        let of_tripwire = |event: &&Value| {
            ["key.old_secret_tried", "key.tripped"]
                .iter()
                .any(|action| event["action"] == *action)
        };
        let events = page["items"].as_array().into_iter().flatten();
        let newest = events.into_iter().find(|event| !of_tripwire(event));
        newest.cloned().unwrap_or(Value::Null)
    }

    /// Rotates a key; the test fails unless the answer is 200.
    #[track_caller]
    pub fn rotate(&self, id: &str, rotation: Value) -> Issued {
        issued(
            &self
                .post(&format!("/v1/keys/{id}/rotate"), rotation)
                .expect(200),
        )
    }

    /// The verdict on a well-formed question.
    #[track_caller]
    pub fn verify(&self, question: Value) -> Value {
        self.post("/v1/verify", question).expect(200).json()
    }

    /// The code of the verdict on a secret, such as `VALID`.
    #[track_caller]
    pub fn verdict(&self, secret: &str) -> String {
        let verdict = self.verify(json!({ "key": secret }));
        let code = verdict["code"].as_str();
        code.unwrap_or_else(|| panic!("a verdict without a code: {verdict}"))
            .to_owned()
    }
}

#[track_caller]
fn issued(response: &Response) -> Issued {
    let body = response.json();
    let (Some(id), Some(secret)) = (body["key"]["id"].as_str(), body["secret"].as_str()) else {
        panic!("no key and secret in the answer\n{}", response.exchange());
    };
    Issued {
        id: id.to_owned(),
        secret: secret.to_owned(),
        key: body["key"].clone(),
    }
}
