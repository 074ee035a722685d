//! Handlers for policies: `/v1/policies`.

use super::keys::bodies::RateBody;
use super::keys::retry;
use crate::domain::keys::Member;
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::definition::{
    EXPIRY_NOTICE_DAYS_MAX, EXPIRY_NOTICES_MAX, HEADER_PATTERN, HEADERS_MAX, KEYS_MAX,
    LIFE_MONTHS_MAX, LIFE_S_MAX, OPTIONAL_PREFIX_PATTERN,
};
use crate::domain::policies::roles::RoleRule;
use crate::domain::policies::{
    AddressRule, AtMax, CredentialHeader, Editable, Expiry, IssuedBy, OnLeak, OnReuse, Policy,
    Presence, ReadOnlyBy, SecretShown, SelfRotation, TiedTo,
};
use crate::domain::text::{DESCRIPTION_CHARS_MAX, SLUG_PATTERN};
use crate::domain::users::permissions::Permission::{PoliciesRead, PoliciesWrite};
use crate::domain::users::roles::Role;
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, Readable, Requested, answer, request};
use crate::http::describe::schema::{Components, Flat, Schema, Word};
use crate::http::fields::Fields;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::policies::{self, PolicyEdit, pages};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

answer! {
    struct PolicyBody<'a> as "Policy" like PolicyEditBody {
        name: &'a str = "standard",
        description: &'a str = "Keys with every option, none of them required.",
        issued_by: Word<IssuedBy> = "manager_or_owner",
        owner: Word<Presence> = "optional",
        catalog: Option<&'a str>,
        scopes: Word<Presence> = "optional",
        headers: Vec<&'a str> = ["bearer", "token", "x-api-key"],
        read_only_by: Word<ReadOnlyBy> = "operation",
        expiry: Word<Expiry> = "optional",
        expiry_s_max: Option<u64>,
        expiry_months_max: Option<u32>,
        addresses: Word<AddressRule> = "cidr",
        keys_per_workspace_max: Option<u32>,
        keys_per_owner_max: Option<u32> = 1000,
        at_owner_max: Word<AtMax> = "refuse",
        name_unique: bool,
        secret_shown: Word<SecretShown> = "once",
        editable: Vec<&'static str> = ["*"],
        can_disable: bool = true,
        can_rotate: bool = true,
        self_rotation: Word<SelfRotation> = "at_once",
        confirm_name: bool,
        second_factor: bool,
        decoy: bool,
        on_reuse: Word<OnReuse> = "note",
        on_leak: Word<OnLeak> = "note",
        expiry_notice_days: &'a [u32] = [30, 7, 1],
        tied_to: Word<TiedTo> = "owner_and_workspace",
        acts_for_owner: bool,
        roles: RolesBody<'a>,
        rate_limit: Option<RateBody>,
        rate_limit_max: Option<RateBody>,
        prefix: &'a str = "lk",
        /// Present if a file declares the policy: `file:PATH:LINE`. It is then edited there and nowhere else.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a str>,
    }
}

request! {
    /// Absent members are as in `standard`.
    pub struct NewPolicyBody as "NewPolicy" {
        name: String [pattern = SLUG_PATTERN] = "short-lived",
        members: Flat<PolicyEditBody>,
    }
}

