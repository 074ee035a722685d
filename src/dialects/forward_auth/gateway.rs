//! The question of a gateway that implements the filter `ExternalAuth` of the Kubernetes Gateway API over HTTP
//! (GEP-1494). It can configure a path, and neither a query nor headers, so the path contains the requirements:
//!
//! `/auth/gateway/{catalog}[/{scope}][/workspace={name}]/-`, with `-` in the place of the catalog for none.
//!
//! A gateway made of Envoy appends the original path to it, and sends the original method as its own. NGINX Gateway
//! Fabric appends nothing, and sends the headers `Path` and `Method`. Which of the two it is follows from the path,
//! which the administrator has written, and from no header, which a client could add.

use super::Proxy;
use super::demands::{self, Demands};
use crate::http::request::Head;

/// The path before the requirements.
const MOUNT: &str = "/auth/gateway/";
/// The segment for no catalog, and the one that ends the requirements.
const NONE: &str = "-";
/// The beginning of the segment that names a workspace.
const WORKSPACE: &str = "workspace=";

/// The path of a question: the requirements as the administrator wrote them, and the original path, which is empty if
/// the gateway appends none.
pub struct Question<'a> {
    /// Without the segment that ends them.
    requirements: &'a str,
    pub original: &'a str,
}

impl<'a> Question<'a> {
    /// `None` if the path has no segment that ends the requirements.
    pub fn of(head: &'a Head) -> Option<Question<'a>> {
        let below = head.path().strip_prefix(MOUNT)?;
        // No slash is before the first segment, which is the catalog, or `-` for none.
        let is_whole = |at: usize| matches!(below.as_bytes().get(at + 2), None | Some(b'/'));
        let (end, _) = below.match_indices("/-").find(|(at, _)| is_whole(*at))?;
        Some(Question {
            requirements: &below[..end],
            original: &below[end + 2..],
        })
    }

    /// The requirements; `None` if they are not of the form that this file describes.
    pub fn demands(&self) -> Option<Demands> {
        let mut segments = self.requirements.split('/');
        let catalog = segments.next()?;
        let mut demands = Demands {
            catalog: (catalog != NONE).then(|| catalog.to_owned()),
            ..Demands::default()
        };
        for segment in segments {
            // An empty name is refused with the other requirements that make no sense.
            match segment.strip_prefix(WORKSPACE) {
                Some(name) if demands.workspace.is_none() => {
                    demands.workspace = Some(name.to_owned());
                }
                None if demands.scopes.is_empty() && demands.workspace.is_none() => {
                    demands.scopes = demands::words(Some(segment))?;
                }
                Some(_) | None => return None,
            }
        }
        demands.makes_sense().then_some(demands)
    }
}

/// How the gateway describes the original request.
pub fn proxy(head: &Head) -> Proxy {
    match Question::of(head) {
        Some(question) if question.original.is_empty() => Proxy::GatewayNginx,
        Some(_) | None => Proxy::Gateway,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Method, Peer, RequestId};

    fn head(target: &str) -> Head {
        Head {
            method: Method::GET,
            target: target.parse().unwrap(),
            is_http_11: true,
            headers: [].into_iter().collect(),
            peer: Peer::Unix { uid: 0 },
            id: RequestId::new(0, 0),
        }
    }

    /// Catalog, scopes and workspace of a path, and the original path.
    type Read = (Option<String>, Vec<String>, Option<String>, String);

    fn read(path: &str) -> Option<Read> {
        let head = head(path);
        let question = Question::of(&head)?;
        let demands = question.demands()?;
        let original = question.original.to_owned();
        Some((demands.catalog, demands.scopes, demands.workspace, original))
    }

    #[track_caller]
    fn check(path: &str, catalog: &str, scopes: &[&str], workspace: &str, original: &str) {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let expected = (some(catalog), scopes, some(workspace), original.to_owned());
        assert_eq!(read(path), Some(expected), "{path}");
    }

    #[test]
    fn the_first_dash_behind_the_catalog_ends_the_requirements() {
        check("/auth/gateway/billing/-", "billing", &[], "", "");
        check("/auth/gateway/billing/-/", "billing", &[], "", "/");
        check(
            "/auth/gateway/billing/-/a/b/?c",
            "billing",
            &[],
            "",
            "/a/b/",
        );
        check("/auth/gateway/billing/-/-/x", "billing", &[], "", "/-/x");
        check("/auth/gateway/billing/-//x", "billing", &[], "", "//x");
        check("/auth/gateway/-/-", "", &[], "", "");
        check("/auth/gateway/-/-/-/-", "", &[], "", "/-/-");
        check("/auth/gateway/-/-/a:b/-/x", "", &[], "", "/a:b/-/x");
        check("/auth/gateway/-/a:b/-/x", "", &["a:b"], "", "/x");
        check(
            "/auth/gateway/shop/a:b,c/-/x",
            "shop",
            &["a:b", "c"],
            "",
            "/x",
        );
        check(
            "/auth/gateway/shop/workspace=emea/-/x",
            "shop",
            &[],
            "emea",
            "/x",
        );
        check(
            "/auth/gateway/shop/a/workspace=emea/-",
            "shop",
            &["a"],
            "emea",
            "",
        );
        // What follows the dash is the client's.
        check(
            "/auth/gateway/shop/-/workspace=root/-/x",
            "shop",
            &[],
            "",
            "/workspace=root/-/x",
        );
    }

    #[test]
    fn requirements_of_another_form_are_none_at_all() {
        for path in [
            "/auth/gateway/billing",
            "/auth/gateway/billing/",
            "/auth/gateway/billing/-x",
            "/auth/gateway/billing/x-/a",
            "/auth/gateway/-",
            "/auth/gateway/-/",
            "/auth/gateway//-",
            "/auth/gateway//-/a",
            "/auth/gateway/billing//-/a",
            "/auth/gateway/billing/,/-/a",
            "/auth/gateway/billing/a/b/-/x",
            "/auth/gateway/billing/workspace=/-/x",
            "/auth/gateway/billing/workspace=a/workspace=b/-/x",
            "/auth/gateway/billing/workspace=a/b/-/x",
            "/auth/gateway/billing/%2d/a",
            "/auth/gatewax/billing/-/a",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }
}
