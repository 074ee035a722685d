//! The labels of the menus, windows and buttons of Veeam Service Provider Console (1D-26), for the pages of the
//! console.

use super::Section;

pub const SECTION: Section = Section {
    policy: "vspc",
    system: "vspc",
    product: "Veeam Service Provider Console",
    short: "Veeam",
    menu: "Configuration",
    page: "Access Management",
    heading: "REST API Keys",
    about: &["An API key is active until the associated user identity is disabled or deleted."],
    new: "New",
    new_kind: Some("Simple Key (Recommended)"),
    create_title: "Create Key",
    create: "Create",
    fields: &[
        ("description", "Description"),
        ("scopes", "Scopes"),
        ("read_only", "Access"),
    ],
    hints: &[
        (
            "description",
            "Information about the API key issuance, at least what uses the key.",
        ),
        ("scopes", "The services to which the API key grants access."),
        (
            "read_only",
            "Whether the user has access only to GET operations.",
        ),
    ],
    catalog: Some("vspc"),
    scopes: None,
    access: ("Read-only", "Full access"),
    sample: Some("/api/v3/about"),
    copy: "Copy key to clipboard",
    close: "OK",
    advice: &[
        "Send it as Authorization: Bearer.",
        "The key works until it, or its user, is disabled or deleted. It is shown only now.",
    ],
    actions: None,
    delete: "Remove",
    delete_title: "Delete API Key",
    delete_button: "Yes",
    disable: Some(("Disable Key", "Yes")),
};
