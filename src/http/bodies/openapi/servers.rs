//! Where operations are served: at the host and base path that the user has named, or at servers of their own.

use super::Options;
use super::references::References;
use crate::domain::catalogs::path;
use crate::refusals::{self, Refusal};
use serde_json::Value;

/// Servers that are read of one list.
const SERVERS_MAX: usize = 100;

/// A host, and the base path that comes before each path there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BaseAddress {
    /// `None` for any host.
    pub host: Option<String>,
    pub base: String,
}

/// Where a path or an operation is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Served {
    /// At the usual place of the document.
    AsTheDocument,
    /// At these places; the texts are their addresses in the document.
    At(Vec<BaseAddress>, Vec<String>),
    /// Unknown; the text is the reason.
    Unknown(Refusal),
}

/// The servers of a document.
pub struct Servers {
    urls: Vec<String>,
    usual: BaseAddress,
}

impl Servers {
    pub fn read<'a>(
        document: &'a Value,
        references: &References<'a>,
        options: &Options<'_>,
    ) -> Servers {
        let servers = references.member(document, "servers").ok();
        let servers = servers.and_then(Value::as_array).into_iter().flatten();
        let urls = servers.filter_map(|server| url(server, references).ok());
        Servers {
            urls: urls.map(str::to_owned).collect(),
            usual: BaseAddress {
                host: options.host.map(str::to_owned),
                base: options.base_path.to_owned(),
            },
        }
    }

    /// The usual place of the document's paths.
    pub fn usual(&self) -> &BaseAddress {
        &self.usual
    }

    /// Notes about base paths of the document that differ from the one that the user has named.
    pub fn notes(&self) -> Vec<Refusal> {
        let mut notes = Vec::new();
        for url in &self.urls {
            let (_, base) = parts(url);
            if !base.is_empty() && base != self.usual.base {
                notes.push(refusals::openapi::base_path(url, base));
            }
        }
        notes
    }

    /// Reads the `servers` of a path or an operation.
    pub fn served<'a>(&self, object: &'a Value, references: &References<'a>) -> Served {
        match object.get("servers") {
            None => Served::AsTheDocument,
            Some(servers) => self.served_at(servers, references),
        }
    }

    /// As [`Servers::served`], with the list itself.
    pub fn served_at<'a>(&self, servers: &'a Value, references: &References<'a>) -> Served {
        let servers = match references.resolve(servers) {
            Ok(Value::Null) => return Served::AsTheDocument,
            Ok(servers) => servers.as_array(),
            Err(why) => return Served::Unknown(why),
        };
        let Some(servers) = servers else {
            return Served::Unknown(refusals::openapi::servers_not_list());
        };
        if servers.len().max(self.urls.len()) > SERVERS_MAX {
            return Served::Unknown(refusals::openapi::servers_at_most(SERVERS_MAX));
        }
        let mut urls = Vec::new();
        for server in servers {
            match url(server, references) {
                Ok(url) => urls.push(url.to_owned()),
                Err(why) => return Served::Unknown(why),
            }
        }
        if urls.iter().all(|url| self.urls.contains(url)) {
            return Served::AsTheDocument;
        }
        let mut places = Vec::new();
        for url in &urls {
            match self.place(url) {
                Ok(place) if places.contains(&place) => {}
                Ok(place) => places.push(place),
                Err(why) => return Served::Unknown(why),
            }
        }
        match places == [self.usual.clone()] {
            true => Served::AsTheDocument,
            false => Served::At(places, urls),
        }
    }

    /// The place of an address. If the address has the document's own host, the host and the base path that the user
    /// has named for the document replace the document's own.
    fn place(&self, url: &str) -> Result<BaseAddress, Refusal> {
        if url.contains(['{', '?', '#']) {
            return Err(refusals::openapi::server_variable(url));
        }
        let (authority, base) = parts(url);
        let host = match authority {
            None if !url.starts_with('/') => {
                return Err(refusals::openapi::server_relative(url));
            }
            None => None,
            Some(authority) => Some(
                path::host(authority).ok_or_else(|| refusals::openapi::server_without_host(url))?,
            ),
        };
        let own = self
            .urls
            .iter()
            .map(|url| parts(url))
            .find(|(authority, _)| {
                let own = authority.and_then(path::host);
                host.is_none() || own == host
            });
        let Some((_, own_base)) = own else {
            // The host is none of the document's; or the address is a path, and the document names no server, so that
            // its base is "/".
            return Ok(BaseAddress {
                host: host.or_else(|| self.usual.host.clone()),
                base: base.to_owned(),
            });
        };
        let below = base.strip_prefix(own_base);
        let below = below.filter(|below| below.is_empty() || below.starts_with('/'));
        Ok(BaseAddress {
            host: self.usual.host.clone(),
            base: match below {
                Some(below) => format!("{}{below}", self.usual.base),
                None => base.to_owned(),
            },
        })
    }
}

