//! APISIX: keys of the plugin key-auth, from the lists of consumers and credentials of the Admin API (JSON).
//!
//! The forms are those of `docs/en/latest/admin-api.md` in the repository apache/apisix, of versions 2 and 3, and the
//! keys those of `apisix/plugins/key-auth.lua`. Keys are plain text; in etcd they are encrypted, and the Admin API
//! decrypts them.

use super::draft::Draft;
use super::values::Unit;
use super::{Collection, at_line, digests, members_of, of_fault};
use crate::domain::keys::address::AddressList;
use crate::domain::keys::plain::Plain;
use crate::error::Result;
use crate::http::bodies::tree::{self, Data, Node};
use crate::refusals;
use std::collections::HashMap;

/// Texts that stand for a secret in another place.
const REFERENCES: [&str; 3] = ["$secret://", "$env://", "$ENV://"];

/// Plugins that restrict nothing.
const HARMLESS: [&str; 11] = [
    "cors",
    "echo",
    "file-logger",
    "http-logger",
    "kafka-logger",
    "opentelemetry",
    "prometheus",
    "proxy-rewrite",
    "request-id",
    "response-rewrite",
    "zipkin",
];

/// Plugins with other credentials of a consumer.
const CREDENTIALS: [&str; 6] = [
    "basic-auth",
    "hmac-auth",
    "jwe-decrypt",
    "jwt-auth",
    "ldap-auth",
    "wolf-rbac",
];

/// A consumer or a credential of one.
struct Record<'n> {
    /// The name of the consumer.
    consumer: &'n str,
    is_credential: bool,
    value: &'n Node,
}

/// Reads lists and single entries that follow one another.
pub fn read(text: &str, collection: &mut Collection) -> Result<()> {
    let documents = tree::json_documents(text).map_err(of_fault)?;
    let mut records = Vec::new();
    for document in &documents {
        list(document, &mut records)?;
    }
    let consumers: HashMap<&str, &Node> = records
        .iter()
        .filter(|record| !record.is_credential)
        .map(|record| (record.consumer, record.value))
        .collect();
    let mut keys: HashMap<&str, usize> = HashMap::new();
    for record in &records {
        if key_of(record.value).is_some() {
            *keys.entry(record.consumer).or_default() += 1;
        }
    }
    for record in &records {
        let consumer = consumers.get(record.consumer).copied();
        let count = keys.get(record.consumer).copied().unwrap_or_default();
        self::record(record, consumer, count, collection)?;
    }
    Ok(())
}

/// The entries of an answer: of version 3 (`list`), of version 2 (`node`), or as they are.
fn list<'n>(document: &'n Node, records: &mut Vec<Record<'n>>) -> Result<()> {
    let nodes = document.get("node").and_then(|node| node.get("nodes"));
    let entries = document.get("list").or(nodes);
    let items = match (entries, &document.data) {
        (Some(entries), _) => match entries.items() {
            Some(items) => items,
            // An empty list of version 2 is an empty object.
            None if entries.is_blank() => return Ok(()),
            None => return Err(at_line(entries.line, refusals::imports::apisix_form())),
        },
        (None, Data::List(items)) => items,
        (None, _) => std::slice::from_ref(document),
    };
    let total = document.get("list").and(document.get("total"));
    if total.is_some_and(|total| total.to_json().parse() != Ok(items.len())) {
        return Err(at_line(document.line, refusals::imports::pages()));
    }
    for item in items {
        let value = item.get("value").unwrap_or(item);
        let path = item.get("key").and_then(Node::text).unwrap_or_default();
        let of_path = path
            .split_once("/consumers/")
            .and_then(|(_, rest)| rest.split_once("/credentials/"));
        let user = value.get("username").and_then(Node::text);
        records.push(match (of_path, user) {
            (Some((consumer, _)), _) => Record {
                consumer,
                is_credential: true,
                value,
            },
            (None, Some(consumer)) => Record {
                consumer,
                is_credential: false,
                value,
            },
            (None, None) => return Err(at_line(item.line, refusals::imports::apisix_form())),
        });
    }
    Ok(())
}

fn plugin<'n>(value: &'n Node, name: &str) -> Option<&'n Node> {
    value.get("plugins").and_then(|plugins| plugins.get(name))
}

/// The configuration of key-auth.
fn key_of(value: &Node) -> Option<&Node> {
    plugin(value, "key-auth")
}

