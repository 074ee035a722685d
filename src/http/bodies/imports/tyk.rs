//! Tyk: keys with their sessions as JSON, as the Dashboard answers at `/api/keys/detailed`.
//!
//! The form is that of the type `KeysDetailed` in the published OpenAPI document of the Tyk Dashboard, and the session is
//! `user/session.go` in the repository TykTechnologies/tyk. Tyk hashes keys with murmur (the default, 8, 16 or 32
//! hexadecimal digits) or SHA-256 (64), or stores them as they are (`hash_keys` and `hash_key_function`).

use super::digests;
use super::draft::Draft;
use super::values::Unit;
use super::{Collection, at_line, members_of, of_fault};
use crate::domain::keys::plain::Plain;
use crate::error::Result;
use crate::http::bodies::tree::{self, Data, Node};
use crate::refusals;

/// Reads the answer of the Dashboard, its list of keys alone, or one key after another.
pub fn read(text: &str, collection: &mut Collection) -> Result<()> {
    for document in &tree::json_documents(text).map_err(of_fault)? {
        let keys = document.get("keys").or(match &document.data {
            Data::List(_) => Some(document),
            _ => None,
        });
        let Some(keys) = keys else {
            key(document, collection)?;
            continue;
        };
        let Some(items) = keys.items() else {
            return Err(at_line(keys.line, refusals::imports::tyk_keys()));
        };
        if let Some(id) = items.iter().find(|item| item.text().is_some()) {
            return Err(at_line(id.line, refusals::imports::tyk_ids()));
        }
        for item in items {
            key(item, collection)?;
        }
    }
    Ok(())
}

fn key(record: &Node, collection: &mut Collection) -> Result<()> {
    for (member, _) in members_of(record, &["data"])? {
        if !["api_model", "data", "key_hash", "key_id"].contains(&member.as_str()) {
            let shown = refusals::quoted(member, 100);
            return Err(at_line(record.line, refusals::imports::tyk_member(shown)));
        }
    }
    let mut draft = Draft::new("tyk", record.line);
    let text = |name: &str| record.get(name).and_then(Node::text).unwrap_or_default();
    let session = match record.get("data") {
        Some(session) => members_of(session, &["access_rights", "org_id", "expires"])?,
        None => &[],
    };
    let of_session = |name: &str| {
        session
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, it)| it)
    };
    let part = |name: &str| of_session(name).and_then(Node::text).unwrap_or_default();
    draft.name(record.line, part("alias"), &format!("line {}", record.line));
    secret(
        &mut draft,
        record.line,
        text("key_hash"),
        text("key_id"),
        part("org_id"),
    )?;
    for (name, node) in session {
        member(&mut draft, name, node);
    }
    limits(&mut draft, record.line, &of_session);
    rights(&mut draft, record.line, &of_session);
    draft.finish(collection)
}

/// Takes the digest, or the key itself. A key of Tyk begins with the id of its organisation, or is JSON in Base64; any
/// other text that looks like a digest may be one.
fn secret(draft: &mut Draft, line: usize, hash: &str, id: &str, org: &str) -> Result<()> {
    if let Some(digest) = digests::sha256_of_hex(hash) {
        draft.key.digest = digest;
        return Ok(());
    }
    let is_own =
        (!org.is_empty() && id.len() > org.len() && id.starts_with(org)) || id.starts_with("eyJ");
    let is_like_digest =
        [8, 16, 32, 64].contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
    if is_own || (hash.is_empty() && !id.is_empty() && !is_like_digest) {
        return draft.secret(line, "key_id", &Plain::new(id));
    }
    let why = match () {
        () if !hash.is_empty() => digests::refused_by_name(hash),
        () if is_like_digest => Some(refusals::imports::tyk_id_like_digest()),
        () => None,
    };
    draft.drop_key(
        line,
        "key_hash",
        why.unwrap_or_else(refusals::imports::secret_missing),
    );
    Ok(())
}