request! {
    /// While live keys follow a policy, it can only be made stricter.
    pub struct PolicyEditBody as "PolicyEdit" {
        description: Option<String> [maxLength = DESCRIPTION_CHARS_MAX],
        /// Who may issue keys of this policy.
        issued_by: Option<Word<IssuedBy>>,
        /// Whether keys have an owner.
        owner: Option<Word<Presence>>,
        /// The catalog of its keys; null for any.
        catalog: Option<Option<String>>,
        /// Whether keys have scopes.
        scopes: Option<Word<Presence>>,
        /// `bearer`, `token`, `basic` (the key as the password of `Authorization: Basic`, or as the user name with an
        /// empty password; only in requests that a proxy asks about), or the name of a header in lower case.
        headers: Option<Vec<String>>
            [minItems = 1, maxItems = HEADERS_MAX, items = json!({ "pattern": HEADER_PATTERN })],
        /// What makes a request a write, for keys that only read.
        read_only_by: Option<Word<ReadOnlyBy>>,
        /// Whether keys expire.
        expiry: Option<Word<Expiry>>,
        /// The longest life of a key in seconds; null for any.
        expiry_s_max: Option<Option<u64>> [minimum = 1, maximum = LIFE_S_MAX] = 86_400,
        /// The longest life of a key in calendar months; null for any.
        expiry_months_max: Option<Option<u32>> [minimum = 1, maximum = LIFE_MONTHS_MAX],
        /// What the address list of a key may contain: addresses and ranges, single addresses, or nothing.
        addresses: Option<Word<AddressRule>>,
        /// The greatest number of keys of this policy in one workspace; null for any.
        keys_per_workspace_max: Option<Option<u32>> [maximum = KEYS_MAX],
        /// The greatest number of keys of this policy that one user may own; null for any.
        keys_per_owner_max: Option<Option<u32>> [maximum = KEYS_MAX],
        /// What happens to a new key of a user who owns `keys_per_owner_max` keys already: `refuse` it, or let it
        /// `replace` the key that has not been used for the longest time (keys without an end first), which is deleted.
        at_owner_max: Option<Word<AtMax>>,
        /// Whether no two live keys of this policy in one workspace may have the same name.
        name_unique: Option<bool>,
        /// Whether a secret can be shown again later, from a sealed copy.
        secret_shown: Option<Word<SecretShown>>,
        /// The members of a key that an edit may change; `*` alone stands for every member, also one that a later version
        /// adds.
        editable: Option<Vec<String>>
            [items = json!({ "enum": Editable::all_words() })],
        can_disable: Option<bool>,
        can_rotate: Option<bool>,
        /// Whether a key may rotate itself (`POST /v1/whoami/rotate`): not at all, with the old secret ending at once, or
        /// with a grace period of at most 3600 seconds. A read-only key never may.
        self_rotation: Option<Word<SelfRotation>>,
        /// Whether a request to delete a key must repeat its name.
        confirm_name: Option<bool>,
        /// Whether only users who signed in with a second factor may issue, edit, enable, rotate and reveal keys. Keys may not,
        /// and a key does not rotate itself. The administrator of the machine may.
        second_factor: Option<bool>,
        /// Whether its keys are decoys: every request with one is answered as if the key were unknown, and recorded as
        /// `key.tripped`. It can neither be set nor removed while the policy has keys.
        decoy: Option<bool>,
        /// What follows when an old secret is tried that the first use of the new one had ended: only an event
        /// (`note`), or the key is disabled.
        on_reuse: Option<Word<OnReuse>>,
        /// What follows when a secret that works is reported as leaked (`POST /v1/leaks`): only an event (`note`), the
        /// key is disabled, or it gets a new secret and the leaked one ends at once. `rotate` needs `secret_shown`
        /// `sealed`, because the new secret could not be seen otherwise.
        on_leak: Option<Word<OnLeak>>,
        /// How many days before its end a key is reported as the notice `key.expiring`, in descending order; empty for no
        /// notice. A key is not reported earlier than a whole life of so many days.
        expiry_notice_days: Option<Vec<u32>>
            [maxItems = EXPIRY_NOTICES_MAX, items = json!({ "minimum": 1, "maximum": EXPIRY_NOTICE_DAYS_MAX })] = [30, 7, 1],
        /// Whose disabling also stops a key.
        tied_to: Option<Word<TiedTo>>,
        /// Whether a key may do at most what its owner may, in verdicts and on this server's own routes.
        acts_for_owner: Option<bool>,
        roles: Option<RoleRules>,
        /// The limit of keys whose issuer named none.
        rate_limit: Option<Option<RateBody>>,
        /// No key may make more requests than this. Issuing or editing a key with a limit that could allow more in any of
        /// these windows is refused; a key that already has such a limit is held to both.
        rate_limit_max: Option<Option<RateBody>>,
        /// The start of its keys' secrets; empty for secrets without one.
        prefix: Option<String> [pattern = OPTIONAL_PREFIX_PATTERN],
    }
}

/// What each role of the owner passes on to a key that acts for its owner.
#[derive(Serialize)]
#[serde(transparent)]
struct RolesBody<'a>(BTreeMap<&'static str, RoleBody<'a>>);

answer! {
    /// What a key that acts for its owner inherits from a role of the owner.
    struct RoleBody<'a> as "PolicyRole" like NewRoleBody {
        scopes: &'a [Box<str>],
        read_only: bool,
    }
}

/// The member `roles` of a request.
pub struct RoleRules(Vec<RoleRule>);

request! {
    /// What a key that acts for its owner inherits from a role of the owner.
    struct NewRoleBody as "NewPolicyRole" {
        /// Scopes of the key's catalog; `*` alone stands for every scope that the key has.
        scopes: Vec<String> [minItems = 1],
        /// Whether the role passes on reading only.
        read_only: Option<bool>,
    }
}

