//! Signing in, and the first start.

sentences! { "sessions":
    account_locked() = "this account is locked after 100 failed attempts; sign in with a one-time code as well, or from a network that was used before, or ask an administrator: latchkey user unlock";
    code_needed() = "is needed: this user signs in with one-time codes";
    code_unsupported() = "this user signs in with one-time codes as well; the password alone is not enough";
    current_password_needed() = "is needed to change your own password";
    current_password_wrong() = "the current password is another one";
    second_factor_demanded() = "your role needs a second factor, and you have none; sign in to the console, which leads you to set one up, and try again";
    setup_code() = "is not the code that the server printed at its start";
    setup_done() = "this server has been set up already; sign in";
    setup_second_factor(user) = "has a second factor, and this form has no field for its code. Remove it on the server first: latchkey user authenticators {user} --delete";
    setup_name_taken() = "is another user's";
    user_disabled() = "this user is disabled";
}
