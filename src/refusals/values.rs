//! Values of any member: their type, length and form. These sentences follow the name of the member.

sentences! { "values":
    at_least_one() = "must be at least 1";
    at_most(most) = "must be at most {most}";
    between(most) = "must be 1 to {most}";
    blank_ends() = "must not begin or end with a blank";
    bytes_at_most(most) = "must be at most {most} bytes long";
    characters_at_least(least) = "must have at least {least} characters";
    characters_at_most(most) = "must have at most {most} characters";
    combining(character) = "must not contain the combining character U+{character}; write the composed letter";
    empty() = "must not be empty";
    entries(most) = "must have 1 to {most} entries";
    entries_at_most(most) = "must have at most {most} entries";
    flag() = "must be true or false";
    invisible(character) = "must not contain the control or invisible character U+{character}";
    needed() = "is needed";
    not_utf8() = "is not UTF-8 text; save it as UTF-8";
    null() = "must not be null";
    number() = "must be a whole number from 0 to 2^53";
    numbers() = "must be a list of whole numbers";
    number_ambiguous() = "is a number that not every program reads alike; write whole numbers beyond 2^53, decimals of more than 15 digits and a negative zero as strings";
    object() = "must be an object";
    objects() = "must be a list of objects";
    one_of(words) = "must be one of {words}";
    slug() = "must be 1 to 63 characters of a-z, 0-9, - and _, beginning with a letter or digit, and no UUID";
    text() = "must be a string";
    text_or_number() = "must be a string or a number";
    texts() = "must be a list of strings";
    time() = "must be an RFC 3339 date-time such as 2027-01-31T00:00:00Z";
    twice() = "is there twice";
    unknown_member() = "is no member of this request";
    utf16() = "is UTF-16 text, or no text at all: it has bytes that only UTF-16 has. Windows PowerShell writes UTF-16 with `>`; save the text as UTF-8, for example with: Set-Content -Encoding utf8";
}
