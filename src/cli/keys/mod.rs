//! `latchkey key`: issues and manages keys.

mod change;
mod draw;
mod issue;
mod list;
mod verify;

use super::arguments::Body;
use super::failure::{End, Result};
use clap::Subcommand;

/// Issue, list, edit, rotate, disable, delete and verify keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Issue a key; its secret is shown only this once
    #[command(
        after_help = "Examples:\n  latchkey key issue billing --scope invoices:read --catalog billing --expires-in 90d\n  \
                      latchkey key issue ci --workspace emea --rate-limit 60/1m --secret-only > /run/secrets/ci\n  \
                      latchkey key issue deploy --owner alice --allow-ip 10.0.0.0/8 --json"
    )]
    Issue(Box<issue::IssueArgs>),
    /// Draw a secret for a file of keys: print it, and the stanza that declares its key; asks no server
    #[command(
        after_help = "The secret is printed once and stored nowhere. The stanza holds its digest, and belongs to a file such as \
                      /etc/latchkey/keys.d/10-site.toml.\n\n\
                      Examples:\n  latchkey key draw prometheus\n  latchkey key draw prometheus --id k3J9aQ0xZb\n  \
                      latchkey key draw ci --prefix acme --json | jq -r .stanza >> 10-site.toml"
    )]
    Draw(draw::DrawArgs),
    /// Print the digest of a secret, which is typed or piped in, for a file of keys; asks no server
    #[command(
        after_help = "Examples:\n  latchkey key digest\n  latchkey key digest --secret-file /run/secrets/ci\n  \
                      printf %s \"$SECRET\" | latchkey key digest"
    )]
    Digest(draw::DigestArgs),
    /// List keys
    #[command(
        after_help = "Examples:\n  latchkey key list\n  latchkey key list --workspace emea --state disabled\n  \
                      latchkey key list --search billing --json | jq -r '.[].id'\n  \
                      latchkey key list --metadata customer=7"
    )]
    List(list::ListArgs),
    /// Show one key
    #[command(
        after_help = "Examples:\n  latchkey key show k3J9aQ0xZb\n  latchkey key show k3J9aQ0xZb --json"
    )]
    Show(list::IdArgs),
    /// List the keys that expire soon; exits 1 if there are any
    #[command(
        after_help = "Examples:\n  latchkey key expiring --within 14d\n  latchkey key expiring --within 12h --json || notify-admins"
    )]
    Expiring(list::ExpiringArgs),
    /// Change a key's name, permissions, lifetime or owner
    #[command(
        after_help = "Examples:\n  latchkey key edit k3J9aQ0xZb --name \"billing, new\" --expires-in 30d\n  \
                      latchkey key edit k3J9aQ0xZb --scope invoices:read,invoices:write\n  \
                      latchkey key edit k3J9aQ0xZb --allow-ip none --rate-limit none --expires-at none\n  \
                      latchkey key edit k3J9aQ0xZb --owner bob"
    )]
    Edit(Box<change::EditArgs>),
    /// Give a key a new secret, which is shown only this once
    #[command(
        after_help = "Examples:\n  latchkey key rotate k3J9aQ0xZb\n  latchkey key rotate k3J9aQ0xZb --grace 24h\n  \
                      latchkey key rotate k3J9aQ0xZb --until-first-use --secret-only"
    )]
    Rotate(issue::RotateArgs),
    /// End the old secret of a rotation now, before its grace period is over
    #[command(
        after_help = "`latchkey key show ID` says until when the old secret works and when it was last used.\n\n\
                      Examples:\n  latchkey key end-previous k3J9aQ0xZb"
    )]
    EndPrevious(change::EndPreviousArgs),
    /// Show a secret again, if the key's policy allows it
    #[command(
        after_help = "Examples:\n  latchkey key reveal k3J9aQ0xZb\n  latchkey key reveal k3J9aQ0xZb --secret-only"
    )]
    Reveal(issue::RevealArgs),
    /// Disable keys until they are enabled again; either all of them or none
    #[command(
        after_help = "Examples:\n  latchkey key disable k3J9aQ0xZb\n  latchkey key disable k3J9aQ0xZb 7hQ2mN4pRs"
    )]
    Disable(change::DisableArgs),
    /// Enable keys again; either all of them or none
    #[command(
        after_help = "Examples:\n  latchkey key enable k3J9aQ0xZb\n  latchkey key enable k3J9aQ0xZb 7hQ2mN4pRs"
    )]
    Enable(list::IdsArgs),
    /// Delete keys permanently; either all of them or none
    #[command(
        after_help = "Examples:\n  latchkey key delete k3J9aQ0xZb\n  latchkey key delete k3J9aQ0xZb --yes\n  \
                      latchkey key delete k3J9aQ0xZb --yes --confirm-name billing\n  \
                      latchkey key delete k3J9aQ0xZb 7hQ2mN4pRs --yes"
    )]
    Delete(change::DeleteArgs),
    /// Verify a secret, which is typed or piped in; exits 1 if it is refused
    #[command(
        after_help = "Examples:\n  latchkey key verify\n  latchkey key verify --secret-file /run/secrets/ci --scope invoices:read\n  \
                      printf %s \"$SECRET\" | latchkey key verify --method GET --path /invoices/7 --catalog billing"
    )]
    Verify(verify::VerifyArgs),
}

