//! Browsers that may show the keys of a site. A site has no users. It is not enough that a request comes from this machine,
//! because a proxy here may pass on requests of others without a trace. So the administrator of the machine makes a link, which
//! lets one browser in.

use super::require_local;
use crate::authz::caller::Caller;
use crate::domain::audit::digest_of;
use crate::domain::keys::secret::random_text;
use crate::domain::locks::lock;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use std::sync::Mutex;

/// The length of codes and of the secrets of browsers: 22 base62 characters have 131 bits.
const CODE_CHARS: usize = 22;
/// How long a link lets a browser in: five minutes.
const CODE_MS: u64 = 5 * 60_000;
/// How long a browser may show keys: twelve hours, or until the site is stopped.
const BROWSER_MS: u64 = 12 * 3_600_000;
/// The number of browsers at a time; a further one replaces the oldest.
const BROWSERS_MAX: usize = 16;

/// A digest, and the steady time at which it no longer counts.
type Until = ([u8; 32], u64);

/// The browsers that may show the keys of this site.
#[derive(Default)]
pub struct Browsers {
    /// The address of the console; `None` while it is off.
    address: Mutex<Option<String>>,
    /// The newest link.
    code: Mutex<Option<Until>>,
    known: Mutex<Vec<Until>>,
}

impl Browsers {
    /// Sets the address of the console.
    pub fn serve_at(&self, address: Option<String>) {
        *lock(&self.address) = address;
    }
}

/// Makes a link that lets one browser in. Links that were made before count no longer.
///
/// # Errors
/// `Forbidden` unless the caller is the administrator of the machine. `Conflict` if the console is off.
pub fn invite(app: &App, caller: &Caller) -> Result<String> {
    require_local(caller)?;
    let browsers = &app.own_site()?.browsers;
    let off = || Error::Conflict(refusals::site::console_off());
    let address = lock(&browsers.address).clone().ok_or_else(off)?;
    let code = random_text(CODE_CHARS)?;
    let until = app.now().steady_ms.saturating_add(CODE_MS);
    *lock(&browsers.code) = Some((digest(&code), until));
    Ok(format!("{address}/open?code={code}"))
}

/// Lets a browser in that has the code of the newest link. Returns the secret that it shows from now on; `None` if the code
/// is not that of the newest link, was used or is over.
pub fn enter(app: &App, code: &str) -> Result<Option<String>> {
    let browsers = &app.own_site()?.browsers;
    let now = app.now().steady_ms;
    let fits = |(wanted, until): &Until| now < *until && digest(code) == *wanted;
    {
        let mut newest = lock(&browsers.code);
        if !newest.as_ref().is_some_and(fits) {
            return Ok(None);
        }
        *newest = None;
    }
    let secret = random_text(CODE_CHARS)?;
    let mut known = lock(&browsers.known);
    known.retain(|(_, until)| now < *until);
    if known.len() >= BROWSERS_MAX {
        known.remove(0);
    }
    known.push((digest(&secret), now.saturating_add(BROWSER_MS)));
    Ok(Some(secret))
}

/// Whether a browser that shows this secret was let in.
pub fn is_known(app: &App, secret: &str) -> bool {
    let now = app.now().steady_ms;
    app.site().is_some_and(|site| {
        let known = lock(&site.browsers.known);
        let digest = digest(secret);
        known
            .iter()
            .any(|(wanted, until)| now < *until && digest == *wanted)
    })
}

fn digest(text: &str) -> [u8; 32] {
    digest_of(&[text.as_bytes()])
}
