//! Loading a whole database into a server, in one transaction, and setting one aside under another name.

use super::{Address, Postgres, schema};
use crate::domain::audit::actions::LEAVE;
use crate::error::Result;
use crate::store::connection::quoted;
use crate::store::heads::{self, Head};
use crate::store::{Read, audit, transfer};

/// What becomes of a schema of Latchkey that is there already.
#[derive(Clone, Debug)]
pub enum Earlier {
    /// It stays under this name.
    KeptAs(String),
    /// It is refused, unless it is the rest of an interrupted move of the same database: a copy that ends with the event of a move,
    /// right after an event that the source has too.
    OnlyOfAMove,
}

/// Copies `from`, in whose transaction this is called, to the server. `check` looks at the copy before it is committed; an error
/// leaves the server as it was, except that the outcome of a commit may be unknown. Returns whether a schema was there.
pub fn load(
    address: &Address,
    from: &Read,
    earlier: &Earlier,
    check: &dyn Fn(&Read) -> Result<()>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<bool> {
    // Adding the references to many rows takes long, and so does comparing them.
    let postgres = Postgres::connect(&address.patient())?;
    schema::check_server(&postgres)?;
    let read = Read::from(postgres);
    Postgres::alone(&read, |_| {
        let was_there = fill(&read, from, earlier, progress)?;
        check(&read)?;
        Ok(was_there)
    })
}

fn fill(
    read: &Read,
    from: &Read,
    earlier: &Earlier,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<bool> {
    let postgres = read.postgres()?;
    let was_there = schema::has_schema(postgres)?;
    if was_there {
        match earlier {
            Earlier::KeptAs(name) => rename(postgres, name)?,
            Earlier::OnlyOfAMove => clear(read, from)?,
        }
    }
    schema::create_filled(postgres, || transfer::copy(from, read, progress).map(drop))?;
    Ok(was_there)
}

/// Removes the rest of an interrupted move of `from`.
fn clear(read: &Read, from: &Read) -> Result<()> {
    let newest = audit::newest(read)?.filter(|event| event.action == LEAVE);
    let is_rest = match newest {
        None => false,
        Some(left) => {
            let before = audit::find(from, left.seq - 1)?;
            before.is_some_and(|event| event.hash() == left.previous)
        }
    };
    match is_rest {
        true => read.batch("DROP SCHEMA latchkey CASCADE"),
        false => Err(schema::refused(
            "has a schema latchkey already, which was left as it is; name another database",
        )),
    }
}

/// Gives the schema of a database, which was left, another name, so that no node uses it any more, also none that runs. Returns
/// the name. Refuses if the newest event is not `newest`: then a node has written after it.
pub fn set_aside(address: &Address, newest: Head) -> Result<String> {
    let name = format!("{}{}", schema::ASIDE, newest.seq);
    let postgres = Postgres::connect(address)?;
    if !schema::has_schema(&postgres)? && schema::aside(&postgres)?.contains(&name) {
        return Ok(name);
    }
    schema::check(&postgres)?;
    let read = Read::from(postgres);
    Postgres::alone(&read, |postgres| match heads::newest(&read)? == newest {
        true => rename(postgres, &name),
        false => Err(schema::refused(
            "was written to after it was left, so another node still runs; stop every node, and repeat the move",
        )),
    })?;
    Ok(name)
}

fn rename(postgres: &Postgres, name: &str) -> Result<()> {
    postgres.batch(&format!("ALTER SCHEMA latchkey RENAME TO {}", quoted(name)))
}
