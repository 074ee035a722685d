//! Rows of what users have chosen for their pages.

use super::{Read, Write};
use crate::domain::uid::Uid;
use crate::domain::users::preferences::{Preferences, Theme};
use crate::error::Result;

pub fn find(read: &Read, user: Uid) -> Result<Option<Preferences>> {
    read.query_one(
        "SELECT theme, language, time_zone FROM user_preferences WHERE user_uid = $1",
        &[&user],
        |row| {
            let theme: String = row.get("theme")?;
            Ok(Preferences {
                theme: Theme::parse(&theme).unwrap_or_default(),
                language: row.get("language")?,
                time_zone: row.get("time_zone")?,
            })
        },
    )
}

pub fn replace(tx: &Write<'_>, user: Uid, preferences: &Preferences) -> Result<()> {
    tx.execute(
        "INSERT INTO user_preferences (user_uid, theme, language, time_zone)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_uid) DO UPDATE
         SET theme = excluded.theme, language = excluded.language, time_zone = excluded.time_zone",
        &[
            &user,
            &preferences.theme.word(),
            &preferences.language,
            &preferences.time_zone,
        ],
    )?;
    Ok(())
}
