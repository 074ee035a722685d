//! Policies: which definitions make sense, and what one demands of its keys.

sentences! { "policies":
    acts_without_owner() = "must be false unless issued_by is owner or password: no other user may create a key that acts for a user";
    address_exact(policy) = "must be a single address: policy {policy} allows no ranges";
    addresses_off(policy) = "must be left out: keys of policy {policy} have no address list";
    cannot_disable() = "must be note if can_disable is false: the keys cannot be disabled";
    cannot_rotate_leaked() = "can be rotate only if can_rotate is true and secret_shown is sealed: otherwise the new secret could not be shown";
    catalog(catalog, policy) = "must be {catalog} or be left out: keys of policy {policy} have their scopes from it";
    changed_outside(policy) = "the policy {policy} was changed past Latchkey and is closed; the administrator of the machine looks at it and accepts it: latchkey doctor accept policy {policy}";
    disable(policy) = "keys of policy {policy} cannot be disabled; delete the key instead";
    editable(member, policy) = "{member} cannot be edited on a key of policy {policy}; issue a new key and delete this one";
    exists(policy) = "there is a policy {policy} already";
    expiry_needed(policy) = "is needed: keys of policy {policy} expire";
    expiry_off(policy) = "must be left out: keys of policy {policy} do not expire";
    expiry_unused() = "must be left out where keys do not expire";
    header() = "must be bearer, token, basic, or the name of a header in lower case, such as x-api-key";
    header_reserved() = "is a header with a meaning of its own; choose another one";
    in_use(policy) = "keys of policy {policy} exist (deleted ones count, their records stay); it has to stay, but with keys_per_workspace_max 0 no new key can follow it";
    life_months(months, policy) = "must be at most {months} {months:month|months} from now: policy {policy} allows no longer life";
    life_seconds(seconds, policy) = "must be at most {seconds} {seconds:second|seconds} from now: policy {policy} allows no longer life";
    looser(policy, member) = "live keys follow policy {policy}, so its {member} can only be made stricter; make a new policy for keys that need more";
    notice_days_order() = "must be less than the number before it";
    owner_needed(policy) = "is needed: keys of policy {policy} belong to a user";
    owner_off(policy) = "must be left out: keys of policy {policy} belong to their workspace";
    pages_by_setting() = "the server's setting systems determines which pages there are; change it there";
    rate_limit(limit, window, policy) = "must not allow more than {limit} {limit:request|requests} in any {window} {window:second|seconds}: policy {policy} allows no more";
    rate_limit_max_exact() = "must be false: a bound is counted by each node for its share, and only a key's own limit can be exact";
    rate_limit_default(limit, window) = "must not allow more than {limit} {limit:request|requests} in any {window} {window:second|seconds}, which is rate_limit_max";
    roles_needed() = "must name at least one role: a key that acts for its owner may only what a role passes on";
    roles_unused() = "must be empty unless acts_for_owner is true";
    rotate(policy) = "keys of policy {policy} cannot be rotated; issue a new key and delete this one";
    scopes_needed(policy) = "are needed: a key of policy {policy} has at least one";
    scopes_of_role() = "must be a list of scopes, or * alone for every scope that the key has";
    scopes_off(policy) = "must be left out: keys of policy {policy} have none";
    self_rotation(policy) = "keys of policy {policy} cannot rotate themselves; ask an administrator to rotate the key";
    self_rotation_second_factor(policy) = "keys of policy {policy} cannot rotate themselves, because only users who signed in with a second factor rotate them; ask an administrator to rotate the key";
    second_factor_issued() = "must be false if issued_by is password: such keys are issued to a client that has no second factor";
    self_rotation_grace(policy) = "must be left out, and until_first_use too: when a key of policy {policy} rotates itself, its old secret ends at once";
    standard(policy) = "policy {policy} is the one of keys whose issuer names none; it has to stay";
    unknown(policy) = "there is no policy {policy}";
}
