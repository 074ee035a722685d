//! The keys that the server lists.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::support::User;

/// Every key that the administrator sees, by id.
#[track_caller]
pub fn all_keys(admin: &User) -> HashMap<String, Value> {
    let mut keys = HashMap::new();
    let mut path = "/v1/keys?limit=500".to_owned();
    loop {
        let page = admin.get(&path).expect(200).json();
        for key in items(&page) {
            let doubled = keys.insert(text(&key["id"]), key.clone());
            assert!(doubled.is_none(), "listed twice: {key}");
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            return keys;
        };
        path = format!("/v1/keys?limit=500&cursor={cursor}");
    }
}

/// Each writer used each name only once, so a repeated name is a repeated key.
#[track_caller]
pub fn check_nothing_doubled(found: &HashMap<String, Value>) {
    let mut names = BTreeSet::new();
    for key in found.values() {
        assert!(names.insert(text(&key["name"])), "issued twice: {key}");
    }
}

pub fn items(page: &Value) -> &[Value] {
    page["items"].as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
