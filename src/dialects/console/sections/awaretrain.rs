//! The labels of Awaretrain's menus, pages and buttons (1B-4 to 1B-19), and its advice (1B-20 to 1B-24), for the pages
//! of the console.

use super::Section;

pub const SECTION: Section = Section {
    policy: "awaretrain",
    system: "awaretrain",
    product: "Awaretrain",
    short: "Awaretrain",
    menu: "Settings",
    page: "API Keys",
    heading: "API Keys",
    about: &[
        "Only users with the super manager role have permission to manage API keys. Here these are owners, administrators and key managers.",
    ],
    new: "New API Key",
    new_kind: None,
    create_title: "Create API Key",
    create: "Save",
    fields: &[
        ("name", "Name"),
        ("expires_on", "Expires at"),
        ("scopes", "Scope (permissions)"),
        ("allowed_ips", "IP whitelist"),
    ],
    hints: &[
        ("name", "A descriptive name for the API key."),
        (
            "expires_on",
            "Date after which the API key expires and can no longer be used. Keep this date as short as possible, not longer than a year.",
        ),
        (
            "scopes",
            "Scopes determine what resources can be accessed and what operations can be performed on those resources.",
        ),
        (
            "allowed_ips",
            "For additional security, you may restrict the API key usage to one or more specific IP addresses. Enter one IP address per line (either IPv4 or IPv6). Wildcards or ranges are not supported.",
        ),
    ],
    catalog: None,
    scopes: None,
    access: ("Read", "Read and write"),
    sample: None,
    copy: "Copy",
    close: "Close",
    advice: &[
        "One key for every application, with as few scopes as it needs: if it leaks, only that one has to change.",
        "Use the IP whitelist: a key that has leaked is worth nothing from other addresses.",
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
