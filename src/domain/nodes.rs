//! The identity of a node: of one data folder, of which one process at a time serves the database.

use super::hex::{hex, unhex};
use super::random;
use crate::error::Result;

/// The number of bytes of an id.
const BYTES: usize = 16;
/// The largest number of characters of a name.
pub const NAME_CHARS_MAX: usize = 64;

/// 16 random bytes that the data folder has from its first start.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct NodeId(pub [u8; BYTES]);

/// A process that serves the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Node {
    pub id: NodeId,
    /// How often the node has opened the database, this time included. What several processes of one node count is in the
    /// order of their starts.
    pub boot: i64,
}

impl NodeId {
    pub fn generate() -> Result<NodeId> {
        let mut bytes = [0; BYTES];
        random::fill(&mut bytes)?;
        Ok(NodeId(bytes))
    }

    /// Reads 32 hexadecimal digits in lower case, with or without a line end. Zeros alone are no id, because no generator produces them.
    pub fn parse(text: &str) -> Option<NodeId> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let id = NodeId(unhex(text)?.try_into().ok()?);
        (id.to_string() == text && id.0 != [0; BYTES]).then_some(id)
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// The name of a node, from the name of its machine: without what a line of a log must not have, and never empty.
pub fn name_of(machine: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || ".-_".contains(*c);
    let name: String = machine
        .chars()
        .filter(is_plain)
        .take(NAME_CHARS_MAX)
        .collect();
    match name.is_empty() {
        true => "node".to_owned(),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id = NodeId::generate().unwrap();
        assert_ne!(id, NodeId::generate().unwrap());
        let text = id.to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(NodeId::parse(&text), Some(id));
        assert_eq!(NodeId::parse(&format!("{text}\n")), Some(id));
        let (upper, zeros) = ("AB".repeat(16), "00".repeat(16));
        for wrong in [
            "",
            "ab",
            &text[1..],
            &format!("{text}0"),
            &format!("{text}\n\n"),
            &upper,
            &zeros,
        ] {
            assert_eq!(NodeId::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_name_has_no_strange_characters_and_is_never_empty() {
        for (machine, name) in [
            ("db-1.example", "db-1.example"),
            ("a b\nc", "abc"),
            ("", "node"),
            ("é", "node"),
        ] {
            assert_eq!(name_of(machine), name);
        }
        assert_eq!(name_of(&"x".repeat(500)).len(), NAME_CHARS_MAX);
    }
}
