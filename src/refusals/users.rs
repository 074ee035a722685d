//! Users, their roles and passwords.

sentences! { "users":
    email() = "must be an e-mail address of ASCII characters";
    end_keys_unused() = "must be left out unless enabled is false";
    exists(user) = "there is a user {user} already";
    language() = "must be a language tag such as de";
    last_owner() = "this is the last owner of the root workspace; make another user an owner first";
    name() = "must be 1 to 100 characters of a-z, 0-9 and . _ - + @ \\, and no UUID";
    name_retired() = "this name cannot be used; choose another one, or ask an administrator of the root workspace";
    password_guessed_first() = "is a password that is guessed first; choose another one";
    role_twice() = "has a role in this list already";
    theme() = "must be dark, light or empty";
    time_zone() = "must be a time zone such as Europe/Berlin";
    unknown() = "there is no such user";
}
