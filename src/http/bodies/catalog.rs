//! The body of a request that puts a catalog.

use crate::domain::catalogs::{
    Definition, OPERATIONS_MAX, Operation, RESOURCE_METADATA_CHARS_MAX, Requirement, SCOPE_PATTERN,
    SCOPES_MAX, Scope,
};
use crate::domain::text::DESCRIPTION_CHARS_MAX;
use crate::error::{Error, Result};
use crate::http::describe::bodies::request;
use serde_json::{Value, json};

/// The values of the member `access` of an operation.
pub const ACCESS: [&str; 2] = ["read", "write"];

request! {
    pub struct NewCatalogBody as "NewCatalog" {
        /// The name in the path, or absent.
        name: Option<String> = "billing",
        /// By default false: a segment of a path that a parameter would match, and that equals a literal segment at the
        /// same place except for case and one `.extension`, is refused (`UNSAFE_REQUEST`), because an application may take
        /// it for the literal. True for applications that compare paths byte by byte.
        case_sensitive: Option<bool>,
        /// The URL of the metadata that says where clients get a credential (RFC 9728). The challenges of refusals to proxies
        /// contain it.
        resource_metadata: Option<String> [pattern = "^https://", maxLength = RESOURCE_METADATA_CHARS_MAX],
        scopes: Option<Vec<NewScopeBody>> [maxItems = SCOPES_MAX] = [NewScopeBody::example()],
        operations: Option<Vec<NewOperationBody>> [maxItems = OPERATIONS_MAX] = [NewOperationBody::example()],
    }
}

request! {
    pub struct NewScopeBody as "NewCatalogScope" {
        name: String [pattern = SCOPE_PATTERN] = "invoices:read",
        label: Option<String> [maxLength = DESCRIPTION_CHARS_MAX] = "Invoices",
        implies: Option<Vec<String>> [items = json!({ "pattern": SCOPE_PATTERN })],
        /// Whether the scope counts only on keys of the root workspace.
        root_only: Option<bool>,
    }
}

request! {
    pub struct NewOperationBody as "NewCatalogOperation" {
        access: String [enum = ACCESS] = "read",
        /// True: every key of the catalog may call the operation, and `all_of` and `any_of` are left out.
        any_key: Option<bool>,
        /// All of these scopes are needed. Beside `any_of`, one of those as well.
        all_of: Option<Vec<String>>,
        /// One of these scopes is needed. Empty: no key may call the operation, whatever scopes it has; the verdict is
        /// `INSUFFICIENT_SCOPE`. One of the three members must say who may call the operation.
        any_of: Option<Vec<String>> = ["invoices:read"],
        id: String [minLength = 1] = "findInvoice",
        /// GET includes HEAD, unless the same path has an operation for HEAD.
        method: String [pattern = "^[A-Za-z-]+$"] = "GET",
        /// `{name}` stands for one segment, a final `{name...}` for all the rest. Text may stand beside names:
        /// `{id}.json`, `{id}:cancel`, `{from}-{to}`.
        path: String [pattern = "^/"] = "/invoices/{id}",
        /// Absent for any host.
        host: Option<String>,
        /// True: where a proxy asks with this catalog, a browser's CORS preflight for this request passes without a key, even
        /// if the question does not let preflights pass.
        preflight: Option<bool>,
    }
}

impl NewCatalogBody {
    /// The catalog of this name. `access_refused` is the reason why the access of an operation is refused.
    pub fn definition(self, name: &str, access_refused: impl Fn() -> String) -> Result<Definition> {
        let scopes = self.scopes.unwrap_or_default().into_iter();
        let operations = self.operations.unwrap_or_default().into_iter().enumerate();
        Ok(Definition {
            name: name.to_owned(),
            case_sensitive: self.case_sensitive.unwrap_or(false),
            resource_metadata: self.resource_metadata,
            scopes: scopes.map(Scope::from).collect(),
            operations: operations
                .map(|(position, body)| operation(position, body, &access_refused))
                .collect::<Result<_>>()?,
            source: String::new(),
        })
    }
}

impl From<NewScopeBody> for Scope {
    fn from(body: NewScopeBody) -> Scope {
        Scope {
            name: body.name,
            label: body.label.unwrap_or_default(),
            implies: body.implies.unwrap_or_default(),
            root_only: body.root_only.unwrap_or(false),
        }
    }
}

fn operation(
    position: usize,
    body: NewOperationBody,
    access_refused: impl Fn() -> String,
) -> Result<Operation> {
    let name = |member: &str| format!("operations[{position}].{member}");
    if !ACCESS.contains(&body.access.as_str()) {
        return Err(Error::invalid_text(name("access"), access_refused()));
    }
    Ok(Operation {
        id: body.id,
        method: body.method,
        path: body.path,
        host: body.host,
        writes: body.access == "write",
        preflight: body.preflight.unwrap_or(false),
        requirement: Requirement::of_members(body.any_key, body.all_of, body.any_of, name)?,
    })
}

/// Writes a requirement into the object of an operation, in the form that [`NewOperationBody`] reads.
pub fn write_requirement(requirement: &Requirement, operation: &mut Value) {
    match requirement {
        Requirement::AnyKey => operation["any_key"] = Value::Bool(true),
        Requirement::Nobody => operation["any_of"] = json!([]),
        Requirement::Scopes { all_of, any_of } => {
            for (member, scopes) in [("all_of", all_of), ("any_of", any_of)] {
                if !scopes.is_empty() {
                    operation[member] = json!(scopes);
                }
            }
        }
    }
}
