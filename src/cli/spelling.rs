//! Refusals of the API at the command line: a member or a parameter that they name is shown as the option with which it was typed.

use super::failure::Failure;
use clap::{ArgMatches, Command};
use std::collections::HashMap;

/// Members whose option is called otherwise. The others have the same name, with hyphens.
const OTHERWISE: [(&str, &str); 10] = [
    ("allowed_ips", "allow-ip"),
    ("catalogs", "catalog"),
    ("confirm_names", "confirm-name"),
    ("expires_in_s", "expires-in"),
    ("grace_s", "grace"),
    ("max_stale_s", "max-stale"),
    ("scopes", "scope"),
    ("until_s", "until"),
    ("uses_left", "uses"),
    ("workspaces", "workspace"),
];

/// Commands whose refusals are about settings, which have the same names in files.
const ABOUT_SETTINGS: [&str; 4] = ["check-config", "init", "quickstart", "serve"];

/// The failure of the command that was typed, in its words.
pub fn of_command(failure: Failure, program: &Command, typed: &ArgMatches) -> Failure {
    match failure {
        Failure::Refused(sentence) => {
            Failure::Refused(Options::of(program, typed).spell(&sentence))
        }
        usage => usage,
    }
}

/// By member, the option that sets it.
struct Options(HashMap<String, String>);

impl Options {
    /// The options of the command that was typed, and those of the command that edits the same things.
    fn of(program: &Command, typed: &ArgMatches) -> Options {
        let mut options = Options(HashMap::new());
        let (mut command, mut matches) = (program, typed);
        let mut words = vec![program.get_name().to_owned()];
        let mut parent = None;
        while let Some((name, below)) = matches.subcommand() {
            let Some(found) = command.find_subcommand(name) else {
                break;
            };
            if ABOUT_SETTINGS.contains(&name) {
                return options;
            }
            words.push(name.to_owned());
            (parent, command, matches) = (Some(command), found, below);
        }
        options.add(command, "");
        if let Some(edit) = parent.and_then(|parent| parent.find_subcommand("edit")) {
            words.pop();
            options.add(edit, &format!("{} edit ", words.join(" ")));
        }
        options
    }

    fn add(&mut self, command: &Command, before: &str) {
        for option in command.get_arguments().filter_map(clap::Arg::get_long) {
            let others = OTHERWISE.iter().filter(|(_, name)| *name == option);
            let members = others.map(|(member, _)| (*member).to_owned());
            for member in members.chain([option.replace('-', "_")]) {
                let shown = || format!("{before}--{option}");
                self.0.entry(member).or_insert_with(shown);
            }
        }
    }

    fn spell(&self, sentence: &str) -> String {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let (mut spelled, mut rest) = (String::with_capacity(sentence.len()), sentence);
        while let Some(start) = rest.find(is_part) {
            let (before, from) = rest.split_at(start);
            spelled.push_str(before);
            let end = from.find(|c: char| !is_part(c)).unwrap_or(from.len());
            let (word, behind) = from.split_at(end);
            let joined = |c: char| c.is_alphanumeric() || "-./\\_".contains(c);
            let is_alone = !spelled.ends_with(joined) && !continues(behind);
            let begins = spelled.is_empty() && behind.starts_with([':', '[']);
            let is_member = word.contains('_') || behind.starts_with("=true") || begins;
            let option = self.0.get(word).filter(|_| is_alone && is_member);
            rest = match option {
                Some(option) => {
                    spelled.push_str(option);
                    let (position, behind) = position(behind);
                    spelled.push_str(&position);
                    behind.strip_prefix("=true").unwrap_or(behind)
                }
                None => {
                    spelled.push_str(word);
                    behind
                }
            };
        }
        spelled + rest
    }
}

/// Whether what follows a word belongs to it, as in the name of a file or of a member of an object.
fn continues(behind: &str) -> bool {
    let mut chars = behind.chars();
    match chars.next() {
        Some('.') => chars.next().is_some_and(char::is_alphanumeric),
        Some(c) => c.is_alphanumeric() || "-/".contains(c),
        None => false,
    }
}

/// The place in a list that follows a member, such as `[0]`, as it is counted when an option is repeated; and what follows it.
fn position(behind: &str) -> (String, &str) {
    let place = behind.strip_prefix('[');
    let place = place.and_then(|behind| behind.split_once(']'));
    match place.and_then(|(number, behind)| Some((number.parse::<u32>().ok()?, behind))) {
        Some((number, behind)) => (format!(" (number {})", u64::from(number) + 1), behind),
        None => (String::new(), behind),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::CommandFactory;

    #[track_caller]
    fn check(typed: &[&str], sentence: &str, expected: &str) {
        let program = Cli::command();
        let matches = program.clone().try_get_matches_from(typed).unwrap();
        let failure = of_command(Failure::refused(sentence), &program, &matches);
        let Failure::Refused(spelled) = failure else {
            panic!("it is a refusal");
        };
        assert_eq!(spelled, expected);
    }

    #[test]
    fn members_are_named_by_their_options() {
        let delete = ["latchkey", "workspace", "delete", "emea"];
        check(
            &delete,
            "delete it with recursive=true, or disable it instead",
            "delete it with --recursive, or disable it instead",
        );
        let edit = ["latchkey", "key", "edit", "b3zk8qYYZr", "--uses", "5"];
        for (sentence, expected) in [
            ("uses_left: must be a number", "--uses: must be a number"),
            ("name: must not be empty", "--name: must not be empty"),
            (
                "must be before the end of the key (expires_at)",
                "must be before the end of the key (--expires-at)",
            ),
            (
                "allowed_ips[1]: must be an address",
                "--allow-ip (number 2): must be an address",
            ),
            (
                "say expires_at. Or not_before",
                "say --expires-at. Or --not-before",
            ),
            // Neither a word of a sentence nor a part of another name is a member.
            ("the name of the owner", "the name of the owner"),
            ("rate_limit.limit: too much", "rate_limit.limit: too much"),
            ("/tmp/uses_left: no file", "/tmp/uses_left: no file"),
            ("my-uses_left, uses_left-2", "my-uses_left, uses_left-2"),
            ("keys_per_workspace_max", "keys_per_workspace_max"),
        ] {
            check(&edit, sentence, expected);
        }
    }

    #[test]
    fn a_member_that_another_command_sets_is_named_with_that_command() {
        check(
            &["latchkey", "key", "enable", "b3zk8qYYZr"],
            "give it a later end (expires_at) first",
            "give it a later end (latchkey key edit --expires-at) first",
        );
        check(
            &["latchkey", "serve"],
            "add it to allowed_hosts",
            "add it to allowed_hosts",
        );
        check(
            &["latchkey", "audit", "list"],
            "expires_at: since_when",
            "expires_at: since_when",
        );
    }

    #[test]
    fn every_option_with_another_name_exists() {
        fn options(command: &Command, found: &mut Vec<String>) {
            found.extend(
                command
                    .get_arguments()
                    .filter_map(|it| it.get_long().map(str::to_owned)),
            );
            command
                .get_subcommands()
                .for_each(|below| options(below, found));
        }
        let mut found = Vec::new();
        options(&Cli::command(), &mut found);
        for (_, option) in OTHERWISE {
            assert!(found.iter().any(|known| known == option), "{option}");
        }
    }
}
