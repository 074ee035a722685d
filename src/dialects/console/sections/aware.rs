//! The labels of Aware's menus and buttons (1A-5 to 1A-8, 1A-29), for the pages of the console.

use super::Section;

pub const SECTION: Section = Section {
    policy: "aware",
    system: "aware",
    product: "Aware",
    short: "Aware",
    menu: "System Settings",
    page: "Integrations",
    heading: "API Tokens",
    about: &[
        "A token identifies the user who makes the request, and its permissions say which endpoints it opens.",
        "Permissions assigned to a token cannot be modified. In order to adjust permissions, create a new token.",
    ],
    new: "+ API Token",
    new_kind: None,
    create_title: "New API Token",
    create: "Create",
    fields: &[("name", "Name"), ("scopes", "Permissions")],
    hints: &[(
        "scopes",
        "Read-only lets the token only view resources. Full Access contains all permissions of the corresponding Read-only.",
    )],
    catalog: None,
    scopes: None,
    access: ("Read-only", "Full Access"),
    sample: None,
    copy: "Copy",
    close: "Done",
    advice: &[
        "Send it in the header X-Aware-Api-Key.",
        "The permissions of a token never change: for others, create another token.",
        "Whoever has the token may do all that its permissions allow. Delete it as soon as it may have leaked.",
    ],
    actions: None,
    delete: "Delete",
    delete_title: "Delete this API token?",
    delete_button: "Delete",
    disable: None,
};