fn url<'a>(server: &'a Value, references: &References<'a>) -> Result<&'a str, Refusal> {
    let url = references.member(server, "url")?.as_str();
    url.ok_or_else(refusals::openapi::server_without_url)
}

/// The authority of an address, if it has one, and its path without a final slash.
fn parts(url: &str) -> (Option<&str>, &str) {
    let (authority, path) = match url
        .split_once("://")
        .map(|(_, rest)| rest)
        .or(url.strip_prefix("//"))
    {
        None => (None, url),
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
    };
    (authority, path.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::super::security::Silence;
    use super::*;
    use serde_json::json;

    fn served(base_path: &str, host: Option<&str>, urls: Value) -> Served {
        let document = json!({"servers": [{"url": "https://api.example/v1"}, {"url": "https://other.example/v1/"}]});
        let urls = urls.as_array().unwrap().iter();
        let object = json!({"servers": urls.map(|url| json!({ "url": url })).collect::<Vec<_>>()});
        let references = References::of(&document);
        let options = Options {
            base_path,
            host,
            schemes: &[],
            silence: Silence::Closed,
        };
        // It contains no reference that has a target.
        let object = Box::leak(Box::new(object));
        let none = Box::leak(Box::new(json!({})));
        let servers = Servers::read(&document, &references, &options);
        servers.served(object, &References::of(none))
    }

    fn at(places: &[(Option<&str>, &str)], urls: &[&str]) -> Served {
        let place = |&(host, base): &(Option<&str>, &str)| BaseAddress {
            host: host.map(str::to_owned),
            base: base.to_owned(),
        };
        let urls = urls.iter().map(|&url| url.to_owned());
        Served::At(places.iter().map(place).collect(), urls.collect())
    }

    #[test]
    fn servers_of_an_operation_are_places_in_the_terms_of_the_import() {
        let upload = "https://Upload.example:8443/api/v1/";
        assert_eq!(
            served("/v1", None, json!([upload])),
            at(&[(Some("upload.example"), "/api/v1")], &[upload])
        );
        let second = "https://api.example/v1/beta";
        assert_eq!(
            served("", Some("front.example"), json!([second])),
            at(&[(Some("front.example"), "/beta")], &[second])
        );
        assert_eq!(
            served("/v1", None, json!([second])),
            at(&[(None, "/v1/beta")], &[second])
        );
        assert_eq!(
            served("/x", None, json!(["/v2"])),
            at(&[(None, "/v2")], &["/v2"])
        );
        let both = json!([upload, "https://third.example"]);
        let places = [
            (Some("upload.example"), "/api/v1"),
            (Some("third.example"), ""),
        ];
        assert_eq!(
            served("/v1", None, both),
            at(&places, &[upload, "https://third.example"])
        );
        for usual in [
            json!([]),
            json!(["https://api.example/v1"]),
            json!(["https://other.example/v1/", "https://api.example/v1"]),
            json!(["/v1"]),
            json!(["https://api.example:443/v1/"]),
        ] {
            assert_eq!(
                served("/v1", None, usual.clone()),
                Served::AsTheDocument,
                "{usual}"
            );
        }
    }

    #[test]
    fn servers_that_cannot_be_read_are_unknown() {
        for url in [
            "https://{region}.example",
            "https://a b/x",
            "https://u@h.example",
            "v2",
            "https://h.example/x?y",
            "https://",
        ] {
            let found = served("", None, json!([url]));
            assert!(matches!(found, Served::Unknown(_)), "{url}: {found:?}");
        }
    }
}
