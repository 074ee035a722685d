//! The live link between a server and its sites, as real processes.

mod broken;
mod commands;
mod following;
mod histories;
mod killed;
mod lives;
mod older;
mod relay;
mod server;
mod stops;

use serde_json::json;

use super::Site;
use crate::support::{Server, wait};

/// The URL of a server for its sites.
pub fn url_of(server: &Server) -> String {
    format!("http://{}", server.address)
}

/// Serves a site that follows the server at a URL.
pub fn follow(site: &Site, url: &str, max_stale: &str) -> Server {
    site.serve_with(&["--server", url, "--max-stale", max_stale], &[])
}

/// The code of the verdict of a site; `PACK_STALE` if it gives none, and nothing if it does not run.
pub fn verdict(site: &Server, secret: &str) -> String {
    let answer = site
        .local()
        .try_call("POST", "/v1/verify", Some(&json!({ "key": secret })));
    let Some(answer) = answer else {
        return String::new();
    };
    match answer.status {
        200 => answer.json()["code"].as_str().unwrap().to_owned(),
        503 if answer.text().contains("PACK_STALE") => "PACK_STALE".to_owned(),
        _ => panic!("{}", answer.exchange()),
    }
}

/// Waits until a site gives this verdict.
#[track_caller]
pub fn await_verdict(site: &Server, secret: &str, expected: &str) {
    wait::until(&format!("the verdict is {expected}"), || {
        verdict(site, secret) == expected
    });
}

/// The state of the link of a site.
pub fn link(site: &Server) -> serde_json::Value {
    site.local().get("/v1/site").expect(200).json()["link"].clone()
}
