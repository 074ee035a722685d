//! The life of a key: its members, its issue, edits, rotation and end.

sentences! { "keys":
    acts_for_owner(policy) = "a key of policy {policy} acts for its owner, and with another one everybody who knows its secret would act for that user; issue a new key";
    address() = "must be an IPv4 or IPv6 address, or a range such as 10.0.0.0/8 with no bits set beyond its prefix";
    address_list_empty() = "must not be an empty list; use null for no restriction";
    before_expires_at() = "must be before expires_at";
    beside_expires_at() = "must be left out if expires_at is given";
    confirm_name(policy) = "policy {policy} asks for the name of a key that is to be deleted: send it as confirm_name, or in confirm_names for several keys";
    confirm_names_count() = "must have the name of each key, in the order of ids";
    confirm_names_unused() = "must be left out unless keys are deleted";
    counted_on_root() = "counts on keys of the root workspace alone";
    created_by() = "must be user:NAME, key:ID, local:UID or system";
    created_too_many(most) = "has issued more than {most} keys; list them with latchkey key list --created-by";
    deleted() = "the key is deleted, and deletion is for good; issue a new key";
    deleted_with_secret() = "the key is deleted, and its secret with it; issue a new key";
    expired() = "the key has expired; give it a new expires_at first";
    grace_at_most(most) = "must be at most {most} (30 days)";
    grace_of_first_use() = "must be above 0 if until_first_use is set";
    grace_of_self_rotation(most) = "must be at most {most} when a key rotates itself";
    ids_count(most) = "must name 1 to {most} keys";
    ids_twice(key) = "names key {key} twice";
    in_the_future() = "must be in the future";
    issue_another() = "issue another key and delete this one";
    loading() = "keys are still being read; try again in a few seconds";
    many_in_workspace(policy, most) = "policy {policy} allows {most} keys in a workspace; delete one first";
    many_of_owner(policy, most) = "policy {policy} allows {most} keys of one owner; delete one first";
    many_of_owner_all_kept(policy, most) = "policy {policy} allows {most} keys of one owner, and you may delete none of them to make room; ask the owner";
    metadata_bytes(most) = "must be at most {most} bytes of JSON";
    name_taken(policy) = "the workspace has a key of this name already, and policy {policy} requires different names; choose another one";
    not_copied(policy) = "the secret was made before policy {policy} kept sealed copies; rotate the key for one that can be shown again";
    old_secret_works() = "the secret before the last rotation still works; wait for its end, or rotate without grace to end both";
    only_keys_rotate_themselves() = "only a key can rotate itself; sign in again for a new access token";
    owner_needed() = "is needed: the key acts for its owner";
    prefix() = "must be 2 to 16 characters of a-z and 0-9, beginning with a letter";
    prefix_reserved() = "is reserved for sessions";
    rate_window(most) = "must be 1 to {most} seconds";
    reader_cannot_rotate() = "a key that can only read cannot rotate itself; ask an administrator to rotate it";
    retried_otherwise(minutes) = "was used for another request within the last {minutes} minutes; use a new one";
    rotate_or_issue() = "rotate the key for a new one, or issue another key";
    shown_once(policy, next: Refusal) = "policy {policy} shows a secret once; {next}";
    used_too_fast() = "this key is used faster than its uses can be reserved";
}