fn record(
    record: &Record<'_>,
    consumer: Option<&Node>,
    keys: usize,
    collection: &mut Collection,
) -> Result<()> {
    let value = record.value;
    let members = members_of(value, &[])?;
    for name in CREDENTIALS {
        if let Some(node) = plugin(value, name) {
            let what = format!("{name} of {}", record.consumer);
            collection.note(node.line, &what, refusals::imports::other_credentials());
        }
    }
    let Some(config) = key_of(value) else {
        return Ok(());
    };
    let mut draft = Draft::new("apisix", value.line);
    let text = |name: &str| value.get(name).and_then(Node::text).unwrap_or_default();
    let name = match (record.is_credential, text("name"), text("id")) {
        (false, ..) => record.consumer.to_owned(),
        (true, "", id) => format!("{} ({id})", record.consumer),
        (true, name, _) => format!("{} ({name})", record.consumer),
    };
    draft.name(value.line, &name, record.consumer);
    draft.metadata_text("consumer", record.consumer);
    secret(&mut draft, config)?;
    for (member, node) in members {
        match member.as_str() {
            "desc" => draft.key.description = description(&mut draft, node),
            "labels" | "id" => draft.metadata(member, node),
            "create_time" => draft.key.created_at = draft.time(member, node, Unit::Seconds),
            "group_id" => draft.restriction(member, node, refusals::imports::apisix_group),
            "update_time" => draft.unneeded(member, node),
            "username" | "name" | "plugins" => {}
            other => draft.unknown(other, node),
        }
    }
    match consumer {
        Some(consumer) => {
            if record.is_credential
                && let Some(group) = consumer.get("group_id")
            {
                draft.restriction("group_id", group, refusals::imports::apisix_group);
            }
            restrict(consumer, keys, &mut draft);
        }
        None => draft.drop_key(
            value.line,
            "",
            refusals::imports::apisix_consumer(record.consumer),
        ),
    }
    if record.is_credential {
        restrict(value, 1, &mut draft);
    }
    draft.finish(collection)
}

/// A description; one that this server refuses is left out.
fn description(draft: &mut Draft, node: &Node) -> Option<String> {
    let text = draft.text("desc", node)?;
    match crate::domain::text::check_description("desc", &text) {
        Ok(()) => Some(text),
        Err(err) => {
            draft.note(node.line, "", err.refusal());
            None
        }
    }
}

fn secret(draft: &mut Draft, config: &Node) -> Result<()> {
    const PROPERTY: &str = "key-auth";
    let Data::Object(members) = &config.data else {
        draft.drop_key(config.line, PROPERTY, refusals::values::object());
        return Ok(());
    };
    for (name, node) in members {
        let disabled = || {
            node.get("disable")
                .is_some_and(|it| matches!(it.data, Data::Flag(true)))
        };
        match (name.as_str(), &node.data) {
            ("key", Data::Text(text)) => {
                let text = text.as_str();
                if REFERENCES.iter().any(|start| text.starts_with(start)) {
                    draft.drop_key(node.line, PROPERTY, refusals::imports::secret_reference());
                } else if digests::is_like_encrypted(text) {
                    draft.drop_key(node.line, PROPERTY, refusals::imports::apisix_encrypted());
                } else {
                    draft.secret(node.line, PROPERTY, &Plain::new(text))?;
                }
            }
            ("key", _) => draft.drop_key(node.line, PROPERTY, refusals::imports::secret_not_text()),
            ("_meta", _) if disabled() => {
                draft.drop_key(node.line, PROPERTY, refusals::imports::plugin_disabled());
            }
            ("_meta", _) => {}
            (other, _) => draft.unknown(&format!("{PROPERTY}.{other}"), node),
        }
    }
    Ok(())
}

/// Gives a key what the plugins of its consumer demand. `keys` is the number of keys of the consumer.
fn restrict(value: &Node, keys: usize, draft: &mut Draft) {
    let Some(Data::Object(plugins)) = value.get("plugins").map(|it| &it.data) else {
        return;
    };
    for (name, config) in plugins {
        let name = name.as_str();
        if name == "key-auth" || CREDENTIALS.contains(&name) || HARMLESS.contains(&name) {
            continue;
        }
        let shown = refusals::quoted(name, 100);
        let property = format!("plugin {shown}");
        let part = |member: &str| config.get(member);
        match name {
            "ip-restriction" => {
                let allowed = part("whitelist").and_then(Node::items).unwrap_or_default();
                let list: Vec<&str> = allowed.iter().filter_map(Node::text).collect();
                if part("blacklist").is_some_and(|it| !it.is_blank()) {
                    draft.drop_key(
                        config.line,
                        &property,
                        refusals::imports::denied_addresses(),
                    );
                } else if let Err(err) = AddressList::parse(&property, list.iter().copied()) {
                    draft.drop_key(config.line, "", err.refusal());
                } else if draft.key.allowed_ips.is_some() {
                    draft.drop_key(
                        config.line,
                        &property,
                        refusals::imports::limit_of_several(),
                    );
                } else {
                    draft.key.allowed_ips = Some(list.into_iter().map(str::to_owned).collect());
                }
            }
            "limit-count" => {
                let by = part("key").and_then(Node::text).unwrap_or("remote_addr");
                let is_of_key =
                    by == "consumer_name" && keys == 1 && part("group").is_none_or(Node::is_blank);
                let numbers = (part("count").cloned(), part("time_window").cloned());
                match numbers {
                    _ if !is_of_key => draft.drop_key(
                        config.line,
                        &property,
                        refusals::imports::limit_of_several(),
                    ),
                    (Some(count), Some(window)) => {
                        let count = draft.count(&property, &count);
                        let window = draft.count(&property, &window);
                        if let (Some(count), Some(window)) = (count, window) {
                            draft.rate_limit(
                                config.line,
                                &property,
                                count,
                                window.saturating_mul(1_000),
                            );
                        }
                    }
                    _ => draft.drop_key(
                        config.line,
                        &property,
                        refusals::imports::plugin_without_config(),
                    ),
                }
            }
            _ => draft.drop_key(config.line, &property, refusals::imports::plugin_unknown()),
        }
    }
}
