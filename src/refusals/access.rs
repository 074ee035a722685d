//! What a caller may not do.

sentences! { "access":
    acting_users_issue_nothing() = "a user who acts as another user cannot issue keys";
    give_to_stronger_user() = "you cannot give a key to a user who may change more than you; ask that user or an owner";
    issued_by_managers(policy) = "keys of policy {policy} are issued by the users who manage the workspace's keys; ask one of them";
    issued_by_owner(policy) = "users issue keys of policy {policy} for themselves; sign in as the user who is to own the key, or choose another policy";
    issued_by_password(policy) = "keys of policy {policy} are issued to a user who proves a user name and password, for that user; ask for one that way, or choose another policy";
    key_changed() = "the key of this request was changed meanwhile; send the request again";
    key_lacks_scope(scope) = "this key does not have the scope {scope}";
    lacks(scope) = "this credential does not have {scope}";
    lacks_in_workspace(scope) = "this credential does not have {scope} in that workspace";
    lacks_scope_to_give(scope) = "this credential does not have the scope {scope}, and so cannot give it";
    limited_keys_make_no_users() = "a key with limits of its own can neither create users nor give them roles or passwords";
    limits_and_scopes_are_managed() = "what your key opens, its limits and its metadata are set by the users who manage the workspace's keys; you may name it, rotate it and disable it";
    only_reads() = "this credential has read access only";
    own_limits() = "a key cannot edit its own limits or metadata";
    own_owner() = "a key cannot change its own owner, and neither can a caller who acts as another user";
    owner_has_no_role() = "the owner of this key has no role that permits this";
    owner_may_do_more(owner) = "the key acts for {owner}, who may do more than this credential";
    owner_of_management_key() = "only a caller with server:admin may change the owner of a management key; issue a new key";
    ownerless_management_key() = "only a caller with server:admin may issue a management key without an owner; leave owner out for a key of your own, or name a user";
    role_may_do_more(role) = "the role {role} may do more than you may";
    root_administrator() = "this takes an administrator of the root workspace";
    scopes_are_managed() = "scopes are given by the users who manage the workspace's keys; ask for a key without scopes, or ask one of them";
    scopes_not_held(scopes) = "you cannot grant a scope that you do not hold: {scopes}";
    second_factor_of_policy(policy) = "only users who signed in with a second factor issue and change keys of policy {policy}; set up two-step sign-in on your account page, and sign in";
    wider_than_issuer(member) = "the {member} of a key cannot be wider than that of the key that issues it";
}
