//! Recognises files that this program cannot search by their first bytes: archives and encrypted files.

/// The first bytes of each kind, and its name.
#[rustfmt::skip]
const KINDS: &[(&[u8], &str)] = &[
    (b"PK\x03\x04",                    "zip archive"),
    (b"PK\x05\x06",                    "zip archive"),
    (b"\xfd7zXZ\0",                    "compressed with xz"),
    (b"\x28\xb5\x2f\xfd",              "compressed with zstd"),
    (b"BZh",                           "compressed with bzip2"),
    (b"7z\xbc\xaf\x27\x1c",            "7-Zip archive"),
    (b"Rar!\x1a\x07",                  "rar archive"),
    (b"\x04\x22\x4d\x18",              "compressed with lz4"),
    (b"LZIP\x01",                      "compressed with lzip"),
    (b"\x1f\x9d",                      "compressed with compress"),
    (b"\x5d\x00\x00",                  "compressed with lzma"),
    (b"age-encryption.org/",           "encrypted with age"),
    (b"-----BEGIN AGE ENCRYPTED FILE", "encrypted with age"),
    (b"-----BEGIN PGP MESSAGE-----",   "encrypted with OpenPGP"),
    (b"Salted__",                      "encrypted with openssl"),
    (b"U2FsdGVkX1",                    "encrypted with openssl"),
    (b"$ANSIBLE_VAULT;",               "encrypted with Ansible Vault"),
    (b"\0GITCRYPT\0",                  "encrypted with git-crypt"),
    (b"LUKS\xba\xbe",                  "encrypted with LUKS"),
];

/// The kind of a file whose content this program cannot read; `None` for all other files.
pub fn kind(begin: &[u8]) -> Option<&'static str> {
    let is_bzip2 = |begin: &[u8]| matches!(begin.get(3..5), Some([b'1'..=b'9', b'1' | 0x17]));
    let (magic, name) = KINDS.iter().find(|(magic, _)| begin.starts_with(magic))?;
    (*magic != b"BZh" || is_bzip2(begin)).then_some(*name)
}

/// The kind of decoded bytes. Kinds with short marks are left out, because these occur by chance.
pub fn kind_of_decoded(begin: &[u8]) -> Option<&'static str> {
    let is_by_chance = begin.starts_with(b"\x1f\x9d") || begin.starts_with(b"\x5d\0\0");
    kind(begin).filter(|_| !is_by_chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_follows_from_the_first_bytes() {
        assert_eq!(kind(b"PK\x03\x04rest"), Some("zip archive"));
        assert_eq!(kind(b"BZh91AY&SY"), Some("compressed with bzip2"));
        assert_eq!(kind(b"BZhello"), None);
        assert_eq!(kind(b"PKI is a word"), None);
        assert_eq!(kind(b""), None);
    }
}
