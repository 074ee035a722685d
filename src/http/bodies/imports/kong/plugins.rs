//! What plugins that are configured for one consumer demand of its keys.

use super::super::draft::Draft;
use crate::domain::keys::address::AddressList;
use crate::http::bodies::tree::{Data, Node};
use crate::refusals;

/// Plugins that restrict nothing: they log, or change requests and answers.
const HARMLESS: [&str; 16] = [
    "correlation-id",
    "cors",
    "datadog",
    "file-log",
    "http-log",
    "loggly",
    "opentelemetry",
    "prometheus",
    "proxy-cache",
    "request-transformer",
    "response-transformer",
    "statsd",
    "syslog",
    "tcp-log",
    "udp-log",
    "zipkin",
];

/// Windows of rate-limiting that have a length in seconds; months and years differ in theirs.
const WINDOWS: [(&str, u64); 6] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 3_600),
    ("day", 86_400),
    ("month", 0),
    ("year", 0),
];

/// The addresses that the plugins of a consumer permit.
#[derive(Default)]
pub struct Limits {
    allowed_ips: Option<Vec<String>>,
}

impl Limits {
    pub fn finish(self, line: usize, draft: &mut Draft) {
        let Some(list) = self.allowed_ips else { return };
        match AddressList::parse("ip-restriction", list.iter().map(String::as_str)) {
            Ok(_) => draft.key.allowed_ips = Some(list),
            Err(err) => draft.drop_key(line, "", err.refusal()),
        }
    }
}

/// The groups that a plugin acl denies.
pub fn denied_groups(plugin: &Node) -> Vec<&str> {
    if plugin.get("name").and_then(Node::text) != Some("acl") {
        return Vec::new();
    }
    let config = plugin.get("config");
    let lists = ["deny", "blacklist"].map(|name| config.and_then(|config| config.get(name)));
    let items = lists
        .into_iter()
        .flatten()
        .filter_map(Node::items)
        .flatten();
    items.filter_map(Node::text).collect()
}

/// Gives a key what a plugin of its consumer demands. `keys` is the number of keys of the consumer.
pub fn restrict(plugin: &Node, keys: usize, draft: &mut Draft, limits: &mut Limits) {
    let name = plugin.get("name").and_then(Node::text).unwrap_or_default();
    let shown = refusals::quoted(name, 100);
    let mut refuse = |why| draft.drop_key(plugin.line, &format!("plugin {shown}"), why);
    if plugin
        .get("enabled")
        .is_some_and(|it| matches!(it.data, Data::Flag(false)))
        || HARMLESS.contains(&name)
    {
        return;
    }
    let is_set = |member: &str| plugin.get(member).is_some_and(|it| !it.is_blank());
    if is_set("route") || is_set("service") {
        return refuse(refusals::imports::kong_plugin_of_route());
    }
    let Some(config) = plugin.get("config").filter(|_| !is_set("_config")) else {
        return refuse(refusals::imports::plugin_without_config());
    };
    match name {
        "ip-restriction" => {
            if ["deny", "blacklist"]
                .iter()
                .any(|it| config.get(it).is_some_and(|it| !it.is_blank()))
            {
                return refuse(refusals::imports::denied_addresses());
            }
            let lists = ["allow", "whitelist"]
                .iter()
                .find_map(|it| config.get(it)?.items());
            let texts: Vec<String> = lists
                .unwrap_or_default()
                .iter()
                .filter_map(Node::text)
                .map(str::to_owned)
                .collect();
            if limits.allowed_ips.is_some() || texts.is_empty() {
                return refuse(refusals::imports::plugin_without_config());
            }
            limits.allowed_ips = Some(texts);
        }
        "rate-limiting" => {
            let by = config
                .get("limit_by")
                .and_then(Node::text)
                .unwrap_or("consumer");
            let is_of_key = by == "credential" || (by == "consumer" && keys == 1);
            if !is_of_key {
                return refuse(refusals::imports::limit_of_several());
            }
            let set = WINDOWS.iter().filter_map(|(window, seconds)| {
                let node = config
                    .get(window)
                    .filter(|it| !matches!(it.data, Data::Null))?;
                Some((node, *seconds))
            });
            let set: Vec<(&Node, u64)> = set.collect();
            match set.as_slice() {
                [(_, 0)] => refuse(refusals::imports::limit_of_calendar()),
                [(node, seconds)] => {
                    if let Some(limit) = draft.count("plugin rate-limiting", node) {
                        draft.rate_limit(node.line, "plugin rate-limiting", limit, seconds * 1_000);
                    }
                }
                [] => refuse(refusals::imports::plugin_without_config()),
                _ => refuse(refusals::imports::rate_limits()),
            }
        }
        "request-termination" => refuse(refusals::imports::kong_blocked()),
        _ => refuse(refusals::imports::plugin_unknown()),
    }
}
