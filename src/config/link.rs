//! The settings of the link of a site to its server. Without them a site opens no connection.

use crate::domain::packs::site::{MAX_STALE_S_MAX, MAX_STALE_S_MIN};
use crate::domain::time::span_s;
use crate::error::{Error, Result};
use crate::http1::tls::client::Authorities;
use crate::sinks::feed::ServerUrl;
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

/// See the heading.
#[derive(Args, Clone, Debug)]
pub struct LinkArgs {
    /// The server of a site, such as https://keys.example: with it, the site follows the server over a connection, and gives
    /// verdicts only as long as it has heard from it; http only on this machine
    #[arg(long, env = "LATCHKEY_SERVER", value_parser = server, value_name = "URL")]
    pub server: Option<ServerUrl>,
    /// The certificate authorities, in PEM, of the server of a site [default: those of the operating system]
    #[arg(long, env = "LATCHKEY_SERVER_CA", value_name = "FILE")]
    pub server_ca: Option<PathBuf>,
    /// How long a linked site gives verdicts without a further word of its server, 2s to 24h; the server may allow less
    #[arg(
        long,
        env = "LATCHKEY_MAX_STALE",
        default_value = "10s",
        value_name = "SPAN"
    )]
    pub max_stale: MaxStale,
}

/// A time span of 2 seconds to a day, which users write as `10s`, `5m` or `24h`.
#[derive(Clone, Copy, Debug)]
pub struct MaxStale {
    pub seconds: u64,
}

/// The link as it is set.
#[derive(Debug)]
pub struct LinkSetting {
    pub server: ServerUrl,
    /// Absent if the connection is not encrypted.
    pub authorities: Option<Authorities>,
    pub max_stale_s: u64,
}

impl LinkArgs {
    /// The link, if one is set. This reads the file of authorities.
    pub fn setting(&self, is_site: bool) -> Result<Option<LinkSetting>> {
        let refused = |name, why| Err(Error::invalid_text(name, why));
        let Some(server) = &self.server else {
            return match self.server_ca {
                Some(_) => refused("server-ca", "it is of no use without --server"),
                None => Ok(None),
            };
        };
        if !is_site {
            return refused("server", "only a site has a server; start it with --site");
        }
        if !server.is_tls() && self.server_ca.is_some() {
            return refused("server-ca", "it is of no use without encryption");
        }
        let authorities = match server.is_tls() {
            true => Some(Authorities::read(self.server_ca.as_deref())?),
            false => None,
        };
        Ok(Some(LinkSetting {
            server: server.clone(),
            authorities,
            max_stale_s: self.max_stale.seconds,
        }))
    }
}

fn server(text: &str) -> std::result::Result<ServerUrl, String> {
    ServerUrl::parse(text).map_err(|why| format!("{text:?} {why}"))
}

impl FromStr for MaxStale {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<MaxStale, String> {
        let range = MAX_STALE_S_MIN..=MAX_STALE_S_MAX;
        let seconds = span_s(text).filter(|span| range.contains(span));
        let refused = "must be a whole number with s, m or h, 2s to 24h, such as 10s";
        Ok(MaxStale {
            seconds: seconds.ok_or(refused)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_between_two_seconds_and_a_day() {
        for (text, expected) in [
            ("2s", Some(2)),
            ("10s", Some(10)),
            ("24h", Some(86_400)),
            ("1s", None),
            ("0s", None),
            ("86401s", None),
            ("10", None),
            ("-2s", None),
        ] {
            let found = text.parse::<MaxStale>().ok();
            assert_eq!(found.map(|span| span.seconds), expected, "{text}");
        }
    }

    #[test]
    fn a_server_is_for_a_site_alone() {
        let args = |server: Option<&str>, server_ca: Option<&str>| LinkArgs {
            server: server.map(|text| ServerUrl::parse(text).unwrap()),
            server_ca: server_ca.map(PathBuf::from),
            max_stale: MaxStale { seconds: 10 },
        };
        let here = Some("http://127.0.0.1:1");
        assert!(args(None, None).setting(false).unwrap().is_none());
        assert!(args(None, Some("x")).setting(true).is_err());
        assert!(args(here, None).setting(false).is_err());
        assert!(args(here, Some("x")).setting(true).is_err());
        let setting = args(here, None).setting(true).unwrap().unwrap();
        assert_eq!(
            (setting.max_stale_s, setting.authorities.is_some()),
            (10, false)
        );
    }
}
