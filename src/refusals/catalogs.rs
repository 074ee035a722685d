//! Catalogs: scopes, operations and path templates.

sentences! { "catalogs":
    all_of_beside_closed() = "is empty, which closes the operation to every key, so all_of must be left out";
    any_key_alone() = "opens the operation to every key, so all_of and any_of must be left out";
    built_in(catalog) = "the catalog {catalog} is built in";
    host() = "must be a host name in lower case, without port and final dot";
    implies_too_much() = "imply one another in too many ways";
    in_use(catalog) = "keys of catalog {catalog} exist (deleted ones count), or a policy names it; it has to stay";
    method() = "must be an HTTP method in upper case, such as GET";
    name_built_in(catalog) = "the catalog {catalog} is built in; choose another name";
    parameter_name() = "has a parameter whose name is not made of letters, digits, - and _";
    parameter_unclosed() = "has a parameter without its closing brace";
    patterns_at_most(most) = "is one of more than {most} that combine text and a parameter at the same place";
    requirement_missing() = "is needed, or all_of, or \"any_key\": true for every key; an empty any_of is for an operation that no key opens";
    resource_metadata(most) = "must be an https URL of at most {most} visible ASCII characters without quotes, backslashes and #, such as https://api.example/.well-known/oauth-protected-resource";
    rest_beside_text() = "must not have text before or after {…...}";
    rest_not_last() = "may have {…...} only at its end";
    same_operation(position) = "has the same method and path as operations[{position}]";
    scope_name() = "must be 1 to 100 visible ASCII characters without blanks, commas, quotes and backslashes, such as invoices:read";
    segment_never_requested() = "has a segment that no request could have";
    segment_with_blanks() = "has a segment that no request could have: one that begins with a blank, or ends with a blank or a dot";
    segments_at_most(most) = "must have at most {most} segments";
    slash() = "must begin with a slash";
    too_large() = "has too many segments, or too many parameters and literal segments at the same place";
    unknown(catalog) = "there is no catalog {catalog}";
    unknown_scope(scope) = "{scope} is no scope of this catalog";
    unknown_scope_of(catalog) = "is no scope of catalog {catalog}";
}
