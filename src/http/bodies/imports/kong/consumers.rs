//! The consumers of a file, with all that the file has about them.

use super::super::draft::Draft;
use super::super::{Collection, at_line};
use super::plugins;
use crate::error::Result;
use crate::http::bodies::tree::{Data, Node};
use crate::refusals;
use std::collections::{HashMap, HashSet};

/// Credentials of other plugins, which are no keys.
const OTHER_CREDENTIALS: [&str; 5] = [
    "basicauth_credentials",
    "hmacauth_credentials",
    "jwt_secrets",
    "mtls_auth_credentials",
    "oauth2_credentials",
];

/// A consumer.
#[derive(Default)]
pub struct Consumer<'n> {
    /// The name, else the custom id, else the id.
    pub name: String,
    /// The credentials of key-auth.
    pub keys: Vec<&'n Node>,
    /// The record of the consumer, if the file has it.
    record: Option<&'n Node>,
    /// The ACL groups, each with its line.
    groups: Vec<(usize, &'n str)>,
    plugins: Vec<&'n Node>,
    /// The consumer groups, each with its line.
    member_of: Vec<(usize, &'n str)>,
}

/// All consumers, and what the file has about their groups.
#[derive(Default)]
pub struct Consumers<'n> {
    all: Vec<Consumer<'n>>,
    /// The position of a consumer by its name, custom id and id.
    places: HashMap<&'n str, usize>,
    /// The groups that a plugin acl denies.
    denied: HashSet<&'n str>,
    /// Whether the file has the plugins of all routes, so that `denied` is complete.
    knows_denied: bool,
    /// Consumer groups, and whether plugins are configured for them.
    groups: HashMap<&'n str, bool>,
}

impl<'n> Consumers<'n> {
    pub fn all(&self) -> &[Consumer<'n>] {
        &self.all
    }

