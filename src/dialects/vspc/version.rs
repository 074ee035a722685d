//! Versions: that of the client (`X-Client-Version`), which decides the values that it knows, and that of the server
//! (`GET /about`).

use super::lists::{Item, SelectedProperties};
use super::{caller, data, header};
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use serde_json::Value;

/// The release of Veeam Service Provider Console that has the same API as this dialect, version 3.6.2. Generated
/// clients choose their schema by this release, and know no release before 8.1.
const SERVER_VERSION: &str = "9.2.0.0";

/// The maximum number of parts of a version: three, such as `3.6.1`, and a build number.
const PARTS_MAX: usize = 4;

/// The API version of a client. The client receives `Unknown` instead of a newer value (1D-40).
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version(Vec<u32>);

impl Version {
    /// The version in the request; `None` if there is none, in which case the client knows all values.
    fn of(call: &Call<'_>) -> Result<Option<Version>> {
        header(call, "x-client-version")?
            .map(Version::parse)
            .transpose()
    }

    fn parse(text: &str) -> Result<Version> {
        let number = |part: &str| {
            let plain = (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            part.parse().ok().filter(|_| plain)
        };
        let parts: Option<Vec<u32>> = text.split('.').map(number).collect();
        parts
            .filter(|parts| parts.len() <= PARTS_MAX)
            .map(Version)
            .ok_or_else(|| {
                Error::invalid_text("X-Client-Version", "must be a version such as 3.6.1")
            })
    }

    /// Whether a client of this version knows values that were added in version `since`.
    pub fn knows(&self, since: &[u32]) -> bool {
        self.0.as_slice() >= since
    }
}

/// The properties of a client that influence answers.
pub struct Client {
    /// `None` if the client knows all values.
    pub version: Option<Version>,
    /// Whether numbers above 2^53 are rendered as texts.
    numbers_as_text: bool,
}

impl Client {
    pub fn of(call: &Call<'_>) -> Result<Client> {
        Ok(Client {
            version: Version::of(call)?,
            numbers_as_text: call.trust.numbers_as_text,
        })
    }

    /// Renders a number that floating point may not represent exactly.
    pub fn number(&self, number: u64) -> Value {
        match self.numbers_as_text {
            true => number.to_string().into(),
            false => number.into(),
        }
    }
}

/// The properties that [`about`] answers with.
const PROPERTIES: &[&str] = &["installationId", "installationDate", "serverVersion"];

/// `GET /api/v3/about`: clients send this request to check their credentials (1D-36).
pub fn about(call: &Call<'_>) -> Result<Reply> {
    caller(call)?;
    let picked = SelectedProperties::take(call, PROPERTIES)?;
    let directory = call.app.index.directory();
    let root = directory
        .root()
        .ok_or_else(|| Error::internal("the store has no root workspace"))?;
    let item = Item(vec![
        ("installationId", root.workspace.uid.to_string().into()),
        (
            "installationDate",
            root.workspace.created_at.to_seven_digits().into(),
        ),
        ("serverVersion", SERVER_VERSION.into()),
    ]);
    Ok(data(picked.of(item)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_number_by_number() {
        for (text, knows) in [
            ("3.6", true),
            ("3.6.1", true),
            ("3.10", true),
            ("4", true),
            ("3.5.1", false),
            ("3", false),
        ] {
            assert_eq!(
                Version::parse(text).unwrap().knows(&[3, 6]),
                knows,
                "{text}"
            );
        }
        for bad in ["", "3.", "v3", "3.6.1.2.3", "-1", "3.99999999999", "3. 6"] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
    }
}
