//! Why a key would or would not open a request, and what would change it: the answers of a trial of a key.

sentences! { "trial":
    address(address, list) = "{address} is not among the addresses of the key ({list}); add it to the key, or send the request from one of them";
    address_missing(list) = "the key works only from certain addresses ({list}), and the trial has no address; enter the address of the client";
    catalog(asked, own) = "the request is judged by catalog {asked}, but the scopes of the key belong to catalog {own}; ask for catalog {own}, or issue a key of catalog {asked}";
    catalog_none(asked) = "the request is judged by catalog {asked}, but the key belongs to no catalog; issue a key of catalog {asked}";
    changed_outside() = "the key's policy was changed outside Latchkey, so its keys open nothing until the administrator of the machine accepts the change";
    closed(request) = "the catalog closes {request} to all keys; change the operation in the catalog";
    decoy() = "the key is a decoy: every request with it is answered as if the key were unknown, and is recorded; use a key of another policy";
    deleted() = "the key is deleted, and deletion is for good; issue a new key";
    disabled() = "the key is disabled; enable it";
    expired(at) = "the key expired at {at}; give it a later end";
    good() = "the key opens this request";
    ip() = "must be an IPv4 or IPv6 address";
    needed_beside(member) = "is needed together with {member}";
    no_catalog(request) = "which scopes {request} needs is not known, because the key belongs to no catalog; try scopes without a path, or issue a key of a catalog";
    no_scope() = "no scopes";
    not_yet_valid(at) = "the key works only from {at} on; wait until then, or make it valid earlier";
    outside_workspace(workspace) = "the key reaches its workspace {workspace} and those below it, and not the one of the request; issue a key there, or in a workspace above both";
    owner_disabled() = "the owner of the key is disabled; enable the user";
    owner_role(owner) = "the key acts for its owner {owner}, and none of the owner's roles permits this request; give the user a role that does";
    rate_limited(limit, window, reset) = "the limit of {limit} {limit:request|requests} in {window} {window:second|seconds} is used up now; wait {reset} {reset:second|seconds}, or raise the limit of the key or of its policy";
    read_only(request) = "{request} changes something, and the key is read-only; give the key write access";
    scopes(request, needed: Refusal, held: Refusal) = "{request} needs {needed}; this key has {held}; add what is missing to the key";
    scopes_all(scopes) = "{scopes}";
    scopes_both(all, any) = "{all} and one of {any}";
    scopes_one(scopes) = "one of {scopes}";
    this_request() = "this request";
    unknown_catalog() = "there is no catalog of this name";
    unknown_operation(request, catalog) = "catalog {catalog} has no operation for {request}, and what a catalog does not name is refused; add the operation to the catalog";
    unsafe_request(request) = "servers may read {request} in different ways, so it is refused; send the path without encoded slashes, dot segments and the like";
    usage_exceeded() = "the key has no uses left; give it more";
    workspace_disabled(workspace) = "workspace {workspace}, or one above it, is disabled; enable it";
}