/// A member of the session that stands for itself.
fn member(draft: &mut Draft, name: &str, node: &Node) {
    match name {
        "alias" => drop(draft.text(name, node)),
        "org_id" | "tags" => draft.metadata(name, node),
        "meta_data" => {
            let object = draft.object(name, node);
            draft.own_metadata(object);
        }
        "date_created" => draft.key.created_at = draft.time(name, node, Unit::Seconds),
        "expires" => draft.key.expires_at = draft.time(name, node, Unit::Seconds),
        "is_inactive" => {
            let is_off = draft.flag(name, node).unwrap_or(false);
            draft.key.enabled = is_off.then_some(false);
        }
        "apply_policies" | "apply_policy_id" => {
            draft.metadata(name, node);
            draft.unused(name, node, refusals::imports::tyk_policies);
        }
        "hmac_enabled"
        | "hmac_string"
        | "enable_http_signature_validation"
        | "rsa_certificate_id"
        | "certificate"
        | "mtls_static_certificate_bindings" => {
            draft.restriction(name, node, refusals::imports::tyk_other_credential);
        }
        "basic_auth_data" | "jwt_data" => credential(draft, name, node),
        "oauth_client_id" | "oauth_keys" => {
            draft.restriction(name, node, refusals::imports::tyk_oauth);
        }
        "session_lifetime" => draft.restriction(name, node, refusals::imports::tyk_lifetime),
        "max_query_depth" => {
            if draft.whole(name, node).is_some_and(|depth| depth > 0) {
                draft.drop_key(node.line, name, refusals::imports::tyk_graphql());
            }
        }
        // These are read together.
        "rate" | "per" | "quota_max" | "quota_remaining" | "quota_renewal_rate"
        | "access_rights" => {}
        "allowance"
        | "data_expires"
        | "enable_detail_recording"
        | "enable_detailed_recording"
        | "id_extractor_deadline"
        | "key_id"
        | "last_check"
        | "last_updated"
        | "monitor"
        | "post_expiry_action"
        | "post_expiry_grace_period"
        | "quota_renews"
        | "smoothing"
        | "throttle_interval"
        | "throttle_retry_limit" => draft.unneeded(name, node),
        other => draft.unknown(other, node),
    }
}

/// Data of basic authentication or of JWT, whose members are empty in every other session.
fn credential(draft: &mut Draft, name: &str, node: &Node) {
    let parts = match &node.data {
        Data::Object(members) => members.as_slice(),
        _ => &[],
    };
    if parts
        .iter()
        .any(|(part, node)| part != "hash_type" && !node.is_blank())
    {
        draft.drop_key(node.line, name, refusals::imports::tyk_other_credential());
    }
}

/// The rate limit, and the quota.
fn limits<'n>(draft: &mut Draft, line: usize, of_session: &dyn Fn(&str) -> Option<&'n Node>) {
    let mut number = |name: &str| {
        let node = of_session(name)?;
        draft.whole(name, node)
    };
    let (rate, per) = (number("rate"), number("per"));
    let (quota, left) = (number("quota_max"), number("quota_remaining"));
    let renewal = number("quota_renewal_rate").unwrap_or(0);
    // Tyk reads 0 and -1 as "no limit".
    if let (Some(rate @ 1..), Some(per)) = (rate, per) {
        draft.rate_limit(line, "rate", rate as u64, per.max(0) as u64 * 1_000);
    }
    if let Some(1..) = quota {
        draft.key.uses_left = Some(left.unwrap_or(0).max(0) as u64);
        if renewal > 0 {
            draft.note(line, "quota_renewal_rate", refusals::imports::refill());
        }
    }
}

/// The APIs that the key opens: a scope for each. What restricts a key within an API drops the key.
fn rights<'n>(draft: &mut Draft, line: usize, of_session: &dyn Fn(&str) -> Option<&'n Node>) {
    const NAME: &str = "access_rights";
    let apis = match of_session(NAME).map(|node| &node.data) {
        Some(Data::Object(apis)) => apis.as_slice(),
        Some(Data::Null) => &[],
        _ => return draft.drop_key(line, NAME, refusals::values::object()),
    };
    if apis.is_empty() {
        return draft.drop_key(line, NAME, refusals::imports::tyk_no_rights());
    }
    for (api, right) in apis {
        draft.scope(right.line, NAME, api);
        let Data::Object(members) = &right.data else {
            draft.drop_key(right.line, NAME, refusals::values::object());
            continue;
        };
        for (name, node) in members {
            let is_default = match name.as_str() {
                "api_id" | "api_name" | "allowance_scope" => true,
                "versions" => values_are(node, "Default"),
                "limit" => is_no_limit(node),
                _ => node.is_blank(),
            };
            if !is_default {
                let property = format!("{NAME}.{api}.{name}");
                draft.drop_key(node.line, &property, refusals::imports::tyk_within_api());
            }
        }
    }
}

fn values_are(node: &Node, only: &str) -> bool {
    let is_only = |item: &Node| item.text() == Some(only);
    node.is_blank() || node.items().is_some_and(|items| items.iter().all(is_only))
}

/// A limit of an API that says nothing: null, or numbers that are all 0 or -1.
fn is_no_limit(node: &Node) -> bool {
    match &node.data {
        Data::Object(members) => members.iter().all(|(_, node)| match &node.data {
            Data::Number(literal) => literal.parse::<f64>().is_ok_and(|number| number <= 0.0),
            _ => node.is_blank(),
        }),
        _ => node.is_blank(),
    }
}
