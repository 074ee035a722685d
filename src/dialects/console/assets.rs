//! The files that pages load: one style sheet, one script and one icon, all contained in this binary.

use super::MOUNT;
use crate::domain::audit::digest_of;
use crate::domain::hex::hex;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use std::sync::LazyLock;

/// The name in the path, the media type and the content.
const FILES: [(&str, &str, &[u8]); 3] = [
    (
        "console.css",
        "text/css; charset=utf-8",
        include_bytes!("../../../assets/console/console.css"),
    ),
    (
        "console.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../../assets/console/console.js"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_bytes!("../../../assets/console/icon.svg"),
    ),
];

/// The version of the files, which changes with their content.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let digest = digest_of(&FILES.map(|file| file.2));
    hex(&digest[..6])
});

/// `GET /console/assets/{name}`. A browser may cache the file for a year if the query contains its current version.
pub fn send(call: &Call<'_>) -> Result<Option<Reply>> {
    let (_, kind, content) = FILES
        .into_iter()
        .find(|(name, _, _)| *name == call.param("name"))
        .ok_or(Error::NotFound("path"))?;
    let current = call.request.query() == format!("v={}", *VERSION);
    let cache = if current {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let reply = Reply::new(200)
        .with("cache-control", cache)
        .with("content-security-policy", "default-src 'none'; sandbox")
        .body(kind, content);
    Ok(Some(reply))
}

/// The address of a file, including its version.
pub fn address(name: &str) -> String {
    format!("{MOUNT}/assets/{name}?v={}", *VERSION)
}
