//! Whether a command waits for the linked sites, and what it prints about them.

use super::client::Answer;
use super::failure::Result;
use super::print;
use super::print::Common;

/// An argument of every command whose request may wait for the sites.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct SitesArg {
    /// Return when no linked site can answer as before any more: each has the change, or gives no verdict
    #[arg(long)]
    pub wait_sites: bool,
}

impl SitesArg {
    /// Prints what became of the sites.
    pub fn tell(self, common: &Common, answer: &Answer) -> Result<()> {
        match answer.known_of_sites() {
            None => Ok(()),
            Some(known) => print::done(common, &known),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;
    use crate::dialects::native;
    use clap::{Command, CommandFactory};
    use std::collections::{BTreeMap, BTreeSet};

    /// The commands that send the request of each route whose answer may wait for the sites. None does where a client needs a
    /// secret of its own: what a service asks for itself.
    #[rustfmt::skip] // Columns are the point of this table.
    const COMMANDS: &[(&str, &str, &[&str])] = &[
        ("POST",   "/revoke",             &[]),
        ("POST",   "/whoami/rotate",      &[]),
        ("POST",   "/keys/batch",         &["key disable", "key delete"]),
        ("PATCH",  "/keys/{id}",          &["key edit"]),
        ("DELETE", "/keys/{id}",          &["key delete"]),
        ("POST",   "/keys/{id}/rotate",   &["key rotate"]),
        ("DELETE", "/keys/{id}/previous", &["key end-previous"]),
        ("POST",   "/keys/{id}/disable",  &["key disable"]),
        ("PATCH",  "/workspaces/{id}",    &["workspace edit", "workspace disable", "workspace enable"]),
        ("DELETE", "/workspaces/{id}",    &["workspace delete"]),
        ("PATCH",  "/users/{id}",         &["user edit", "user disable", "user enable"]),
        ("DELETE", "/users/{id}",         &["user delete"]),
        ("PUT",    "/users/{id}/roles",   &["user roles"]),
        ("PUT",    "/catalogs/{name}",    &["catalog put", "catalog import"]),
        ("PATCH",  "/policies/{name}",    &["policy put"]),
        ("PATCH",  "/sites/{name}",       &["site edit"]),
    ];

    /// The commands with the argument, each as it is typed.
    fn waiting(command: &Command, path: &str, found: &mut BTreeSet<String>) {
        for inner in command.get_subcommands() {
            let path = format!("{path} {}", inner.get_name());
            let has = |it: &clap::Arg| it.get_long() == Some("wait-sites");
            if inner.get_arguments().any(has) {
                found.insert(path.trim_start().to_owned());
            }
            waiting(inner, &path, found);
        }
    }

    #[test]
    fn every_command_whose_request_may_wait_for_the_sites_has_the_argument() {
        let routes = native::SURFACE.routes.iter();
        let routes = routes.filter(|route| route.waits.on_demand());
        let routes: BTreeSet<(&str, &str)> =
            routes.map(|route| (route.method, route.path)).collect();
        let table: BTreeMap<(&str, &str), &[&str]> = COMMANDS
            .iter()
            .map(|(method, path, commands)| ((*method, *path), *commands))
            .collect();
        assert_eq!(routes, table.keys().copied().collect());
        let expected: BTreeSet<String> = table
            .values()
            .flat_map(|commands| commands.iter().map(|it| (*it).to_owned()))
            .collect();
        let mut found = BTreeSet::new();
        waiting(&Cli::command(), "", &mut found);
        assert_eq!(found, expected);
    }
}
