//! `latchkey user`: manages users, who may be people or service accounts.

use super::authenticators;
use super::workspaces::Switch;
use crate::cli::arguments::{Body, OrNone, RoleAt};
use crate::cli::client::{Answer, Server, Target};
use crate::cli::failure::{End, Result};
use crate::cli::linked_sites::SitesArg;
use crate::cli::print;
use crate::cli::print::{Column, Common, Object, print, text_of};
use crate::cli::prompt;
use clap::Subcommand;
use serde::Deserialize;
use std::path::PathBuf;

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "USER",      member: "user_name" },
    Column { heading: "E-MAIL",    member: "email" },
    Column { heading: "WORKSPACE", member: "workspace" },
    Column { heading: "ENABLED",   member: "enabled" },
    Column { heading: "TWO-STEP",  member: "second_factor" },
    Column { heading: "ROLES",     member: "roles" },
    Column { heading: "SIGNED IN", member: "last_signed_in_at" },
    Column { heading: "CREATED",   member: "created_at" },
];

/// Create, list, edit, disable and delete users, and set their passwords and roles.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Create a user, with or without a password
    #[command(
        after_help = "Examples:\n  latchkey user create alice --role key_manager@emea --password\n  \
                      latchkey user create robot --workspace emea\n  \
                      latchkey user create bob --email bob@example.com --password-file /run/secrets/bob"
    )]
    Create(CreateArgs),
    /// List users
    #[command(after_help = "Examples:\n  latchkey user list\n  latchkey user list --json")]
    List(Common),
    /// Show one user
    #[command(after_help = "Example:\n  latchkey user show alice")]
    Show(UserArgs),
    /// Change a user's e-mail address
    #[command(
        after_help = "Examples:\n  latchkey user edit alice --email alice@example.com\n  latchkey user edit alice --email none"
    )]
    Edit(EditArgs),
    /// Stop a user's sessions and keys, until the user is enabled again
    #[command(
        after_help = "Example:\n  latchkey user disable alice\n  latchkey user disable alice --end-keys --wait-sites"
    )]
    Disable(DisableArgs),
    /// Enable a user and the user's keys again
    #[command(after_help = "Example:\n  latchkey user enable alice")]
    Enable(EnableArgs),
    /// Let a user sign in again after failed attempts: reset their count, and end the delays
    #[command(
        after_help = "After 100 failed attempts in a row a user is locked: the password alone signs in only from networks that were\n\
                      used before. `latchkey user show` says so, and `latchkey doctor` names all who are.\n\n\
                      Example:\n  latchkey user unlock alice"
    )]
    Unlock(UserArgs),
    /// Delete a user permanently
    #[command(
        after_help = "Examples:\n  latchkey user delete alice\n  latchkey user delete alice --end-keys --yes"
    )]
    Delete(DeleteArgs),
    /// Set a user's password, which is typed or piped in
    #[command(
        after_help = "Examples:\n  latchkey user password owner\n  latchkey user password alice --password-file /run/secrets/alice"
    )]
    Password(PasswordArgs),
    /// Show the second factors of a user, set one up, or delete them when a phone is lost
    #[command(
        after_help = "Examples:\n  latchkey user authenticators alice\n  latchkey user authenticators alice --add\n  \
                      latchkey user authenticators alice --recovery-codes\n  latchkey user authenticators alice --delete"
    )]
    Authenticators(authenticators::AuthenticatorsArgs),
    /// Show or replace a user's roles: owner, administrator, key_manager, auditor, member
    #[command(
        after_help = "Examples:\n  latchkey user roles alice\n  latchkey user roles alice --set key_manager@emea,auditor@root\n  \
                      latchkey user roles alice --clear"
    )]
    Roles(RolesArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct CreateArgs {
    /// The user's name
    user: String,
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The user's home workspace, by slug or uid [default: the root]
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<String>,
    /// A role and its workspace; repeat it or separate with commas
    #[arg(long = "role", value_name = "ROLE@WORKSPACE", value_delimiter = ',')]
    roles: Vec<RoleAt>,
    /// Set a password, which is typed or piped in
    #[arg(long)]
    password: bool,
    /// Set the password on the first line of a file
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct UserArgs {
    /// The user's name or uid
    user: String,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct EnableArgs {
    #[command(flatten)]
    user: UserArgs,
    #[command(flatten)]
    sites: SitesArg,
}

#[derive(clap::Args, Clone, Debug)]
pub struct EditArgs {
    /// The user's name or uid
    user: String,
    /// The new address, or none
    #[arg(long, value_name = "ADDRESS", required = true)]
    email: Option<OrNone<String>>,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct DisableArgs {
    /// The user's name or uid
    user: String,
    /// Also delete the management keys without an owner that this user created
    #[arg(long)]
    end_keys: bool,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct DeleteArgs {
    /// The user's name or uid
    user: String,
    /// Also delete the management keys without an owner that this user created
    #[arg(long)]
    end_keys: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct PasswordArgs {
    /// The user's name or uid
    user: String,
    /// A file with the password on its first line [default: typed, or standard input]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct RolesArgs {
    /// The user's name or uid
    user: String,
    /// The new list of all roles; repeat it or separate with commas
    #[arg(long, value_name = "ROLE@WORKSPACE", value_delimiter = ',')]
    set: Vec<RoleAt>,
    /// Remove all roles
    #[arg(long, conflicts_with = "set")]
    clear: bool,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

pub fn run(command: &UserCommand) -> Result<End> {
    match command {
        UserCommand::Create(args) => create(args),
        UserCommand::List(common) => list(common),
        UserCommand::Show(args) => show(&args.common, &args.user),
        UserCommand::Edit(args) => edit(args),
        UserCommand::Disable(args) => disable(args),
        UserCommand::Enable(args) => {
            let UserArgs { user, common } = &args.user;
            patch(common, user, args.sites, Switch::On.body())
        }
        UserCommand::Unlock(args) => unlock(&args.common, &args.user),
        UserCommand::Delete(args) => delete(args),
        UserCommand::Password(args) => password(args),
        UserCommand::Authenticators(args) => authenticators::run(args),
        UserCommand::Roles(args) => roles(args),
    }
}

fn create(args: &CreateArgs) -> Result<End> {
    let wanted = args.password || args.password_file.is_some();
    let password = wanted
        .then(|| prompt::new_password(args.password_file.as_deref()))
        .transpose()?;
    let body = Body::default()
        .with("user_name", Some(args.user.as_str()))
        .with("email", args.email.as_deref())
        .with("workspace", args.workspace.as_deref())
        .with("password", password)
        .with("roles", Some(RoleAt::body(&args.roles)));
    let server = Server::reach(&args.common.data.data)?;
    let answer = server.ask("POST", &Target::of(&["users"]), Some(&body.value()))?;
    print::one(&args.common, &answer)?;
    Ok(End::Done)
}

fn list(common: &Common) -> Result<End> {
    let items = Server::reach(&common.data.data)?.list(&Target::of(&["users"]))?;
    print::list(common, COLUMNS, &items)?;
    Ok(End::Done)
}

fn show(common: &Common, user: &str) -> Result<End> {
    let answer = Server::reach(&common.data.data)?.get(&Target::of(&["users", user]))?;
    print::one(common, &answer)?;
    Ok(End::Done)
}

fn edit(args: &EditArgs) -> Result<End> {
    let email = args
        .email
        .as_ref()
        .map(|it| it.body(|text| text.as_str().into()));
    let body = Body::default().with("email", email);
    patch(&args.common, &args.user, args.sites, body)
}

fn patch(common: &Common, user: &str, sites: SitesArg, body: Body) -> Result<End> {
    let server = Server::reach(&common.data.data)?;
    let target = Target::of(&["users", user]);
    let answer = server.ask_sites("PATCH", target, Some(&body.value()), sites.wait_sites)?;
    print::one(common, &answer)?;
    sites.tell(common, &answer)?;
    Ok(End::Done)
}

fn unlock(common: &Common, user: &str) -> Result<End> {
    let server = Server::reach(&common.data.data)?;
    let answer = server.ask("POST", &Target::of(&["users", user, "unlock"]), None)?;
    print::one(common, &answer)?;
    Ok(End::Done)
}

fn delete(args: &DeleteArgs) -> Result<End> {
    let user = &args.user;
    prompt::confirm(&format!("Delete user {user} for good?"), args.yes)?;
    let server = Server::reach(&args.common.data.data)?;
    let body = Body::default().flag("end_keys", args.end_keys).value();
    let target = Target::of(&["users", user]);
    let answer = server.ask_sites("DELETE", target, Some(&body), args.sites.wait_sites)?;
    print::done(&args.common, &format!("deleted user {user}"))?;
    args.sites.tell(&args.common, &answer)?;
    match answer.status {
        200 => ownerless(&args.common, &answer, args.end_keys),
        _ => Ok(End::Done),
    }
}

fn disable(args: &DisableArgs) -> Result<End> {
    let body = Switch::Off.body().flag("end_keys", args.end_keys).value();
    let server = Server::reach(&args.common.data.data)?;
    let target = Target::of(&["users", &args.user]);
    let answer = server.ask_sites("PATCH", target, Some(&body), args.sites.wait_sites)?;
    if args.common.json {
        print::one(&args.common, &answer)?;
        return Ok(End::Done);
    }
    let mut user: Object = answer.json()?;
    user.remove("ownerless_keys");
    print(&user.written())?;
    args.sites.tell(&args.common, &answer)?;
    ownerless(&args.common, &answer, args.end_keys)
}

/// The part of an answer that lists keys without an owner.
#[derive(Deserialize)]
struct Ownerless {
    ownerless_keys: Vec<Object>,
}

/// Prints the management keys without an owner that a user created.
fn ownerless(common: &Common, answer: &Answer, ended: bool) -> Result<End> {
    if common.json {
        print(&answer.text())?;
        return Ok(End::Done);
    }
    let body: Ownerless = answer.json()?;
    if body.ownerless_keys.is_empty() {
        return Ok(End::Done);
    }
    print(match ended {
        true => "\nManagement keys without an owner that this user made, now deleted:",
        false => {
            "\nManagement keys without an owner that this user made, which still work (see --end-keys):"
        }
    })?;
    for key in &body.ownerless_keys {
        let (id, name) = (text_of(key.member("id")), text_of(key.member("name")));
        print(&format!("  {id}  {name}"))?;
    }
    Ok(End::Done)
}

fn password(args: &PasswordArgs) -> Result<End> {
    let password = prompt::new_password(args.password_file.as_deref())?;
    let body = Body::default().with("password", Some(password));
    let server = Server::reach(&args.common.data.data)?;
    let target = Target::of(&["users", &args.user, "password"]);
    server.ask("POST", &target, Some(&body.value()))?;
    print::done(
        &args.common,
        &format!(
            "set the password of {}; all sessions of before are over",
            args.user
        ),
    )?;
    Ok(End::Done)
}

fn roles(args: &RolesArgs) -> Result<End> {
    if args.set.is_empty() && !args.clear {
        return show(&args.common, &args.user);
    }
    let body = Body::default().with("roles", Some(RoleAt::body(&args.set)));
    let server = Server::reach(&args.common.data.data)?;
    let target = Target::of(&["users", &args.user, "roles"]);
    let waits = args.sites.wait_sites;
    let answer = server.ask_sites("PUT", target, Some(&body.value()), waits)?;
    print::one(&args.common, &answer)?;
    args.sites.tell(&args.common, &answer)?;
    Ok(End::Done)
}
