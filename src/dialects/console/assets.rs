//! What pages load: one style sheet, one script, one icon, all from this binary.

use super::MOUNT;
use crate::domain::audit::digest_of;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use include_flate::{IFlate, flate};
use std::sync::{LazyLock, OnceLock};

flate!(static STYLE: IFlate from "assets/console/console.css");
flate!(static SCRIPT: IFlate from "assets/console/console.js");
flate!(static ICON: IFlate from "assets/console/icon.svg");

/// The name in the path, the media type, the content.
const FILES: [(&str, &str, &LazyLock<IFlate>); 3] = [
    ("console.css", "text/css; charset=utf-8", &STYLE),
    ("console.js", "text/javascript; charset=utf-8", &SCRIPT),
    ("icon.svg", "image/svg+xml", &ICON),
];

/// `GET /console/assets/{name}`; the version in the query makes a file cacheable for ever.
pub fn send(call: &Call<'_>) -> Result<Option<Reply>> {
    let (_, kind, content) = FILES
        .iter()
        .find(|(name, _, _)| *name == call.param("name"))
        .ok_or(Error::NotFound("path"))?;
    let current = call.request.query() == format!("v={}", version());
    let cache = if current {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let reply = Reply::new(200)
        .with("cache-control", cache)
        .with("content-security-policy", "default-src 'none'; sandbox")
        .body(kind, content.decoded());
    Ok(Some(reply))
}

/// The address of a file, with its version.
pub fn address(name: &str) -> String {
    format!("{MOUNT}/assets/{name}?v={}", version())
}

fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let contents = FILES.map(|file| file.2.decoded());
        let digest = digest_of(&contents.each_ref().map(Vec::as_slice));
        digest[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    })
}
