//! The files that pages load: one style sheet, one script and one icon, all contained in this binary.

use super::MOUNT;
use crate::domain::audit::digest_of;
use crate::error::{Error, Result};
use crate::http::reply::{Body, Reply};
use crate::http::route::Call;
use include_flate::{IFlate, flate};
use std::sync::LazyLock;

flate!(static STYLE: IFlate from "assets/console/console.css");
flate!(static SCRIPT: IFlate from "assets/console/console.js");
flate!(static ICON: IFlate from "assets/console/icon.svg");

/// The name in the path, the media type and the content.
const FILES: [(&str, &str, &LazyLock<IFlate>); 3] = [
    ("console.css", "text/css; charset=utf-8", &STYLE),
    ("console.js", "text/javascript; charset=utf-8", &SCRIPT),
    ("icon.svg", "image/svg+xml", &ICON),
];

/// The unpacked files in the order of [`FILES`], and their version. All answers share these bytes.
static UNPACKED: LazyLock<([Body; 3], String)> = LazyLock::new(|| {
    let contents = FILES.map(|file| Body::from(file.2.decoded()));
    let digest = digest_of(&contents.each_ref().map(AsRef::as_ref));
    let version = digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    (contents, version)
});

/// `GET /console/assets/{name}`. A browser may cache the file for a year if the query contains its current version.
pub fn send(call: &Call<'_>) -> Result<Option<Reply>> {
    let ((_, kind, _), content) = FILES
        .iter()
        .zip(&UNPACKED.0)
        .find(|((name, _, _), _)| *name == call.param("name"))
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
        .body(kind, Body::clone(content));
    Ok(Some(reply))
}

/// The address of a file, including its version.
pub fn address(name: &str) -> String {
    format!("{MOUNT}/assets/{name}?v={}", version())
}

fn version() -> &'static str {
    &UNPACKED.1
}
