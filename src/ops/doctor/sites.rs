//! The check of sites: whether their packs still count, and whether they have heard of what ended.

use super::finding::{Check, NAMED_MAX};
use crate::error::Result;
use crate::ops::App;
use crate::ops::packs::sites::{SiteView, all};

/// Names the sites whose packs have ended or are about to end, and those that are not known to have a revocation.
pub fn sites(app: &App) -> Result<Check> {
    let name = "sites";
    let sites = all(app)?;
    let now = app.now().wall;
    let mut found: Vec<String> = Vec::new();
    for view in &sites {
        let site = &view.site.name;
        match &view.newest {
            None => found.push(format!("no pack was made for {site} yet")),
            Some(made) if made.until <= now => {
                found.push(format!(
                    "the newest pack of {site} has ended at {}",
                    made.until
                ));
            }
            // From half of its time on a site reports it too.
            Some(made) if now.0 - made.made_at.0 > (made.until.0 - made.made_at.0) / 2 => {
                found.push(format!("the newest pack of {site} ends at {}", made.until));
            }
            Some(_) => {}
        }
        if let Some(count @ 1..) = view.unconfirmed {
            found.push(format!(
                "{site} is not known to have heard of {count} keys and secrets that ended"
            ));
        }
    }
    let silent = sites.iter().filter(|view| view.unconfirmed.is_none());
    let silent: Vec<&str> = silent
        .map(|view: &SiteView| view.site.name.as_str())
        .collect();
    if found.is_empty() {
        let mut text = match sites.len() {
            0 => return Ok(Check::ok(name, "there are none")),
            count => format!("{count}, and each has a pack that counts"),
        };
        if !silent.is_empty() {
            let some: Vec<&str> = silent.iter().take(NAMED_MAX).copied().collect();
            text += &format!("; no report has come from {}", some.join(", "));
        }
        return Ok(Check::ok(name, text));
    }
    found.truncate(NAMED_MAX);
    Ok(Check::warning(
        name,
        found.join("; "),
        "make packs, and bring them to the sites: latchkey pack make --all --out DIR; take in their reports: latchkey site collect DIR",
    ))
}
