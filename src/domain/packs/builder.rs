//! Building a whole body: the server puts in what a site is to have, the keys in the order of their ids.

use super::body::{self, Body};
use super::directory::{self, uid_bytes};
use super::keys::{self, PackedKey};
use super::site_key::SealedPepper;
use super::table::{TABLES, Table, TableWriter};
use crate::domain::catalogs::Definition;
use crate::domain::keys::live::SharedPart;
use crate::domain::policies::Policy;
use crate::domain::users::{Binding, User};
use crate::domain::workspaces::Workspace;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};

/// A whole body that is being built.
pub struct Builder {
    /// Leaves out names and metadata.
    minimal: bool,
    /// The version of the pepper of keys that name none.
    pepper: u16,
    small: [BTreeMap<Vec<u8>, Vec<u8>>; TABLES],
    keys: TableWriter,
    extras: TableWriter,
    last: Option<u64>,
    /// The numbers of shared parts by record, and whether they are in the table yet.
    known: HashMap<Vec<u8>, (u32, bool)>,
    next: u32,
}

impl Builder {
    /// Begins a body. If there is a base, shared parts and the pepper are numbered as there, so that the difference from it
    /// is small.
    pub fn new(minimal: bool, pepper: u16, base: Option<&Body>) -> Builder {
        let mut builder = Builder {
            minimal,
            pepper: base.map_or(pepper, Body::pepper),
            small: Default::default(),
            keys: TableWriter::default(),
            extras: TableWriter::default(),
            last: None,
            known: HashMap::new(),
            next: 0,
        };
        for (id, record) in base
            .into_iter()
            .flat_map(|base| base.entries(Table::Shared))
        {
            if let Ok(id) = id.try_into() {
                let number = u32::from_be_bytes(id);
                builder.known.insert(record.to_vec(), (number, false));
                builder.next = builder.next.max(number.saturating_add(1));
            }
        }
        builder
    }

    fn put(&mut self, table: Table, id: &[u8], record: Vec<u8>) {
        self.small[table as usize].insert(id.to_vec(), record);
    }

    pub fn pepper(&mut self, version: u16, sealed: SealedPepper) {
        self.put(Table::Peppers, &version.to_be_bytes(), sealed.to_vec());
    }

    /// Puts in a workspace. One that is there only because it is above another has no name.
    pub fn workspace(&mut self, workspace: &Workspace, is_given: bool) {
        let record = directory::write_workspace(workspace, self.minimal || !is_given);
        self.put(Table::Workspaces, &uid_bytes(workspace.uid), record);
    }

    /// Puts in a user with some of the roles.
    pub fn user(&mut self, user: &User, roles: &[Binding]) {
        let record = directory::write_user(user, roles, self.minimal);
        self.put(Table::Users, &uid_bytes(user.uid), record);
    }

    pub fn policy(&mut self, policy: &Policy) {
        let record = directory::write_policy(policy);
        self.put(Table::Policies, policy.name.as_bytes(), record);
    }

    pub fn catalog(&mut self, definition: &Definition) {
        let record = directory::write_catalog(definition, self.minimal);
        self.put(Table::Catalogs, definition.name.as_bytes(), record);
    }

    /// Puts in what keys share, and returns its number.
    pub fn shared(&mut self, part: &SharedPart) -> u32 {
        let record = keys::write_shared(part);
        let (number, is_there) = match self.known.get(&record) {
            Some(known) => *known,
            None => (self.next, false),
        };
        if !is_there {
            self.next = self.next.max(number.saturating_add(1));
            self.known.insert(record.clone(), (number, true));
            self.put(Table::Shared, &number.to_be_bytes(), record);
        }
        number
    }

    /// Puts in a key, which comes behind all others in the order of ids.
    pub fn key(&mut self, key: &PackedKey<'_>) -> Result<()> {
        if self.last.is_some_and(|last| last >= key.id.0) {
            return Err(Error::internal("the keys of a pack are not in order"));
        }
        self.last = Some(key.id.0);
        let id = key.id.0.to_be_bytes();
        let short = PackedKey {
            name: "",
            metadata: "",
            tail: [0; 4],
            ..key.clone()
        };
        let key = if self.minimal { &short } else { key };
        let (row, extras) = key.write(self.pepper);
        self.keys.put(Table::Keys, (&id, &row));
        if let Some(extras) = extras {
            self.extras.put(Table::Extras, (&id, &extras));
        }
        Ok(())
    }

    /// The bytes of the body.
    pub fn finish(self) -> Vec<u8> {
        let Builder {
            small,
            mut keys,
            mut extras,
            pepper,
            ..
        } = self;
        let tables: Vec<TableWriter> = Table::ALL
            .into_iter()
            .map(|table| match table {
                Table::Keys => std::mem::take(&mut keys),
                Table::Extras => std::mem::take(&mut extras),
                table => TableWriter::of(table, &small[table as usize]),
            })
            .collect();
        body::whole(pepper, &tables)
    }
}
