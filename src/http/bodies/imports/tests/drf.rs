//! Tables of djangorestframework-api-key.

use super::*;

const GOOD: &str = "id,prefix,hashed_key,created,name,revoked,expiry_date\n\
    x,Wxbik5nt,pbkdf2_sha256$1000$salt$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=,2025-01-01 00:00:00+00,ci,f,\n";
const DIGEST: &str = "pbkdf2_sha256$1000$salt$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

#[test]
fn malformed_tables_are_refused_with_their_line() {
    refused(
        Source::Drf,
        GOOD,
        &[
            ("id,prefix", "id,id,prefix", 1, "there twice"),
            ("id,prefix", "id,start", 2, "no prefix"),
            ("hashed_key", "hash", 2, "no hashed_key"),
            ("revoked", "is_revoked", 2, "no revoked"),
            ("expiry_date", "expires", 2, "no expiry_date"),
            ("id,prefix", ",prefix", 1, "no name"),
            ("x,Wxbik5nt", "x,y,Wxbik5nt", 2, "8 cells"),
            (",ci,f,", ",ci,f", 2, "6 cells"),
            (",ci,", ",\"ci,", 2, "never closed"),
            (",ci,", ",c\"i,", 2, "quotation mark inside"),
            ("Wxbik5nt", "", 2, "found_by"),
            ("Wxbik5nt", "Wx bik", 2, "visible ASCII"),
            (DIGEST, "", 2, "digest"),
            (DIGEST, "sha512$$abcd", 2, "no digest of a known form"),
            (
                DIGEST,
                "sha1$salt$2aae6c35c94fcfb415dbe95f408b9ce91ee846ed",
                2,
                "SHA-1",
            ),
            (
                DIGEST,
                "md5$salt$900150983cd24fb0d6963f7d28e17f72",
                2,
                "MD5",
            ),
            (DIGEST, "bcrypt_sha256$$2b$12$abc", 2, "bcrypt-SHA-256"),
            (DIGEST, "scrypt$16384$salt$8$5$abc", 2, "scrypt"),
            (DIGEST, "argon2$argon2d$v=19$m=1$a$b", 2, "Argon2d"),
            (DIGEST, "plain-text-of-somebody", 2, "must be a digest"),
            ("1000$", "9000000$", 2, "takes too long"),
            ("1000$", "many$", 2, "must be a digest"),
            ("hSuFU=", "hSuF", 2, "must be a digest"),
            (",f,", ",maybe,", 2, "true or false"),
            (",f,", ",,", 2, "revoked"),
            (",f,", ",t,", 2, "revoked for good"),
            ("f,\n", "f,soon\n", 2, "expiry_date of ci"),
            ("2025-01-01 00:00:00+00", "yesterday", 2, "created of ci"),
            (
                "",
                "id,prefix,hashed_key,revoked,expiry_date\n",
                1,
                "no keys of drf",
            ),
            ("", "[{\"prefix\":\"a\"}]", 1, "no hashed_key"),
        ],
    );
}

#[test]
fn hashers_of_django_are_taken_with_the_prefix() {
    let argon2 = "$argon2id$v=19$m=102400,t=2,p=8$c29tZXNhbHRzYWx0$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    let bcrypt = "$2b$12$NBlwv5fCvYsg/vlZjmDp9uONalQpKIB1o8wOFSSn2ZzSg6UE8jERC";
    for (hasher, digest) in [
        ("bcrypt$", bcrypt),
        ("argon2", &argon2.replace("102400", "65536")),
    ] {
        let text = GOOD.replace(DIGEST, &format!("\"{hasher}{digest}\""));
        let parsed = parse(Source::Drf, text.as_bytes()).unwrap();
        assert_eq!(parsed.keys.len(), 1, "{}", shown(&parsed));
        assert_eq!(parsed.keys[0].digest, *digest);
        assert_eq!(parsed.keys[0].found_by.as_deref(), Some("Wxbik5nt."));
    }
    // Django's own parameters for Argon2 need more memory than this server spends.
    refused_whole(
        Source::Drf,
        GOOD.replace(DIGEST, &format!("\"argon2{argon2}\""))
            .as_bytes(),
        2,
        "takes too long",
    );
}
