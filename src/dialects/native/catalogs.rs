//! Handlers for catalogs: `/v1/catalogs`.

use crate::domain::catalogs::{Catalog, Definition, Operation, Requirement, Scope};
use crate::domain::keys::ID_PATTERN;
use crate::domain::users::permissions::Permission::{CatalogsRead, CatalogsWrite};
use crate::error::{Error, Result};
use crate::http::bodies::catalog::{ACCESS, NewCatalogBody};
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, Requested, answer};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::catalogs;
use serde_json::json;

answer! {
    struct CatalogBody<'a> as "Catalog" {
        name: &'a str = "billing",
        /// Present if it is true: the application distinguishes capital and small letters in paths, and `admin.json` from
        /// `admin`.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        case_sensitive: bool,
        /// Present if challenges name the metadata of the protected resource (RFC 9728).
        #[serde(skip_serializing_if = "Option::is_none")]
        resource_metadata: Option<&'a str>,
        scopes: Vec<ScopeBody<'a>> = [ScopeBody::example()],
        operations: Vec<OperationBody<'a>> = [OperationBody::example()],
        /// Present if a file declares the catalog: `file:PATH:LINE`. It is then edited there and nowhere else.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a str>,
    }
}

answer! {
    struct ScopeBody<'a> as "CatalogScope" {
        name: &'a str = "invoices:read",
        label: &'a str = "Read invoices",
        implies: &'a [String],
        /// Present if it is true: the scope counts only on keys of the root workspace.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        root_only: bool,
    }
}

answer! {
    struct OperationBody<'a> as "CatalogOperation" {
        id: &'a str = "findInvoice",
        method: &'a str = "GET",
        path: &'a str = "/invoices/{id}",
        host: Option<&'a str>,
        access: &'static str [enum = ACCESS] = "read",
        /// Present if it is true: every key of the catalog may call the operation.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        any_key: bool,
        /// Present if several scopes are needed together.
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        all_of: &'a [String],
        /// Present if one of these scopes is needed; empty if no key may call the operation.
        #[serde(skip_serializing_if = "Option::is_none")]
        any_of: Option<&'a [String]> = ["invoices:read"],
        /// Present if it is true: a CORS preflight for the request passes proxies without a key.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        preflight: bool,
    }
}

answer! {
    struct PutBody as "CatalogPut" {
        name: String = "billing",
        created: bool,
        /// Keys that held a removed scope, and have lost it.
        keys_changed: Vec<String> [items = json!({ "pattern": ID_PATTERN })],
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document.group("catalogs", "Scopes, and the requests that they permit.");
    document
        .add("get /v1/catalogs", "listCatalogs", "List catalogs")
        .needs(&[CatalogsRead])
        .answers::<ListBody<CatalogBody>>(200, "All catalogs that the caller may see.");
    document
        .add("get /v1/catalogs/{name}", "findCatalog", "Read a catalog")
        .needs(&[CatalogsRead])
        .answers::<CatalogBody>(200, "The catalog.");
    document
        .add("put /v1/catalogs/{name}", "putCatalog", "Put a catalog")
        .about(
            "Replaces the catalog of this name as a whole, in one transaction. Keys lose the scopes that it no longer has, at \
             once. Up to 64 MiB.",
        )
        .needs(&[CatalogsWrite])
        .body::<NewCatalogBody>()
        .answers::<PutBody>(200, "It has replaced another catalog.")
        .answers::<PutBody>(201, "It is new.")
        .conflicts()
        .waits_for_sites(200);
    document
        .add(
            "delete /v1/catalogs/{name}",
            "deleteCatalog",
            "Delete a catalog that no key has",
        )
        .needs(&[CatalogsWrite])
        .ends(204, "The catalog is deleted.")
        .conflicts();
}

impl<'a> CatalogBody<'a> {
    fn of(catalog: &'a Catalog) -> CatalogBody<'a> {
        let Definition {
            name,
            case_sensitive,
            resource_metadata,
            scopes,
            operations,
            source,
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
            preflight: operation.preflight,
        };
        CatalogBody {
            name,
            case_sensitive: *case_sensitive,
            resource_metadata: resource_metadata.as_deref(),
            scopes: scopes.iter().map(scope).collect(),
            operations: operations.iter().map(operation).collect(),
            source: Some(source.as_str()).filter(|source| !source.is_empty()),
        }
    }
}

/// `GET /v1/catalogs`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let found = catalogs::list(call.app, call.caller()?)?;
    let items = found
        .iter()
        .map(|catalog| CatalogBody::of(catalog))
        .collect();
    Ok(Reply::json(200, &ListBody::of(items)))
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
    let body = NewCatalogBody::of(call.request)?;
    if body.name.as_ref().is_some_and(|other| *other != name) {
        return Err(Error::invalid_text(
            "name",
            "must be the name in the path, or be left out",
        ));
    }
    let refused = || "must be read or write".to_owned();
    let definition = body.definition(&name, refused)?;
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
