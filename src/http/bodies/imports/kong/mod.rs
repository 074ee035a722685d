//! Kong: keys of the plugin key-auth, from a dump of deck (YAML or JSON) or from answers of the Admin API (JSON).
//!
//! The forms are those of the dumps below `tests/integration/testdata/dump` in the repository Kong/deck, and of the
//! schemas KeyAuth, Consumer, ACL and Plugin in Kong's published OpenAPI document of the Admin API. Kong stores keys as
//! plain text, so they are hashed here.

mod consumers;
mod plugins;

use super::draft::Draft;
use super::values::Unit;
use super::{Collection, at_line, of_fault};
use crate::domain::keys::plain::Plain;
use crate::error::Result;
use crate::http::bodies::tree::{self, Data, Node, yaml};
use crate::refusals;
use consumers::{Consumer, Consumers};

/// The greatest number of values of a dump.
const VALUES_MAX: usize = 8_000_000;

/// Texts that stand for a secret in another place: a vault of Kong, a variable of deck, a value that Kong has encrypted.
const REFERENCES: [&str; 3] = ["{vault://", "${{", "$ke$"];

/// Reads a dump, or answers of the Admin API that follow one another.
pub fn read(text: &str, collection: &mut Collection) -> Result<()> {
    let documents = match text.trim_start().starts_with('{') {
        true => tree::json_documents(text).map_err(of_fault)?,
        false => {
            let document = yaml::parse(text, VALUES_MAX)
                .map_err(|fault| at_line(fault.line, refusals::imports::not_yaml(fault.why)))?;
            vec![document]
        }
    };
    let is_dump = documents
        .first()
        .is_some_and(|it| it.get("_format_version").is_some());
    let consumers = match documents.as_slice() {
        [dump] if is_dump => Consumers::of_dump(dump, collection)?,
        answers => Consumers::of_answers(answers, collection)?,
    };
    for consumer in consumers.all() {
        for (place, key) in consumer.keys.iter().enumerate() {
            self::key(&consumers, consumer, place, key)?.finish(collection)?;
        }
    }
    Ok(())
}

/// A credential of key-auth.
fn key(
    consumers: &Consumers<'_>,
    consumer: &Consumer<'_>,
    place: usize,
    node: &Node,
) -> Result<Draft> {
    let Data::Object(members) = &node.data else {
        return Err(at_line(node.line, refusals::imports::not_object()));
    };
    let mut draft = Draft::new("kong", node.line);
    let name = match place {
        0 => consumer.name.clone(),
        place => format!("{} ({})", consumer.name, place + 1),
    };
    draft.name(node.line, &name, &format!("line {}", node.line));
    for (member, value) in members {
        match member.as_str() {
            "key" => secret(&mut draft, value)?,
            "id" | "tags" => draft.metadata(member, value),
            "created_at" => draft.key.created_at = draft.time(member, value, Unit::Seconds),
            "ttl" => draft.restriction(member, value, refusals::imports::kong_ttl),
            "updated_at" => draft.unneeded(member, value),
            "consumer" => {}
            other => draft.unknown(other, value),
        }
    }
    consumers.restrict(consumer, &mut draft);
    Ok(draft)
}

fn secret(draft: &mut Draft, node: &Node) -> Result<()> {
    let line = node.line;
    match &node.data {
        Data::Text(text) => {
            if REFERENCES
                .iter()
                .any(|start| text.as_str().starts_with(start))
            {
                draft.drop_key(line, "key", refusals::imports::secret_reference());
                return Ok(());
            }
            draft.secret(line, "key", &Plain::new(text.as_str()))
        }
        Data::Null => Ok(()),
        // YAML reads digits without quotation marks as a number, which may have other digits than the key.
        _ => {
            draft.drop_key(line, "key", refusals::imports::secret_not_text());
            Ok(())
        }
    }
}
