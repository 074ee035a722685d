//! Exported keys: lines that an import reads, and stanzas of files with keys (`keys.d`).

use super::ImportedKey;
use crate::domain::hex::hex;
use crate::domain::keys::Key;
use crate::domain::keys::address::AddressList;
use crate::domain::text::NAME_CHARS_MAX;
use crate::error::{Error, Result};
use crate::ops::keys::export::ExportedKey;
use serde_json::{Map, Value, json};

/// The beginning of a file with stanzas.
pub const FILE_START: &str =
    "# Keys as `latchkey export` has written them. There is no secret in this file.\nversion = 1\n";

/// The line of a key.
pub fn line(exported: &ExportedKey) -> String {
    let key = &exported.view.key;
    let (pepper, fingerprint) = exported.pepper.unzip();
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let imported = ImportedKey {
        line: 0,
        name: key.name.clone(),
        digest: exported.digest.clone(),
        found_by: exported.found_by.clone(),
        id: exported.keeps_id.then_some(key.id),
        hint: some(&key.hint),
        description: some(&key.description),
        contact: some(&key.contact),
        workspace: Some(exported.view.workspace.clone()),
        owner: exported.view.owner.clone(),
        policy: Some(key.policy.clone()),
        catalog: key.catalog.clone(),
        scopes: key.scopes.clone(),
        read_only: key.read_only,
        enabled: (!key.enabled).then_some(false),
        not_before: key.not_before,
        expires_at: key.expires_at,
        allowed_ips: key.allowed_ips.as_ref().map(addresses),
        rate_limit: key.rate_limit,
        uses_left: key.uses_left,
        metadata: Some(key.metadata.clone()),
        created_at: Some(key.created_at),
        pepper: pepper.map(u64::from),
        pepper_fingerprint: fingerprint.flatten().map(|it| hex(&it)),
    };
    imported.to_line() + "\n"
}

fn addresses(list: &AddressList) -> Vec<String> {
    list.blocks().iter().map(ToString::to_string).collect()
}

/// The stanza of a key. It has the members of the line that files have: not the time of the issue, and not the version of
/// the pepper, which has a fingerprint.
pub fn stanza(exported: &ExportedKey) -> Result<String> {
    let line: Map<String, Value> =
        serde_json::from_str(&line(exported)).map_err(Error::internal)?;
    let mut text = String::from("\n[[key]]\n");
    for (name, value) in line {
        let value = match name.as_str() {
            "created_at" | "pepper" => continue,
            "name" => json!(distinct_name(exported)),
            _ => value,
        };
        text.push_str(&format!("{name} = {}\n", toml(&value)));
    }
    Ok(text)
}

/// A name that no other key has: it is the identity of a stanza.
fn distinct_name(exported: &ExportedKey) -> String {
    let Key { id, name, .. } = &exported.view.key;
    if !exported.has_namesake {
        return name.clone();
    }
    let suffix = format!(" {id}");
    let kept = NAME_CHARS_MAX - suffix.chars().count();
    name.chars()
        .take(kept)
        .collect::<String>()
        .trim_end()
        .to_owned()
        + &suffix
}

/// A value of TOML. There is no null in TOML, so members of objects that are null are left out.
fn toml(value: &Value) -> String {
    match value {
        // A basic string of TOML has the escapes of JSON, and must not contain this character.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007f"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().filter(|it| !it.is_null()).map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let member = |(name, value): (&String, &Value)| {
                format!("{} = {}", toml(&json!(name)), toml(value))
            };
            let members: Vec<String> = members.map(member).collect();
            format!("{{ {} }}", members.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::{KeyId, State};
    use crate::ops::keys::View;

    fn exported(key: Key) -> ExportedKey {
        ExportedKey {
            view: View {
                key,
                workspace: "emea".to_owned(),
                owner: Some("alice".to_owned()),
                state: State::Active,
                usage: Default::default(),
                previous: None,
            },
            digest: format!("sha256:{}", "ab".repeat(32)),
            found_by: None,
            pepper: None,
            keeps_id: true,
            has_namesake: false,
        }
    }

    #[test]
    fn a_line_is_read_by_an_import() {
        let one = exported(Key::full());
        let read = ImportedKey::read(1, line(&one).trim_end().as_bytes()).unwrap();
        assert_eq!(read.id, Some(KeyId(2)));
        assert_eq!(read.workspace.as_deref(), Some("emea"));
        assert_eq!(read.metadata.as_deref(), Some(r#"{"plan":"gold"}"#));
        assert_eq!(read.enabled, Some(false));
        let foreign = ExportedKey {
            keeps_id: false,
            ..exported(Key::full())
        };
        let read = ImportedKey::read(1, line(&foreign).trim_end().as_bytes()).unwrap();
        assert_eq!(read.id, None);
    }

    #[test]
    fn a_stanza_is_toml_and_its_name_is_its_own() {
        let metadata = r#"{"a":"x\"\u007f","none":null,"list":[1,null,2.5,true]}"#;
        let key = Key {
            metadata: metadata.to_owned(),
            name: "n".repeat(100),
            ..Key::full()
        };
        let one = ExportedKey {
            has_namesake: true,
            ..exported(key)
        };
        let text = format!("{FILE_START}{}", stanza(&one).unwrap());
        assert!(text.contains(&format!("name = \"{} 0000000002\"\n", "n".repeat(89))));
        assert!(text.contains("\"list\" = [1, 2.5, true]"), "{text}");
        assert!(text.contains("\"a\" = \"x\\\"\\u007f\""), "{text}");
        assert!(!text.contains("none"), "{text}");
        assert!(text.contains("\"limit\" = 5, \"window_s\" = 60"), "{text}");
        assert!(text.contains("\"exact\" = true"), "{text}");
        assert!(!text.contains("created_at"));
    }
}
