//! What Awaretrain's menus, pages and buttons say (1B-4 to 1B-19), and its advice (1B-20 to 1B-24), for the console's
//! pages.

use super::NAME;
use crate::http::route::Section;

pub const SECTION: Section = Section {
    policy: NAME,
    menu: "Settings",
    page: "API Keys",
    heading: "API Keys",
    new: "New API Key",
    new_kind: None,
    create_title: "Create API Key",
    create: "Save",
    fields: &[
        ("name", "Name"),
        ("expires_on", "Expires at"),
        ("scopes", "Scope"),
        ("allowed_ips", "IP whitelist"),
    ],
    catalog: None,
    scopes: None,
    access: ("Read", "Read and write"),
    copy: "Copy",
    close: "Close",
    advice: &[
        "One key for every application, with as few scopes as it needs: if it leaks, only that one has to change.",
        "Put it into a key management system at once.",
        "An application that must keep it in a database should store it encrypted.",
        "Never commit it to a source repository. If that happened, delete the key here at once and create another one.",
    ],
    actions: None,
    delete: "Delete",
    delete_title: "Delete this API key?",
    delete_button: "Delete",
    disable: None,
};
