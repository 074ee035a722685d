//! `GET /api/v3/about`: what server this is. Clients ask it to see whether they are let in (1D-36).

use super::lists::{Item, Picked};
use super::{caller, data};
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;

/// The properties that [`find`] answers with.
const PROPERTIES: &[&str] = &["installationId", "installationDate", "serverVersion"];

pub fn find(call: &Call<'_>) -> Result<Reply> {
    caller(call)?;
    let picked = Picked::take(call.query()?, PROPERTIES)?;
    let directory = call.app.index.directory();
    let root = directory
        .root()
        .ok_or_else(|| Error::internal("the store has no root workspace"))?;
    let item = Item(vec![
        ("installationId", root.workspace.uid.to_string().into()),
        (
            "installationDate",
            root.workspace.created_at.to_seven_digits().into(),
        ),
        ("serverVersion", env!("CARGO_PKG_VERSION").into()),
    ]);
    Ok(data(picked.of(item)))
}