    /// Reads a dump of deck.
    pub fn of_dump(dump: &'n Node, collection: &mut Collection) -> Result<Consumers<'n>> {
        let mut consumers = Consumers::default();
        let Data::Object(members) = &dump.data else {
            return Err(at_line(dump.line, refusals::imports::not_object()));
        };
        let selected = dump.get("_info").and_then(|info| info.get("select_tags"));
        let is_whole = selected.is_none_or(Node::is_blank);
        consumers.knows_denied = is_whole
            && ["services", "routes", "plugins"]
                .iter()
                .any(|it| dump.get(it).is_some());
        for record in list(dump, "consumers")? {
            let place = consumers.place_of_record(record)?;
            consumers.parts_of(place, record, collection)?;
        }
        for group in list(dump, "consumer_groups")? {
            consumers.group(group)?;
        }
        for (name, node) in members {
            match name.as_str() {
                "consumers" | "consumer_groups" => {}
                "keyauth_credentials" | "acls" => {
                    for item in list(dump, name)? {
                        consumers.attach(name, item)?;
                    }
                }
                "plugins" | "services" | "routes" => {
                    match name.as_str() {
                        "plugins" => {
                            for plugin in list(dump, name)? {
                                consumers.plugin(plugin)?;
                            }
                        }
                        _ => consumers.gateway(list(dump, name)?)?,
                    }
                    collection.note(node.line, name, refusals::imports::kong_gateway());
                }
                name if OTHER_CREDENTIALS.contains(&name) => {
                    collection.note(node.line, name, refusals::imports::other_credentials());
                }
                name if name.starts_with('_') => {}
                name => {
                    let shown = refusals::quoted(name, 100);
                    collection.note(node.line, &shown, refusals::imports::kong_gateway());
                }
            }
        }
        Ok(consumers)
    }

    /// Reads answers of the Admin API to requests for keys, consumers, ACL groups and plugins, in any order.
    pub fn of_answers(answers: &'n [Node], collection: &mut Collection) -> Result<Consumers<'n>> {
        let mut consumers = Consumers::default();
        let mut items = Vec::new();
        for (place, answer) in answers.iter().enumerate() {
            let Some(data) = answer.get("data").and_then(Node::items) else {
                return Err(at_line(answer.line, refusals::imports::kong_form()));
            };
            let has_more = answer.get("next").is_some_and(|next| !next.is_blank());
            if has_more && place + 1 == answers.len() {
                return Err(at_line(answer.line, refusals::imports::pages()));
            }
            items.extend(data);
        }
        let has = |item: &Node, member: &str| {
            item.get(member)
                .is_some_and(|it| !matches!(it.data, Data::Null))
        };
        let (mut records, mut groups) = (false, false);
        for item in &items {
            if !has(item, "consumer") && (has(item, "username") || has(item, "custom_id")) {
                consumers.place_of_record(item)?;
                records = true;
            }
        }
        for item in &items {
            if has(item, "config") && has(item, "name") {
                consumers.knows_denied = true;
                consumers.plugin(item)?;
            } else if has(item, "key") {
                consumers.attach("keyauth_credentials", item)?;
            } else if has(item, "group") {
                groups = true;
                consumers.attach("acls", item)?;
            } else if has(item, "consumer") || !(has(item, "username") || has(item, "custom_id")) {
                return Err(at_line(item.line, refusals::imports::kong_item()));
            }
        }
        let lists = [
            (records, "consumers"),
            (groups, "acls"),
            (consumers.knows_denied, "plugins"),
        ];
        for (is_there, list) in lists {
            if !is_there {
                collection.note(1, list, refusals::imports::kong_list(list));
            }
        }
        Ok(consumers)
    }

    /// Remembers the record of a consumer under its name, custom id and id.
    fn place_of_record(&mut self, record: &'n Node) -> Result<usize> {
        let part = |name: &str| {
            record
                .get(name)
                .and_then(Node::text)
                .filter(|it| !it.is_empty())
        };
        let names = [part("username"), part("custom_id"), part("id")];
        let Some(name) = names.iter().flatten().next() else {
            return Err(at_line(
                record.line,
                refusals::imports::kong_consumer_name(),
            ));
        };
        let place = self.all.len();
        for known in names.iter().flatten() {
            // A name of one consumer may be the custom id of another: the first one counts, as in Kong.
            self.places.entry(known).or_insert(place);
        }
        self.all.push(Consumer {
            name: (*name).to_owned(),
            record: Some(record),
            ..Consumer::default()
        });
        Ok(place)
    }

    /// The consumer that a record refers to, by its name or as an object with its id. One that the file does not have
    /// gets an entry without a record.
    fn place_of_reference(&mut self, record: &'n Node) -> Result<usize> {
        let reference = record.get("consumer");
        let part = |name: &str| reference.and_then(|it| it.get(name)).and_then(Node::text);
        let name = reference
            .and_then(Node::text)
            .or(part("id"))
            .or(part("username"));
        let Some(name) = name else {
            return Err(at_line(record.line, refusals::imports::missing("consumer")));
        };
        let place = *self.places.entry(name).or_insert(self.all.len());
        if place == self.all.len() {
            self.all.push(Consumer {
                name: name.to_owned(),
                ..Consumer::default()
            });
        }
        Ok(place)
    }

    /// What stands within the record of a consumer in a dump.
    fn parts_of(
        &mut self,
        place: usize,
        record: &'n Node,
        collection: &mut Collection,
    ) -> Result<()> {
        self.all[place]
            .keys
            .extend(list(record, "keyauth_credentials")?);
        self.all[place].plugins.extend(list(record, "plugins")?);
        for acl in list(record, "acls")? {
            self.all[place].groups.push((acl.line, group_of(acl)?));
        }
        for group in list(record, "groups")? {
            let Some(name) = group.get("name").and_then(Node::text) else {
                return Err(at_line(group.line, refusals::imports::missing("name")));
            };
            self.all[place].member_of.push((group.line, name));
        }
        for name in OTHER_CREDENTIALS {
            if let Some(node) = record.get(name).filter(|node| !node.is_blank()) {
                let what = format!("{name} of {}", self.all[place].name);
                collection.note(node.line, &what, refusals::imports::other_credentials());
            }
        }
        Ok(())
    }

    /// A key or an ACL group outside of the record of its consumer.
    fn attach(&mut self, list: &str, item: &'n Node) -> Result<()> {
        let place = self.place_of_reference(item)?;
        match list {
            "acls" => self.all[place].groups.push((item.line, group_of(item)?)),
            _ => self.all[place].keys.push(item),
        }
        Ok(())
    }

    fn group(&mut self, group: &'n Node) -> Result<()> {
        let Some(name) = group.get("name").and_then(Node::text) else {
            return Err(at_line(group.line, refusals::imports::missing("name")));
        };
        let is_blank = |member: &str| group.get(member).is_none_or(Node::is_blank);
        self.groups.insert(name, !is_blank("plugins"));
        for member in list(group, "consumers")? {
            let name_of = |it: &'n Node| it.text().or(it.get("username").and_then(Node::text));
            if let Some(place) = name_of(member).and_then(|it| self.places.get(it)) {
                self.all[*place].member_of.push((member.line, name));
            }
        }
        Ok(())
    }

    /// Services or routes, whose plugins may deny groups.
    fn gateway(&mut self, entries: &'n [Node]) -> Result<()> {
        for entry in entries {
            for plugin in list(entry, "plugins")? {
                self.plugin(plugin)?;
            }
            self.gateway(list(entry, "routes")?)?;
        }
        Ok(())
    }

    fn plugin(&mut self, plugin: &'n Node) -> Result<()> {
        self.denied.extend(plugins::denied_groups(plugin));
        if plugin.get("consumer").is_some_and(|it| !it.is_blank()) {
            let place = self.place_of_reference(plugin)?;
            self.all[place].plugins.push(plugin);
        }
        if let Some(group) = plugin.get("consumer_group").filter(|it| !it.is_blank()) {
            let name = group.text().or(group.get("name").and_then(Node::text));
            name.and_then(|name| self.groups.insert(name, true));
        }
        Ok(())
    }

    /// Gives a key what its consumer has, or the reasons why it cannot be taken.
    pub fn restrict(&self, consumer: &Consumer<'n>, draft: &mut Draft) {
        let line = draft.key.line;
        draft.metadata_text("consumer", &consumer.name);
        if let Some(Data::Object(members)) = consumer.record.map(|record| &record.data) {
            for (member, node) in members {
                match member.as_str() {
                    "custom_id" => draft.metadata(member, node),
                    "tags" => draft.metadata("consumer_tags", node),
                    "created_at" | "updated_at" => draft.unneeded(member, node),
                    "acls" | "groups" | "id" | "keyauth_credentials" | "plugins" | "username" => {}
                    name if OTHER_CREDENTIALS.contains(&name) => {}
                    other => draft.unknown(other, node),
                }
            }
        }
        for (line, group) in &consumer.groups {
            if !self.knows_denied {
                draft.drop_key(*line, "acls", refusals::imports::kong_acl_unknown(group));
            } else if self.denied.contains(group) {
                draft.drop_key(*line, "acls", refusals::imports::kong_acl_denied(group));
            } else {
                draft.scope(*line, "acls", group);
            }
        }
        for (line, group) in &consumer.member_of {
            match self.groups.get(group) {
                Some(false) if !self.denied.contains(group) => {}
                _ => draft.drop_key(*line, "groups", refusals::imports::kong_group(group)),
            }
        }
        let mut limits = plugins::Limits::default();
        for plugin in &consumer.plugins {
            plugins::restrict(plugin, consumer.keys.len(), draft, &mut limits);
        }
        limits.finish(line, draft);
    }
}

/// A list within an object; empty if it is absent or null.
fn list<'n>(node: &'n Node, name: &str) -> Result<&'n [Node]> {
    match node.get(name) {
        None => Ok(&[]),
        Some(list) => match &list.data {
            Data::List(items) => Ok(items),
            Data::Null => Ok(&[]),
            _ => Err(at_line(list.line, refusals::imports::kong_not_list(name))),
        },
    }
}

fn group_of(acl: &Node) -> Result<&str> {
    let group = acl.get("group").and_then(Node::text);
    group.ok_or_else(|| at_line(acl.line, refusals::imports::missing("group")))
}
