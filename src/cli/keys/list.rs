//! The commands that read keys: list, show and expiring.

use crate::cli::arguments::Span;
use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Result};
use crate::cli::print;
use crate::cli::print::{Column, Common};
use crate::domain::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::cmp::Reverse;
use std::str::FromStr;

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "ID",        member: "id" },
    Column { heading: "NAME",      member: "name" },
    Column { heading: "WORKSPACE", member: "workspace" },
    Column { heading: "OWNER",     member: "owner" },
    Column { heading: "POLICY",    member: "policy" },
    Column { heading: "STATE",     member: "state" },
    Column { heading: "CREATED",   member: "created_at" },
    Column { heading: "EXPIRES",   member: "expires_at" },
    Column { heading: "LAST USED", member: "last_used_at" },
    Column { heading: "USES",      member: "use_count" },
];

/// The argument that selects one key.
#[derive(clap::Args, Clone, Debug)]
pub struct IdArgs {
    /// The key's id, which is the first ten characters of its secret after the underscore
    pub id: String,
    #[command(flatten)]
    pub common: Common,
}

/// The argument that selects several keys; a command applies to all of them or to none.
#[derive(clap::Args, Clone, Debug)]
pub struct IdsArgs {
    /// The ids of the keys, at most 100
    #[arg(required = true, num_args = 1..=100, value_name = "ID")]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub common: Common,
}

/// The filter of a list of keys.
#[derive(clap::Args, Clone, Debug)]
pub struct ListArgs {
    /// Only those of this workspace and below
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<String>,
    /// Only those of this user
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Only those that this actor issued: user:NAME, key:ID, local:UID or system
    #[arg(long, value_name = "ACTOR")]
    created_by: Option<String>,
    /// Only those from there: issued, file, import, or more of it, such as import:kong
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Only those of this policy
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// active, disabled, expired, not_yet_valid, owner_disabled, workspace_disabled or deleted
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those with all of these words in the name, id, hint, description, metadata, owner and so on
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those with this scope
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// Only those that have not been used for this long, and are at least this old
    #[arg(long, value_name = "SPAN")]
    unused_for: Option<Span>,
    /// Only those without an end
    #[arg(long)]
    never_expires: bool,
    /// Only those whose secret before the newest one still works
    #[arg(long)]
    two_secrets: bool,
    /// Only those whose secret another system has made
    #[arg(long)]
    weak: bool,
    /// Only those whose metadata has this member with this value, such as customer=7; repeat it for several
    #[arg(long = "metadata", value_name = "NAME=VALUE")]
    metadata: Vec<Member>,
    #[command(flatten)]
    common: Common,
}

/// A member of metadata and its value.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Member {
    name: String,
    value: String,
}

impl FromStr for Member {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Member, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or("a member is a name and a value, such as customer=7")?;
        Ok(Member {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// The period for keys that expire soon.
#[derive(clap::Args, Clone, Debug)]
pub struct ExpiringArgs {
    /// The length of the period: 30s, 15m, 12h or 14d
    #[arg(long, value_name = "SPAN", default_value = "14d")]
    within: Span,
    /// Only those of this workspace and below
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub fn list(args: &ListArgs) -> Result<End> {
    let mut target = Target::of(&["keys"])
        .with("workspace", args.workspace.as_deref())
        .with("owner", args.owner.as_deref())
        .with("created_by", args.created_by.as_deref())
        .with("source", args.source.as_deref())
        .with("policy", args.policy.as_deref())
        .with("state", args.state.as_deref())
        .with("q", args.search.as_deref())
        .with("scope", args.scope.as_deref())
        .with_number("unused_for_s", args.unused_for.map(|span| span.0))
        .with("never_expires", args.never_expires.then_some("true"))
        .with("has_previous", args.two_secrets.then_some("true"))
        .with("weak", args.weak.then_some("true"));
    for Member { name, value } in &args.metadata {
        target = target.with(&format!("metadata.{name}"), Some(value));
    }
    let mut items = Server::reach(&args.common.data.data)?.list_pages(&target)?;
    items.sort_by_cached_key(|item| Reverse(created_at(item)));
    print::list(&args.common, COLUMNS, &items)?;
    Ok(End::Done)
}

/// When a key was issued; `None` if the server sent something else.
fn created_at(item: &RawValue) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Created {
        created_at: String,
    }
    let created: Created = serde_json::from_str(item.get()).ok()?;
    Timestamp::parse("created_at", &created.created_at).ok()
}

pub fn expiring(args: &ExpiringArgs) -> Result<End> {
    let target = Target::of(&["keys"])
        .with("workspace", args.workspace.as_deref())
        .with_number("expiring_within_s", Some(args.within.0));
    let items = Server::reach(&args.common.data.data)?.list_pages(&target)?;
    if args.common.json || !items.is_empty() {
        print::list(&args.common, COLUMNS, &items)?;
    }
    Ok(if items.is_empty() {
        End::Done
    } else {
        End::Found
    })
}

pub fn show(args: &IdArgs) -> Result<End> {
    let answer = Server::reach(&args.common.data.data)?.get(&Target::of(&["keys", &args.id]))?;
    print::one(&args.common, &answer)?;
    Ok(End::Done)
}
