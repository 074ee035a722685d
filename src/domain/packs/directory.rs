//! The records of workspaces, users, policies and catalogs: what verdicts and the subject of a key depend on, and no more. No
//! digest of a password, no e-mail address, nothing that only the issue of a key needs.

use super::record::{Reader, Writer};
use crate::domain::catalogs::{self, Definition, Operation, Requirement, Scope};
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::definition::HEADERS_MAX;
use crate::domain::policies::roles::RoleRule;
use crate::domain::policies::{CredentialHeader, Policy, Words, from_word, word};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::roles::Role;
use crate::domain::users::{Binding, User};
use crate::domain::workspaces::Workspace;

/// The number of bytes of a name of 100 characters.
pub(super) const NAME_BYTES_MAX: usize = 400;
/// The number of bytes of a word or a scope.
pub(super) const WORD_BYTES_MAX: usize = 100;
/// The number of bytes of a path, a host or a URL.
const PATH_BYTES_MAX: usize = 8 * 1024;
/// The number of roles of one user.
const BINDINGS_MAX: usize = 100_000;
/// The number of roles that there are.
const ROLES_MAX: usize = 5;

/// A uid in the bytes of an id.
fn uid(id: &[u8]) -> Option<Uid> {
    Some(Uid(u128::from_be_bytes(id.try_into().ok()?)))
}

pub(super) fn name(id: &[u8]) -> Option<&str> {
    std::str::from_utf8(id).ok()
}

/// The bytes of a uid as an id.
pub(super) fn uid_bytes(uid: Uid) -> [u8; 16] {
    uid.0.to_be_bytes()
}

fn read_word<T: Words>(reader: &mut Reader<'_>) -> Option<T> {
    from_word(reader.text(WORD_BYTES_MAX)?)
}

pub(super) fn rate_limit(reader: &mut Reader<'_>) -> Option<RateLimit> {
    Some(RateLimit {
        limit: reader.number()?,
        window_s: reader.number()?,
        exact: false,
    })
}

pub(super) fn write_rate_limit(writer: &mut Writer, rate: RateLimit) {
    writer.number(rate.limit);
    writer.number(rate.window_s);
}

/// Reads a workspace. Its number and its times are not in a pack.
pub(super) fn workspace(id: &[u8], record: &[u8]) -> Option<Workspace> {
    let mut reader = Reader::new(record);
    let workspace = Workspace {
        uid: uid(id)?,
        number: 0,
        parent: reader.option(Reader::u128)?.map(Uid),
        enabled: reader.flag()?,
        slug: reader.text(WORD_BYTES_MAX)?.to_owned(),
        name: reader.text(NAME_BYTES_MAX)?.to_owned(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    };
    reader.end()?;
    Some(workspace)
}

/// Writes a workspace; without its name if `minimal`.
pub(super) fn write_workspace(workspace: &Workspace, minimal: bool) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.option(workspace.parent, |writer, parent| {
        writer.raw(&uid_bytes(parent));
    });
    writer.flag(workspace.enabled);
    writer.text(&workspace.slug);
    writer.text(if minimal { "" } else { &workspace.name });
    writer.0
}

/// Reads a user. A pack without names has the uid in the place of the name.
pub(super) fn user(id: &[u8], record: &[u8]) -> Option<User> {
    let mut reader = Reader::new(record);
    let uid = uid(id)?;
    let enabled = reader.flag()?;
    let user_name = reader
        .text(NAME_BYTES_MAX)
        .filter(|name| *name != uid.to_string())?;
    let roles = reader.list(BINDINGS_MAX, |reader| {
        Some(Binding {
            workspace: Uid(reader.u128()?),
            role: Role::parse(reader.text(WORD_BYTES_MAX)?)?,
        })
    })?;
    reader.end()?;
    Some(User {
        uid,
        number: 0,
        user_name: match user_name {
            "" => uid.to_string(),
            name => name.to_owned(),
        },
        email: None,
        home: Uid(0),
        enabled,
        generation: 0,
        created_at: Timestamp(0),
        deleted_at: None,
        has_second_factor: false,
        roles,
    })
}

/// Writes a user with some of the roles; without the name if `minimal`.
pub(super) fn write_user(user: &User, roles: &[Binding], minimal: bool) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.flag(user.is_active());
    let is_named = !minimal && user.user_name != user.uid.to_string();
    writer.text(if is_named { &user.user_name } else { "" });
    writer.list(roles.iter(), |writer, binding| {
        writer.raw(&uid_bytes(binding.workspace));
        writer.text(binding.role.as_str());
    });
    writer.0
}

