//! Which notices a caller may see, and what a user has seen of them.

use crate::authz::caller::Caller;
use crate::domain::notices::{Kind, Notice};
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::Result;
use crate::index::directory::Directory;
use crate::ops::App;
use crate::ops::notices::from_events::EVENT;
use crate::store::{Durability, notices};

/// The number of rows that are read at once.
const BATCH: u32 = 200;
/// How many rows are looked through for the number of unread notices.
const UNREAD_MAX: usize = 500;

/// Which notices are wanted.
#[derive(Clone, Debug, Default)]
pub struct NoticeFilter {
    pub kind: Option<Kind>,
    /// Only notices before this number.
    pub before: Option<i64>,
    pub limit: usize,
}

/// A page of the notices that the caller may see, newest first, and the position of the next page. The position is that of
/// the last notice of the page, so it says nothing about notices that the caller may not see.
pub fn list(
    app: &App,
    caller: &Caller,
    wanted: &NoticeFilter,
) -> Result<(Vec<Notice>, Option<i64>)> {
    caller.require_in_any(&app.index.directory(), Permission::KeysRead)?;
    let reads_log = caller.require_global(&app.index.directory(), Permission::AuditRead);
    let mut found: Vec<Notice> = Vec::new();
    let mut before = wanted.before.unwrap_or(i64::MAX);
    loop {
        let rows = app.read(|read| notices::list_before(read, before, BATCH))?;
        let is_last = rows.len() < BATCH as usize;
        let directory = app.index.directory();
        for (seq, notice) in rows {
            let asked = |notice: &Notice| wanted.kind.is_none_or(|kind| kind == notice.kind);
            let seen = |notice: &Notice| may_see(&directory, caller, notice);
            if let Some(notice) = notice.filter(|it| asked(it) && seen(it)) {
                if found.len() == wanted.limit {
                    let last = found.last().map(|last| last.seq);
                    return Ok((found, last));
                }
                found.push(match reads_log.is_ok() {
                    true => notice,
                    false => without_number(notice),
                });
            }
            before = seq;
        }
        if is_last {
            return Ok((found, None));
        }
    }
}

/// The notice without the number of its event: the gaps between such numbers would show how much happens elsewhere, and when.
fn without_number(notice: Notice) -> Notice {
    // Facts are strings, and a quote within one is escaped, so this stands there as a name alone.
    let name = format!("\"{EVENT}\":\"");
    let Some((before, rest)) = notice.data.split_once(&name) else {
        return notice;
    };
    let after = rest.split_once('"').map_or("", |(_, after)| after);
    let data = match (before.strip_suffix(','), after.strip_prefix(',')) {
        (_, Some(after)) => format!("{before}{after}"),
        (before_comma, None) => format!("{}{after}", before_comma.unwrap_or(before)),
    };
    Notice { data, ..notice }
}

/// Whether the caller may see a notice: a caller who may read the key or the user that it is about, its owner, and for
/// everything else a caller who may read the audit log of the whole server.
fn may_see(directory: &Directory, caller: &Caller, notice: &Notice) -> bool {
    if notice.user.is_some_and(|user| caller.is_session_of(user)) {
        return true;
    }
    let permission = match notice.kind {
        Kind::KeyExpired
        | Kind::KeyExpiring
        | Kind::KeyLeaked
        | Kind::KeyNewSource
        | Kind::KeyTripped
        | Kind::KeyUnused
        | Kind::SecretRetiredTried => Permission::KeysRead,
        Kind::SigninStrange | Kind::UserCredentialsChanged => Permission::UsersRead,
        Kind::AuditBroken
        | Kind::BackupFailed
        | Kind::BackupOverdue
        | Kind::CertificateEnding
        | Kind::ClockDoubtful
        | Kind::DiskLow
        | Kind::NoticesLost
        | Kind::StoreEdited => Permission::AuditRead,
    };
    match notice.workspace {
        Some(workspace) => caller.may(directory, permission, workspace, notice.user),
        None => caller.require_global(directory, permission).is_ok(),
    }
}

/// How many notices the user has not seen yet, among the newest 500 that they may see.
pub fn unread(app: &App, caller: &Caller, user: Uid) -> Result<usize> {
    let seen = app.read(|read| notices::find_read(read, user))?;
    let mut count = 0;
    let mut looked = 0;
    let mut before = i64::MAX;
    while looked < UNREAD_MAX {
        let rows = app.read(|read| notices::list_before(read, before, BATCH))?;
        let is_last = rows.len() < BATCH as usize;
        let directory = app.index.directory();
        for (seq, notice) in rows {
            if seq <= seen {
                return Ok(count);
            }
            looked += 1;
            before = seq;
            count += usize::from(notice.is_some_and(|it| may_see(&directory, caller, &it)));
        }
        if is_last {
            break;
        }
    }
    Ok(count)
}

/// Records that the user has seen the notices up to a number. It decides nothing, so it leaves no event.
pub fn note_seen(app: &App, user: Uid, seq: i64) -> Result<()> {
    app.store.write(Durability::Relaxed, move |tx| {
        notices::put_read(tx, user, seq)
    })
}

/// The newest number that the user has seen.
pub fn seen(app: &App, user: Uid) -> Result<i64> {
    app.read(|read| notices::find_read(read, user))
}