request! {
    /// Whether the console's navigation has the page, in the request and in the answer.
    #[derive(Serialize)]
    struct PolicyPageBody as "PolicyPage" {
        on: bool = true,
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document.group(
        "policies",
        "The rules that keys are issued under and must follow.",
    );
    document
        .add("get /v1/policies", "listPolicies", "List policies")
        .needs(&[PoliciesRead])
        .answers::<ListBody<PolicyBody>>(200, "All policies that the caller may see.");
    document
        .add("post /v1/policies", "createPolicy", "Add a policy")
        .needs(&[PoliciesWrite])
        .shared("IdempotencyKey")
        .body::<NewPolicyBody>()
        .answers::<PolicyBody>(201, "The policy.")
        .conflicts()
        .may_not_find();
    document
        .add("get /v1/policies/{name}", "findPolicy", "Read a policy")
        .needs(&[PoliciesRead])
        .answers::<PolicyBody>(200, "The policy.");
    document
        .add("patch /v1/policies/{name}", "editPolicy", "Edit a policy")
        .about("While live keys follow it, it can only be made stricter.")
        .needs(&[PoliciesWrite])
        .body::<PolicyEditBody>()
        .answers::<PolicyBody>(200, "The policy as it is now.")
        .conflicts()
        .waits_for_sites(200);
    document
        .add(
            "delete /v1/policies/{name}",
            "deletePolicy",
            "Delete a policy that no key has ever followed",
        )
        .needs(&[PoliciesWrite])
        .ends(204, "The policy is deleted.")
        .conflicts();
    document
        .add(
            "put /v1/policies/{name}/page",
            "switchPolicyPage",
            "Put the page of a system's keys into the console's navigation, or take it out",
        )
        .about(
            "For the policies of the systems whose keys have a page of their own in the console. A page whose keys exist \
             stays. 409 where the setting `systems` decides.",
        )
        .needs(&[PoliciesWrite])
        .body::<PolicyPageBody>()
        .answers::<PolicyPageBody>(200, "Whether the page is there now.")
        .conflicts();
}

/// The schema of an object with a member for each role.
fn by_role<T: Schema>(components: &mut Components, name: &str) -> Value {
    components.named(name, |components| {
        let role = T::schema(components);
        let properties: BTreeMap<&str, &Value> =
            Role::all().map(|one| (one.as_str(), &role)).collect();
        json!({
            "type": "object",
            "description": "What each role of the owner passes on to a key that acts for its owner; an absent role passes on \
                            nothing. Empty for other keys.",
            "properties": properties,
            "additionalProperties": false,
        })
    })
}

impl Schema for RolesBody<'_> {
    fn schema(components: &mut Components) -> Value {
        by_role::<RoleBody>(components, "PolicyRoles")
    }

    fn example() -> Value {
        json!({})
    }
}

impl Schema for RoleRules {
    fn schema(components: &mut Components) -> Value {
        by_role::<NewRoleBody>(components, "NewPolicyRoles")
    }

    fn example() -> Value {
        json!({})
    }
}

impl Readable for RoleRules {
    /// `{"owner":{"scopes":["*"]},"auditor":{"scopes":["a:read"],"read_only":true}}`
    fn take(fields: &mut Fields, name: &str) -> Result<Option<Option<RoleRules>>> {
        let Some(Some(mut body)) = fields.object_or_null(name)? else {
            return Ok(None);
        };
        let mut rules = Vec::new();
        for role in Role::all() {
            if let Some(rule) = body.object(role.as_str())? {
                let rule = NewRoleBody::whole(rule)?;
                rules.push(RoleRule {
                    role,
                    scopes: rule.scopes.into_iter().map(Into::into).collect(),
                    read_only: rule.read_only.unwrap_or(false),
                });
            }
        }
        body.finish()?;
        Ok(Some(Some(RoleRules(rules))))
    }
}

impl<'a> PolicyBody<'a> {
    fn of(policy: &'a Policy) -> PolicyBody<'a> {
        PolicyBody {
            name: &policy.name,
            description: &policy.description,
            issued_by: Word(policy.issued_by),
            owner: Word(policy.owner),
            catalog: policy.catalog.as_deref(),
            scopes: Word(policy.scopes),
            headers: policy
                .headers
                .iter()
                .map(CredentialHeader::as_str)
                .collect(),
            read_only_by: Word(policy.read_only_by),
            expiry: Word(policy.expiry),
            expiry_s_max: policy.expiry_s_max,
            expiry_months_max: policy.expiry_months_max,
            addresses: Word(policy.addresses),
            keys_per_workspace_max: policy.keys_per_workspace_max,
            keys_per_owner_max: policy.keys_per_owner_max,
            at_owner_max: Word(policy.at_owner_max),
            name_unique: policy.name_unique,
            secret_shown: Word(policy.secret_shown),
            editable: policy.editable.words(),
            can_disable: policy.can_disable,
            can_rotate: policy.can_rotate,
            self_rotation: Word(policy.self_rotation),
            confirm_name: policy.confirm_name,
            second_factor: policy.second_factor,
            decoy: policy.decoy,
            on_reuse: Word(policy.on_reuse),
            on_leak: Word(policy.on_leak),
            expiry_notice_days: &policy.expiry_notice_days,
            tied_to: Word(policy.tied_to),
            acts_for_owner: policy.acts_for_owner,
            roles: RolesBody(policy.roles.iter().map(role_body).collect()),
            rate_limit: policy.rate_limit.map(RateBody::from),
            rate_limit_max: policy.rate_limit_max.map(RateBody::from),
            prefix: &policy.prefix,
            source: Some(policy.source.as_str()).filter(|source| !source.is_empty()),
        }
    }
}

/// `GET /v1/policies`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let found = policies::list(call.app, call.caller()?)?;
    let items = found.iter().map(|policy| PolicyBody::of(policy)).collect();
    Ok(Reply::json(200, &ListBody::of(items)))
}