/// Reads a policy. The members that no verdict depends on are those of the policy `standard`.
pub(super) fn policy(id: &[u8], record: &[u8]) -> Option<Policy> {
    let mut reader = Reader::new(record);
    let headers = reader.texts(HEADERS_MAX, WORD_BYTES_MAX)?;
    let policy = Policy {
        name: name(id)?.to_owned(),
        description: String::new(),
        headers: headers.into_iter().map(CredentialHeader::parse).collect(),
        read_only_by: read_word(&mut reader)?,
        tied_to: read_word(&mut reader)?,
        acts_for_owner: reader.flag()?,
        decoy: reader.flag()?,
        rate_limit_max: reader.option(rate_limit)?,
        roles: reader.list(ROLES_MAX, |reader| {
            Some(RoleRule {
                role: Role::parse(reader.text(WORD_BYTES_MAX)?)?,
                read_only: reader.flag()?,
                scopes: (reader.texts(catalogs::SCOPES_MAX, WORD_BYTES_MAX)?)
                    .into_iter()
                    .map(Box::from)
                    .collect(),
            })
        })?,
        ..Policy::standard()
    };
    reader.end()?;
    Some(policy)
}

pub(super) fn write_policy(policy: &Policy) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.list(policy.headers.iter(), |writer, header| {
        writer.text(header.as_str());
    });
    writer.text(word(policy.read_only_by));
    writer.text(word(policy.tied_to));
    writer.flag(policy.acts_for_owner);
    writer.flag(policy.decoy);
    writer.option(policy.rate_limit_max, write_rate_limit);
    writer.list(policy.roles.iter(), |writer, rule| {
        writer.text(rule.role.as_str());
        writer.flag(rule.read_only);
        writer.texts(&rule.scopes);
    });
    writer.0
}

/// Reads the definition of a catalog.
pub(super) fn catalog(id: &[u8], record: &[u8]) -> Option<Definition> {
    let mut reader = Reader::new(record);
    let definition = Definition {
        name: name(id)?.to_owned(),
        case_sensitive: reader.flag()?,
        resource_metadata: reader
            .option(|reader| reader.text(PATH_BYTES_MAX))?
            .map(str::to_owned),
        scopes: reader.list(catalogs::SCOPES_MAX, |reader| {
            Some(Scope {
                name: reader.text(WORD_BYTES_MAX)?.to_owned(),
                label: reader.text(NAME_BYTES_MAX)?.to_owned(),
                root_only: reader.flag()?,
                implies: owned(reader.texts(catalogs::SCOPES_MAX, WORD_BYTES_MAX)?),
            })
        })?,
        operations: reader.list(catalogs::OPERATIONS_MAX, operation)?,
        source: String::new(),
    };
    reader.end()?;
    Some(definition)
}

fn operation(reader: &mut Reader<'_>) -> Option<Operation> {
    Some(Operation {
        id: reader.text(NAME_BYTES_MAX)?.to_owned(),
        method: reader.text(WORD_BYTES_MAX)?.to_owned(),
        path: reader.text(PATH_BYTES_MAX)?.to_owned(),
        host: reader
            .option(|reader| reader.text(PATH_BYTES_MAX))?
            .map(str::to_owned),
        writes: reader.flag()?,
        preflight: reader.flag()?,
        requirement: match reader.u8()? {
            0 => Requirement::Nobody,
            1 => Requirement::AnyKey,
            2 => Requirement::Scopes {
                all_of: owned(reader.texts(catalogs::SCOPES_MAX, WORD_BYTES_MAX)?),
                any_of: owned(reader.texts(catalogs::SCOPES_MAX, WORD_BYTES_MAX)?),
            },
            _ => return None,
        },
    })
}

/// Writes the definition of a catalog; without labels if `minimal`.
pub(super) fn write_catalog(definition: &Definition, minimal: bool) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.flag(definition.case_sensitive);
    let url = definition.resource_metadata.as_deref();
    writer.option(url, |writer, url| writer.text(url));
    writer.list(definition.scopes.iter(), |writer, scope| {
        writer.text(&scope.name);
        writer.text(if minimal { "" } else { &scope.label });
        writer.flag(scope.root_only);
        writer.texts(&scope.implies);
    });
    writer.list(definition.operations.iter(), |writer, operation| {
        writer.text(&operation.id);
        writer.text(&operation.method);
        writer.text(&operation.path);
        writer.option(operation.host.as_deref(), |writer, host| writer.text(host));
        writer.flag(operation.writes);
        writer.flag(operation.preflight);
        match &operation.requirement {
            Requirement::Nobody => writer.u8(0),
            Requirement::AnyKey => writer.u8(1),
            Requirement::Scopes { all_of, any_of } => {
                writer.u8(2);
                writer.texts(all_of);
                writer.texts(any_of);
            }
        }
    });
    writer.0
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}
