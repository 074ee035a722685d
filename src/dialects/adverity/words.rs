//! What Adverity's menus and buttons say (1C-17 to 1C-22), for the console's pages.

use super::preset::UI;
use crate::http::route::Section;

pub const SECTION: Section = Section {
    policy: UI,
    menu: "Administration",
    page: "Management API keys",
    heading: "Management API keys",
    new: "Create key",
    new_kind: None,
    create_title: "Create key",
    create: "Create API key",
    fields: &[
        ("name", "Name"),
        ("workspace", "Select workspace"),
        ("scopes", "Permissions"),
    ],
    catalog: None,
    scopes: Some(&["all:read", "all:write"]),
    access: ("Read-only", "Write"),
    copy: "Copy",
    close: "Close",
    advice: &[
        "Send it as Authorization: Bearer.",
        "It reaches its workspace and the workspaces below it, and does not expire.",
        "Closing this loses it: the key cannot be copied again.",
    ],
    actions: Some("Select an action"),
    delete: "Revoke",
    delete_title: "Revoke this key?",
    delete_button: "Delete API key",
    disable: None,
};
