//! The nodes that share a database on a server.

use crate::domain::users::permissions::Permission::ServerAdmin;
use crate::error::Result;
use crate::http::describe::Document;
use crate::http::describe::bodies::{Requested, answer, request};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::older_copy::forget;
use crate::ops::schema_upgrade;
use crate::store::schema_upgrade::SchemaState;

request! {
    struct ForgetBody as "" {
        /// The id of the node, as the refusals of changes name it.
        node: String,
    }
}

answer! {
    struct ForgottenBody as "ForgottenNode" {
        node: String,
    }
}

request! {
    struct UpgradeBody as "" {
        /// Only shows what would be done.
        dry_run: Option<bool> = true,
    }
}

answer! {
    struct SchemaBody as "SchemaUpgrade" {
        /// The schema that the database had before.
        from: i64 = 7,
        /// The schema that the database has now, or would have: that of the program.
        to: i64 = 8,
        /// The nodes in use.
        nodes: Vec<NodeBody>,
    }
}

answer! {
    struct NodeBody as "NodeProgram" {
        /// The name of the machine.
        name: String = "db1",
        /// The version of the program.
        version: String = "1.0.0",
        /// The schema that the program was made for.
        schema: i64 = 8,
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document
        .add("post /v1/cluster/forget", "forgetNode", "Give up a node that has to close an older copy of the database")
        .about(
            "For `latchkey cluster forget`, through the Unix socket only. After a restore of the database, nothing is changed until \
             all nodes have ended again what they know to have ended. What only a node knew that is given up stays as it is.",
        )
        .needs(&[ServerAdmin])
        .body::<ForgetBody>()
        .answers::<ForgottenBody>(200, "Nobody waits for the node any more.")
        .conflicts();
    document
        .add("post /v1/cluster/upgrade", "upgradeSchema", "Bring the schema of the database to that of this program")
        .about(
            "For `latchkey cluster upgrade`, through the Unix socket only. It adds what the program needs, in one transaction, and \
             takes nothing away; other changes wait meanwhile, and verification goes on. As long as a node in use has an older \
             program, it is refused.",
        )
        .needs(&[ServerAdmin])
        .optional_body::<UpgradeBody>()
        .answers::<SchemaBody>(200, "What was done, or would be done.")
        .conflicts();
}

/// `POST /v1/cluster/forget`: through the Unix socket only.
pub fn forget(call: &Call<'_>) -> Result<Reply> {
    let body = ForgetBody::of(call.request)?;
    forget::forget(call.app, call.caller()?, &body.node)?;
    Ok(Reply::json(200, &ForgottenBody { node: body.node }))
}

/// `POST /v1/cluster/upgrade`: through the Unix socket only.
pub fn upgrade(call: &Call<'_>) -> Result<Reply> {
    let body = UpgradeBody::of_optional(call.request)?;
    let (app, caller) = (call.app, call.caller()?);
    let found = match body.dry_run.unwrap_or(false) {
        true => schema_upgrade::plan(app, caller)?,
        false => schema_upgrade::upgrade(app, caller)?,
    };
    Ok(Reply::json(200, &SchemaBody::from(found)))
}

impl From<SchemaState> for SchemaBody {
    fn from(found: SchemaState) -> SchemaBody {
        let nodes = found.nodes.into_iter().map(|node| NodeBody {
            name: node.name,
            version: node.version,
            schema: node.schema,
        });
        SchemaBody {
            from: found.version,
            to: found.version.max(found.wanted),
            nodes: nodes.collect(),
        }
    }
}