/// `GET /v1/policies/{name}`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let policy = policies::find(call.app, call.caller()?, call.param("name"))?;
    Ok(Reply::json(200, &PolicyBody::of(&policy)))
}

/// `PUT /v1/policies/{name}/page`
pub fn switch_page(call: &Call<'_>) -> Result<Reply> {
    let body = PolicyPageBody::of(call.request)?;
    pages::switch(call.app, call.caller()?, call.param("name"), body.on)?;
    Ok(Reply::json(200, &body))
}

/// `POST /v1/policies`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let retry = retry(call)?;
    let body = NewPolicyBody::of(call.request)?;
    let members = edit_of(body.members.0)?;
    let policy = policies::create(call.app, call.caller()?, body.name, members, retry)?;
    Ok(Reply::json(201, &PolicyBody::of(&policy)))
}

/// `PATCH /v1/policies/{name}`
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    let edit = edit_of(PolicyEditBody::of(call.request)?)?;
    let policy = policies::edit(call.app, call.caller()?, call.param("name"), edit)?;
    Ok(Reply::json(200, &PolicyBody::of(&policy)))
}

/// `DELETE /v1/policies/{name}`
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    policies::delete(call.app, call.caller()?, call.param("name"))?;
    Ok(Reply::new(204))
}

/// The policy that a body would create, which is not checked yet.
pub fn new_policy(body: NewPolicyBody) -> Result<Policy> {
    Ok(edit_of(body.members.0)?.of_standard(body.name))
}

fn edit_of(body: PolicyEditBody) -> Result<PolicyEdit> {
    let limit = |rate: Option<RateBody>| rate.map(RateLimit::from);
    Ok(PolicyEdit {
        description: body.description,
        issued_by: body.issued_by.map(|it| it.0),
        owner: body.owner.map(|it| it.0),
        catalog: body.catalog,
        scopes: body.scopes.map(|it| it.0),
        headers: body.headers.map(headers),
        read_only_by: body.read_only_by.map(|it| it.0),
        expiry: body.expiry.map(|it| it.0),
        expiry_s_max: body.expiry_s_max,
        expiry_months_max: body.expiry_months_max,
        addresses: body.addresses.map(|it| it.0),
        keys_per_workspace_max: body.keys_per_workspace_max,
        keys_per_owner_max: body.keys_per_owner_max,
        at_owner_max: body.at_owner_max.map(|it| it.0),
        name_unique: body.name_unique,
        secret_shown: body.secret_shown.map(|it| it.0),
        editable: body.editable.map(editable).transpose()?,
        can_disable: body.can_disable,
        can_rotate: body.can_rotate,
        self_rotation: body.self_rotation.map(|it| it.0),
        confirm_name: body.confirm_name,
        second_factor: body.second_factor,
        decoy: body.decoy,
        on_reuse: body.on_reuse.map(|it| it.0),
        on_leak: body.on_leak.map(|it| it.0),
        expiry_notice_days: body.expiry_notice_days,
        tied_to: body.tied_to.map(|it| it.0),
        acts_for_owner: body.acts_for_owner,
        roles: body.roles.map(|it| it.0),
        rate_limit: body.rate_limit.map(limit),
        rate_limit_max: body.rate_limit_max.map(limit),
        prefix: body.prefix,
    })
}

fn editable(members: Vec<String>) -> Result<Editable> {
    Editable::parse(members.iter().map(String::as_str)).map_err(|position| {
        let known: Vec<&str> = Member::editable().iter().map(|it| it.word()).collect();
        let known = known.join(", ");
        let reason = format!("must be one of {known}, or * alone for every member");
        Error::invalid_text(format!("editable[{position}]"), reason)
    })
}

fn role_body(rule: &RoleRule) -> (&'static str, RoleBody<'_>) {
    let body = RoleBody {
        scopes: &rule.scopes,
        read_only: rule.read_only,
    };
    (rule.role.as_str(), body)
}

fn headers(names: Vec<String>) -> Vec<CredentialHeader> {
    names
        .iter()
        .map(|name| CredentialHeader::parse(name))
        .collect()
}