/// What people write on a key, besides its name.
#[derive(clap::Args, Clone, Debug)]
struct Labels {
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Who to call about the key: a name, an email address or a telephone number
    #[arg(long, value_name = "TEXT")]
    contact: Option<String>,
}

impl Labels {
    /// A request with these members.
    fn body(&self) -> Body {
        Body::default()
            .with("description", self.description.as_deref())
            .with("contact", self.contact.as_deref())
    }
}

pub fn run(command: &KeyCommand) -> Result<End> {
    match command {
        KeyCommand::Issue(args) => issue::issue(args),
        KeyCommand::Draw(args) => draw::draw(args),
        KeyCommand::Digest(args) => draw::digest(args),
        KeyCommand::List(args) => list::list(args),
        KeyCommand::Show(args) => list::show(args),
        KeyCommand::Expiring(args) => list::expiring(args),
        KeyCommand::Edit(args) => change::edit(args),
        KeyCommand::Rotate(args) => issue::rotate(args),
        KeyCommand::EndPrevious(args) => change::end_previous(args),
        KeyCommand::Reveal(args) => issue::reveal(args),
        KeyCommand::Disable(args) => change::disable(args),
        KeyCommand::Enable(args) => change::enable(args),
        KeyCommand::Delete(args) => change::delete(args),
        KeyCommand::Verify(args) => verify::verify(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::{Meaning, Member};

    /// The argument for a member, where it has another name than the member.
    fn argument(member: Member) -> String {
        match member {
            Member::AllowedIps => "allow-ip".to_owned(),
            Member::Scopes => "scope".to_owned(),
            Member::UsesLeft => "uses".to_owned(),
            other => other.word().replace('_', "-"),
        }
    }

    #[test]
    fn issue_and_edit_have_an_argument_for_every_member_that_can_be_set() {
        for command in ["issue", "edit"] {
            let all = KeyCommand::augment_subcommands(clap::Command::new("key"));
            let found = all.find_subcommand(command).unwrap();
            for member in Member::ALL {
                match member.meaning() {
                    Meaning::ForServices | Meaning::Label | Meaning::Limit => {}
                    Meaning::Identity | Meaning::State | Meaning::Switch => continue,
                }
                let word = argument(*member);
                let is_there = found.get_arguments().any(|it| {
                    // The name is the argument of `issue` that has no flag.
                    it.get_long() == Some(&word) || it.get_id() == word.as_str()
                });
                assert!(is_there, "latchkey key {command} has no --{word}");
            }
        }
    }
}
