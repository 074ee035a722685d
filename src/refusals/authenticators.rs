//! One-time codes, and the secrets that they follow from.

sentences! { "authenticators":
    algorithm() = "must be of the algorithm SHA1";
    base32() = "must have a secret in Base32";
    code() = "is not the one that follows from the secret";
    digits() = "must be of six digits";
    exists() = "you have one-time codes already; delete these first";
    one_secret() = "must have one secret";
    period() = "must be of a period of 30 seconds";
    personal() = "only a user who has signed in can do this; a key cannot do it for the user";
    secret() = "must have a secret";
    secret_bits() = "must have a secret of 128 to 512 bits";
    url() = "must be an otpauth://totp/ URL";
}
