//! The nodes that share a database on a server.

use crate::domain::users::permissions::Permission::ServerAdmin;
use crate::error::Result;
use crate::http::describe::Document;
use crate::http::describe::bodies::{Requested, answer, request};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::older_copy::forget;

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
}

/// `POST /v1/cluster/forget`: through the Unix socket only.
pub fn forget(call: &Call<'_>) -> Result<Reply> {
    let body = ForgetBody::of(call.request)?;
    forget::forget(call.app, call.caller()?, &body.node)?;
    Ok(Reply::json(200, &ForgottenBody { node: body.node }))
}
