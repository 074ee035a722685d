//! Catalogs that files declare. Keys lose the scopes that a catalog no longer has, as when it is put by hand.

use super::{Declared, Note, Work};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::catalogs::{Catalog, Definition};
use crate::domain::declared::{Place, SOURCE};
use crate::error::{Error, Result};
use crate::ops::catalogs as rules;
use crate::store::{Read, catalogs, keys};

/// Whether every catalog is as the files declare it.
pub fn are_settled(read: &Read, declared: &Declared) -> Result<bool> {
    for (at, definition) in &declared.catalogs.stanzas {
        let found = catalogs::find(read, &definition.name)?;
        if found != Some(wanted(definition, &at.place)) {
            return Ok(false);
        }
    }
    Ok(released(read, declared)?.is_empty())
}

pub fn apply(work: &mut Work<'_>, declared: &Declared) -> Result<()> {
    for (at, definition) in &declared.catalogs.stanzas {
        let put = put(work, wanted(definition, &at.place), &at.place);
        work.judge(at, put)?;
    }
    for (name, source) in released(work.tx, declared)? {
        catalogs::update_source(work.tx, &name, "")?;
        work.note(Note {
            action: "catalog.release",
            source: &source,
            ..of_catalog(&name, Changes::default(), None)
        });
    }
    Ok(())
}

fn put(work: &mut Work<'_>, definition: Definition, place: &Place) -> Result<()> {
    rules::check_name(&definition.name)?;
    let before = catalogs::find(work.tx, &definition.name)?;
    if before.as_ref() == Some(&definition) {
        return Ok(());
    }
    let same = before.as_ref().is_some_and(|before| {
        let source = definition.source.clone();
        Definition {
            source,
            ..before.clone()
        } == definition
    });
    if same {
        catalogs::update_source(work.tx, &definition.name, &definition.source)?;
        work.tx
            .touch_lightly(Target::new(Kind::Catalog, &definition.name));
        return Ok(());
    }
    let catalog = Catalog::compile(definition)?;
    let replaced = rules::replace(work.tx, &catalog, before)?;
    work.note(Note {
        action: "catalog.put",
        ..of_catalog(catalog.name(), replaced.changes, Some(place))
    });
    for (id, record) in replaced.keys {
        let key = keys::find(work.tx, id)?.ok_or(Error::NotFound("key"))?;
        work.note(Note {
            action: "key.edit",
            target: record.target,
            name: &key.name,
            workspace: key.workspace.to_string(),
            changes: record.changes,
            place: Some(place),
            source: "",
        });
    }
    Ok(())
}

/// The catalogs that an earlier file has declared, and that no file declares now, with their sources.
fn released(read: &Read, declared: &Declared) -> Result<Vec<(String, String)>> {
    let is_declared = |name: &str| {
        let mut stanzas = declared.catalogs.stanzas.iter();
        stanzas.any(|(_, definition)| definition.name == name)
    };
    let all = catalogs::list_sources(read)?.into_iter();
    Ok(all
        .filter(|(name, source)| source.starts_with(SOURCE) && !is_declared(name))
        .collect())
}

fn wanted(definition: &Definition, place: &Place) -> Definition {
    Definition {
        source: place.source(),
        ..definition.clone()
    }
}

fn of_catalog<'a>(name: &'a str, changes: Changes, place: Option<&'a Place>) -> Note<'a> {
    Note {
        action: "",
        target: Target::new(Kind::Catalog, name),
        name,
        workspace: String::new(),
        changes,
        place,
        source: "",
    }
}
