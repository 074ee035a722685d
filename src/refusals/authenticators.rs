//! One-time codes, and the secrets that they follow from.

sentences! { "authenticators":
    algorithm() = "must be of the algorithm SHA1";
    base32() = "must have a secret in Base32";
    code() = "is not the one that follows from the secret";
    demanded() = "your role needs a second factor, so you cannot switch it off; if you have lost it, ask an administrator to reset it";
    digits() = "must be of six digits";
    exists() = "you have one-time codes already; delete these first";
    none() = "this user has no one-time codes; set these up first";
    one_secret() = "must have one secret";
    period() = "must be of a period of 30 seconds";
    personal() = "only a user who has signed in can do this; a key cannot do it for the user";
    secret() = "must have a secret";
    secret_bits() = "must have a secret of 128 to 512 bits";
    sign_in_again() = "you signed in more than 15 minutes ago; sign in again to change your second factor";
    setup_over() = "is over after 30 minutes, after a change of the password, and once it was used, and belongs to one user; begin again";
    url() = "must be an otpauth://totp/ URL";
}
