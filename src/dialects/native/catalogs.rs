//! Handlers for catalogs: `/v1/catalogs`.

use super::keys::PageBody;
use crate::domain::catalogs::{Catalog, Definition, Operation, Requirement, Scope};
use crate::error::{Error, Result};
use crate::http::bodies::catalog as bodies;
use crate::http::fields::Fields;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::catalogs;
use serde::Serialize;

#[derive(Serialize)]
struct CatalogBody<'a> {
    name: &'a str,
    /// Omitted if it is false, as in most catalogs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    case_sensitive: bool,
    scopes: Vec<ScopeBody<'a>>,
    operations: Vec<OperationBody<'a>>,
}

#[derive(Serialize)]
struct ScopeBody<'a> {
    name: &'a str,
    label: &'a str,
    implies: &'a [String],
    /// Omitted if it is false, as for nearly all scopes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    root_only: bool,
}

#[derive(Serialize)]
struct OperationBody<'a> {
    id: &'a str,
    method: &'a str,
    path: &'a str,
    host: Option<&'a str>,
    access: &'static str,
    /// Omitted if it is false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    any_key: bool,
    /// Scopes that are all needed; omitted if there are none.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    all_of: &'a [String],
    /// Scopes of which one is needed; empty if no key may call the operation, and omitted if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    any_of: Option<&'a [String]>,
}

/// The result of writing a catalog.
#[derive(Serialize)]
struct PutBody {
    name: String,
    created: bool,
    /// Keys that held a removed scope, and have lost it.
    keys_changed: Vec<String>,
}

impl<'a> CatalogBody<'a> {
    fn of(catalog: &'a Catalog) -> CatalogBody<'a> {
        let Definition {
            name,
            case_sensitive,
            scopes,
            operations,
        } = catalog.definition();
        let scope = |scope: &'a Scope| ScopeBody {
            name: &scope.name,
            label: &scope.label,
            implies: &scope.implies,
            root_only: scope.root_only,
        };
        let operation = |operation: &'a Operation| OperationBody {
            id: &operation.id,
            method: &operation.method,
            path: &operation.path,
            host: operation.host.as_deref(),
            access: if operation.writes { "write" } else { "read" },
            any_key: operation.requirement == Requirement::AnyKey,
            all_of: operation.requirement.all_of(),
            any_of: match &operation.requirement {
                Requirement::AnyKey => None,
                Requirement::Nobody => Some(&[]),
                Requirement::Scopes { any_of, .. } => Some(&**any_of).filter(|it| !it.is_empty()),
            },
        };
        CatalogBody {
            name,
            case_sensitive: *case_sensitive,
            scopes: scopes.iter().map(scope).collect(),
            operations: operations.iter().map(operation).collect(),
        }
    }
}

/// `GET /v1/catalogs`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let found = catalogs::list(call.app, call.caller()?)?;
    let items: Vec<_> = found
        .iter()
        .map(|catalog| CatalogBody::of(catalog))
        .collect();
    Ok(PageBody::whole(items))
}

/// `GET /v1/catalogs/{name}`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let catalog = catalogs::find(call.app, call.caller()?, call.param("name"))?;
    Ok(Reply::json(200, &CatalogBody::of(&catalog)))
}

/// `PUT /v1/catalogs/{name}`
pub fn put(call: &Call<'_>) -> Result<Reply> {
    let name = call.param("name").to_owned();
    catalogs::require_put(call.app, call.caller()?, &name)?;
    let mut body = Fields::of(call.request)?;
    if let Some(other) = body.text("name")?
        && other != name
    {
        return Err(Error::invalid(
            "name",
            "must be the name in the path, or be left out",
        ));
    }
    let case_sensitive = body.flag("case_sensitive")?.unwrap_or(false);
    let scopes = body.objects("scopes")?.unwrap_or_default();
    let operations = body.objects("operations")?.unwrap_or_default();
    body.finish()?;
    let definition = Definition {
        name: name.clone(),
        case_sensitive,
        scopes: scopes
            .into_iter()
            .map(bodies::scope)
            .collect::<Result<_>>()?,
        operations: operations
            .into_iter()
            .enumerate()
            .map(operation)
            .collect::<Result<_>>()?,
    };
    let put = catalogs::put(call.app, call.caller()?, definition)?;
    let keys_changed = put.keys_changed.iter().map(ToString::to_string).collect();
    Ok(Reply::json(
        if put.created { 201 } else { 200 },
        &PutBody {
            name,
            created: put.created,
            keys_changed,
        },
    ))
}

/// `DELETE /v1/catalogs/{name}`
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    catalogs::delete(call.app, call.caller()?, call.param("name"))?;
    Ok(Reply::new(204))
}

fn operation((position, mut fields): (usize, Fields)) -> Result<Operation> {
    let access = fields.required_text("access")?;
    let operation = bodies::operation(&access, fields)?;
    if !bodies::is_access(&access) {
        return Err(Error::invalid(
            format!("operations[{position}].access"),
            "must be read or write",
        ));
    }
    Ok(operation)
}
