//! What is wrong with a request before it concerns a noun: its credential, its form, its parameters, its body.

sentences! { "requests":
    body_not_array() = "the body must be a JSON array";
    body_not_json(cause) = "the body is not JSON: {cause}";
    body_not_object() = "the body must be a JSON object";
    body_too_large(bytes) = "the body is larger than {bytes} bytes";
    busy() = "too many requests are waiting; try again";
    content_type() = "the header Content-Type cannot be read";
    content_type_boundary() = "the header Content-Type names no usable boundary";
    credential_needed() = "a valid credential is needed";
    credentials_several() = "there is more than one credential in the request; send one";
    field_twice() = "a field of the form is there twice";
    fields_too_many() = "the form has too many fields";
    form_not_percent_encoded() = "the form is not UTF-8 in percent-encoding";
    form_not_utf8() = "the form is not UTF-8";
    host() = "this server does not answer for the host that was asked";
    if_match() = "this server gives no ETags, so no If-Match can hold; leave it out";
    invalid(field, reason: Refusal) = "{field}: {reason}";
    local_header() = "a valid credential is needed; a process of this machine needs none if it sends the header Latchkey-Local: 1 over HTTP/1.1";
    media_type(wanted) = "the body must be {wanted}";
    methods(allowed) = "this path takes {allowed}";
    multipart(why: Refusal) = "the multipart form {why}";
    multipart_after_boundary() = "has a boundary with something behind it";
    multipart_after_end() = "goes on after its end";
    multipart_begin() = "does not begin with its boundary";
    multipart_end() = "has a part without an end";
    multipart_head() = "has a part without a head";
    multipart_text() = "has a part that is no named text";
    multipart_too_many() = "has too many parts";
    not_found(what: Refusal) = "there is no such {what}";
    parameter_not_number(parameter) = "the parameter {parameter} must be a whole number";
    parameter_not_percent_encoded() = "a parameter is not UTF-8 in percent-encoding";
    parameter_null(parameter) = "the parameter {parameter} has the character U+0000";
    parameter_twice(parameter) = "the parameter {parameter} is there twice";
    parameter_unknown(parameter) = "there is no parameter {parameter}";
    parameters_too_many() = "there are too many parameters";
    too_many(seconds) = "too many requests; try again in {seconds} {seconds:second|seconds}";
    unread() = "too many answers wait for clients that do not read them; try again";
    wait() = "the parameter wait must be sites";
}
