//! What pages load: one style sheet, one script, one icon, all from this binary.

use super::MOUNT;
use crate::domain::audit::digest_of;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use std::sync::OnceLock;

/// The name in the path, the media type, the content.
const FILES: &[(&str, &str, &str)] = &[
    (
        "console.css",
        "text/css; charset=utf-8",
        include_str!("../../../assets/console/console.css"),
    ),
    (
        "console.js",
        "text/javascript; charset=utf-8",
        include_str!("../../../assets/console/console.js"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../../../assets/console/icon.svg"),
    ),
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
        .body(kind, content.as_bytes().to_vec());
    Ok(Some(reply))
}

/// The address of a file, with its version.
pub fn address(name: &str) -> String {
    format!("{MOUNT}/assets/{name}?v={}", version())
}

fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let contents: Vec<&[u8]> = FILES.iter().map(|file| file.2.as_bytes()).collect();
        let digest = digest_of(&contents);
        digest[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    })
}
