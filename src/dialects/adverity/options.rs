//! `OPTIONS`: describes what an endpoint accepts. According to Adverity's documentation, clients request this before
//! they create something. The answer has the members of Django REST framework's metadata, which these clients expect.

use super::caller;
use crate::domain::text::NAME_CHARS_MAX;
use crate::error::Result;
use crate::http::reply::Reply;
use crate::http::route::{Call, methods};
use crate::ops::workspaces;
use serde::Serialize;
use std::collections::BTreeMap;

const JSON: &str = "application/json";
const FORMS: &[&str] = &[
    JSON,
    "application/x-www-form-urlencoded",
    "multipart/form-data",
];

/// The description of one endpoint.
struct Endpoint {
    /// The path below the mount.
    path: &'static str,
    name: &'static str,
    parses: &'static [&'static str],
    /// The members of a `POST`; empty if the endpoint has no such method or ignores its body.
    members: &'static [Member],
}

/// One member of a request.
#[derive(Serialize)]
struct Member {
    #[serde(skip)]
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    required: bool,
    read_only: bool,
    label: &'static str,
    #[serde(rename = "max_length", skip_serializing_if = "Option::is_none")]
    chars_max: Option<usize>,
}

#[derive(Serialize)]
struct EndpointBody {
    name: &'static str,
    description: &'static str,
    renders: [&'static str; 1],
    parses: &'static [&'static str],
    /// The members of each method that has any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    actions: BTreeMap<&'static str, BTreeMap<&'static str, &'static Member>>,
}

const fn member(name: &'static str, kind: &'static str, label: &'static str) -> Member {
    Member {
        name,
        kind,
        required: false,
        read_only: false,
        label,
        chars_max: None,
    }
}

#[rustfmt::skip] // Columns are the point of this table.
const ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "",                             name: "Api Root",         parses: &[JSON], members: &[] },
    Endpoint { path: "/auth/token",                  name: "Obtain Auth Token", parses: FORMS,  members: &[
        Member { required: true, ..member("username", "string", "Username") },
        Member { required: true, ..member("password", "string", "Password") },
        member("expires_in", "integer", "Expires in"),
    ] },
    Endpoint { path: "/v1/auth/keys/current/rotate", name: "Rotate Key",       parses: &[JSON], members: &[] },
    Endpoint { path: "/v1/auth/keys/introspect",     name: "Introspect Key",   parses: &[JSON], members: &[] },
    Endpoint { path: "/stacks",                      name: "Stack List",       parses: &[JSON], members: &[
        Member { required: true, chars_max: Some(NAME_CHARS_MAX), ..member("name", "string", "Name") },
        member("parent_id", "integer", "Parent"),
    ] },
    Endpoint { path: "/v1/workspaces",               name: "Workspace List",   parses: &[JSON], members: &[] },
];

/// A workspace, whose path contains its slug.
const STACK: Endpoint = Endpoint {
    path: "/stacks/{slug}",
    name: "Stack Instance",
    parses: &[JSON],
    members: &[],
};

/// `OPTIONS` on every path.
pub fn describe(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    if !call.param("slug").is_empty() {
        // A workspace that the caller cannot access counts as one that does not exist.
        workspaces::find(call.app, &caller, call.param("slug"))?;
    }
    let below = call.below.strip_suffix('/').unwrap_or(call.below);
    let mut known = ENDPOINTS.iter();
    let endpoint = known.find(|known| known.path == below).unwrap_or(&STACK);
    let members = endpoint.members.iter().map(|member| (member.name, member));
    let post = (!endpoint.members.is_empty()).then(|| ("POST", members.collect()));
    let body = EndpointBody {
        name: endpoint.name,
        description: "",
        renders: [JSON],
        parses: endpoint.parses,
        actions: post.into_iter().collect(),
    };
    Ok(Reply::json(200, &body).with("allow", methods(&super::SURFACE, call.below)))
}
