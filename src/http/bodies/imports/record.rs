//! The keys of an import as the server receives them: JSON lines on their way to `ops::keys::import`.

use super::ImportedKey;
use crate::error::{Error, Result};
use crate::ops::keys::import::{KEYS_MAX, Record};
use crate::ops::keys::issue::NewKey;
use crate::ops::keys::members::KeyMembers;
use crate::refusals;

/// Reads the lines of an import. A line that cannot be read is an error that names it. Empty lines are passed over.
pub fn records(lines: &[u8]) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for (position, line) in lines.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if records.len() == KEYS_MAX {
            return Err(Error::Malformed(refusals::imports::keys_at_most(KEYS_MAX)));
        }
        let key = ImportedKey::read(position + 1, line)?;
        records.push(record(key));
    }
    match records.is_empty() {
        true => Err(Error::Malformed(refusals::imports::empty())),
        false => Ok(records),
    }
}

fn record(key: ImportedKey) -> Record {
    // Without `..`, so that a new member is not left out unnoticed.
    let ImportedKey {
        line,
        name,
        digest,
        found_by,
        id,
        hint,
        description,
        contact,
        workspace,
        owner,
        policy,
        catalog,
        scopes,
        read_only,
        enabled,
        not_before,
        expires_at,
        allowed_ips,
        rate_limit,
        uses_left,
        metadata,
        created_at,
        // The version is that of the other server.
        pepper: _,
        pepper_fingerprint,
    } = key;
    Record {
        line,
        new: NewKey {
            members: KeyMembers {
                name: Some(name),
                description,
                contact,
                owner: owner.map(Some),
                scopes: Some(scopes),
                read_only: Some(read_only),
                enabled,
                not_before: not_before.map(Some),
                expires_at: expires_at.map(Some),
                expires_in_s: None,
                allowed_ips: allowed_ips.map(Some),
                rate_limit: rate_limit.map(Some),
                uses_left: uses_left.map(Some),
                metadata,
            },
            workspace,
            policy,
            catalog,
            prefix: None,
        },
        digest,
        found_by,
        pepper_fingerprint,
        id,
        hint,
        created_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_records_in_their_order() {
        let lines = b"{\"name\":\"a\",\"digest\":\"x\"}\r\n\n  \n\
                      {\"name\":\"b\",\"digest\":\"y\",\"workspace\":\"emea\",\"line\":90}\n";
        let read = records(lines).unwrap();
        let [a, b] = read.as_slice() else {
            panic!("{read:?}");
        };
        assert_eq!((a.line, b.line), (1, 90));
        assert_eq!(b.new.workspace.as_deref(), Some("emea"));
        assert_eq!(a.new.members.name.as_deref(), Some("a"));
        for (bad, words) in [
            ("", "empty"),
            ("\n \n", "empty"),
            ("{\"name\":\"a\",\"digest\":\"x\"}\n{", "line 2"),
            ("[1]", "line 1"),
        ] {
            let refused = records(bad.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains(words), "{bad}: {refused}");
        }
    }

    #[test]
    fn the_number_of_lines_is_bounded() {
        let line = "{\"name\":\"a\",\"digest\":\"x\"}\n";
        let most = line.repeat(KEYS_MAX);
        assert_eq!(records(most.as_bytes()).unwrap().len(), KEYS_MAX);
        let more = format!("{most}{line}");
        assert!(records(more.as_bytes()).is_err());
    }
}
