//! The lines of the console: only its own cookie opens its pages; a credential in a header does not.

use super::Needs::{Cookie, Nothing};
use super::{Line, Thing, line};

#[rustfmt::skip] // Columns are the point of this table.
pub const LINES: &[Line] = &[
    line("GET",  "",                           Cookie),
    line("GET",  "/sign-in",                   Nothing),
    line("POST", "/sign-in",                   Cookie),
    line("POST", "/sign-out",                  Cookie),
    line("GET",  "/setup",                     Cookie),
    line("POST", "/setup",                     Cookie),
    line("POST", "/confirm",                   Cookie),
    line("GET",  "/account",                   Cookie),
    line("POST", "/account/password",          Cookie),
    line("GET",  "/account/preferences",       Cookie),
    line("POST", "/account/preferences",       Cookie),
    line("POST", "/account/sessions/{id}/end", Cookie),
    line("POST", "/account/end-sessions",      Cookie),
    line("GET",  "/account/two-step",          Cookie),
    line("POST", "/account/two-step",          Cookie),
    line("GET",  "/account/two-step/off",      Cookie),
    line("POST", "/account/two-step/off",      Cookie),
    line("GET",  "/account/recovery-codes",    Cookie),
    line("POST", "/account/recovery-codes",    Cookie),
    line("GET",  "/keys",                      Cookie),
    line("POST", "/keys",                      Cookie),
    line("POST", "/keys/columns",              Cookie),
    line("GET",  "/keys/export",               Cookie),
    line("POST", "/keys/bulk",                 Cookie),
    line("POST", "/keys/bulk/confirmed",       Cookie),
    line("GET",  "/keys/new",                  Cookie),
    line("POST", "/keys/new",                  Cookie),
    line("GET",  "/import-keys",               Cookie),
    line("POST", "/import-keys",               Cookie),
    line("POST", "/import-keys/confirm",       Cookie),
    line("GET",  "/keys/{id}",                 Cookie).on(Thing::Key),
    line("GET",  "/keys/{id}/edit",            Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/edit",            Cookie).on(Thing::Key),
    line("GET",  "/keys/{id}/disable",         Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/disable",         Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/end-previous",    Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/enable",          Cookie).on(Thing::Key),
    line("GET",  "/keys/{id}/rotate",          Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/rotate",          Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/reveal",          Cookie).on(Thing::Key),
    line("GET",  "/keys/{id}/delete",          Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/delete",          Cookie).on(Thing::Key),
    line("GET",  "/policies",                  Cookie),
    line("POST", "/policies/{name}/page",      Cookie).on(Thing::Policy),
    line("GET",  "/policies/{name}",           Cookie).on(Thing::Policy),
    line("GET",  "/policies/{name}/edit",      Cookie).on(Thing::Policy),
    line("POST", "/policies/{name}/edit",      Cookie).on(Thing::Policy),
    line("GET",  "/policies/{name}/delete",    Cookie).on(Thing::Policy),
    line("POST", "/policies/{name}/delete",    Cookie).on(Thing::Policy),
    line("GET",  "/new-policy",                Cookie),
    line("POST", "/new-policy",                Cookie),
    line("GET",  "/catalogs",                  Cookie),
    line("GET",  "/catalogs/{name}",           Cookie).on(Thing::Catalog),
    line("GET",  "/catalogs/{name}/edit",      Cookie).on(Thing::Catalog),
    line("POST", "/catalogs/{name}/edit",      Cookie).on(Thing::Catalog),
    line("GET",  "/catalogs/{name}/delete",    Cookie).on(Thing::Catalog),
    line("POST", "/catalogs/{name}/delete",    Cookie).on(Thing::Catalog),
    line("GET",  "/new-catalog",               Cookie),
    line("POST", "/new-catalog",               Cookie),
    line("GET",  "/connect",                   Cookie),
    line("POST", "/connect",                   Cookie),
    line("GET",  "/import-catalog",            Cookie),
    line("POST", "/import-catalog",            Cookie),
    line("GET",  "/sites",                     Cookie),
    line("GET",  "/new-site",                  Cookie),
    line("POST", "/site-reports",              Cookie),
    line("GET",  "/sites/{name}",              Cookie),
    line("GET",  "/sites/{name}/edit",         Cookie),
    line("POST", "/sites/{name}/edit",         Cookie),
    line("GET",  "/sites/{name}/remove",       Cookie),
    line("POST", "/sites/{name}/remove",       Cookie),
    line("POST", "/sites/{name}/packs",        Cookie),
    line("GET",  "/sites/{name}/packs/{number}", Cookie),
    line("POST", "/sites/{name}/revocations",  Cookie),
    line("POST", "/sites/{name}/keys/{id}/disable", Cookie),
    line("GET",  "/users",                     Cookie),
    line("GET",  "/users/new",                 Cookie),
    line("POST", "/users/new",                 Cookie),
    line("GET",  "/users/{name}",              Cookie).on(Thing::User),
    line("POST", "/users/{name}",              Cookie).on(Thing::User),
    line("POST", "/users/{name}/roles",        Cookie).on(Thing::User),
    line("POST", "/users/{name}/password",     Cookie).on(Thing::User),
    line("POST", "/users/{name}/unlock",       Cookie).on(Thing::User),
    line("POST", "/users/{name}/reset-two-step", Cookie).on(Thing::User),
    line("POST", "/users/{name}/end-sessions", Cookie).on(Thing::User),
    line("POST", "/users/{name}/sessions/{id}/end", Cookie).on(Thing::User),
    line("GET",  "/users/{name}/delete",       Cookie).on(Thing::User),
    line("POST", "/users/{name}/delete",       Cookie).on(Thing::User),
    line("GET",  "/workspaces",                Cookie),
    line("GET",  "/workspaces/new",            Cookie),
    line("POST", "/workspaces/new",            Cookie),
    line("GET",  "/workspaces/{slug}",         Cookie).on(Thing::Workspace),
    line("POST", "/workspaces/{slug}",         Cookie).on(Thing::Workspace),
    line("GET",  "/workspaces/{slug}/delete",  Cookie).on(Thing::Workspace),
    line("POST", "/workspaces/{slug}/delete",  Cookie).on(Thing::Workspace),
    line("GET",  "/audit",                     Cookie),
    line("POST", "/audit/chain",               Cookie),
    line("POST", "/audit/export",              Cookie),
    line("POST", "/steps",                     Cookie),
    line("GET",  "/doctor",                    Cookie),
    line("POST", "/doctor",                    Cookie),
    line("GET",  "/notices",                   Cookie),
    line("POST", "/notices",                   Cookie),
    line("GET",  "/backups",                   Cookie),
    line("POST", "/backups",                   Cookie),
    line("POST", "/backups/check",             Cookie),
    line("GET",  "/assets/{name}",             Cookie),
];

/// The line of the front page.
pub const FRONT: &[Line] = &[line("GET", "", Cookie)];

/// All names and labels that come with Latchkey are in the file of the console's texts, so that they can be translated.
#[test]
fn what_comes_with_latchkey_can_be_said_in_another_language() {
    use crate::dialects::PRESETS;
    use crate::dialects::console::sections::SECTIONS;
    use crate::domain::policies::Policy;
    use crate::domain::users::permissions::built_in_catalog;
    use std::collections::BTreeSet;
    let mut given = BTreeSet::new();
    let mut give = |text: &str| {
        // Codes, and names without letters, are the same in every language.
        let is_word = text.contains(char::is_alphabetic) && !text.contains([':', '_']);
        let is_word = is_word || text.contains(' ');
        let _ = is_word && given.insert(text.to_owned());
    };
    for section in SECTIONS {
        let fields = section.fields.iter().map(|(_, label)| *label);
        let access = [section.access.0, section.access.1];
        let disable = section.disable.map(|(title, button)| [title, button]);
        let words = [
            section.menu,
            section.page,
            section.heading,
            section.new,
            section.create_title,
            section.create,
            section.copy,
            section.close,
            section.delete,
            section.delete_title,
            section.delete_button,
        ];
        let words = words.into_iter().chain(access).chain(fields);
        let words = words.chain(section.new_kind).chain(section.actions);
        let words = words.chain(disable.into_iter().flatten());
        let words = words.chain([section.product, section.short]);
        let hints = section.hints.iter().map(|(_, hint)| *hint);
        words
            .chain(section.advice.iter().copied())
            .chain(section.about.iter().copied())
            .chain(hints)
            .for_each(&mut give);
    }
    for preset in PRESETS {
        give(&(preset.policy)().description);
    }
    give(&Policy::standard().description);
    let catalogs = PRESETS.iter().filter_map(|preset| preset.catalog);
    let definitions = catalogs
        .map(|catalog| catalog())
        .chain([built_in_catalog()]);
    for scope in definitions.flat_map(|it| it.scopes) {
        give(&scope.label);
    }
    for kind in [
        "catalog",
        "key",
        "policy",
        "server",
        "session",
        "user",
        "workspace",
    ] {
        give(kind);
    }
    let file = include_str!("../../assets/console/en.txt");
    let listed = file.split("[given]\n").nth(1).unwrap_or_default();
    let listed = listed.lines().filter(|line| !line.starts_with('#'));
    let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
    assert_eq!(
        given.difference(&listed).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "assets/console/en.txt lacks these below [given]"
    );
    assert_eq!(
        listed.difference(&given).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "nothing brings these any more"
    );
}
