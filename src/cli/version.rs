//! `latchkey version`: the version, and the public key with which releases are signed.

use crate::cli::failure::{End, Failure, Result};
use crate::cli::print::print;

/// The public key file of minisign: a line of comment and a line with the key.
const RELEASE_KEY: &str = include_str!("../../assets/release.pub");

/// What to print.
#[derive(clap::Args, Clone, Debug)]
pub struct VersionArgs {
    /// Print the public key of the releases, for `minisign -V -P`; exits 1 if this build names none
    #[arg(long)]
    public_key: bool,
}

pub fn run(args: &VersionArgs) -> Result<End> {
    if !args.public_key {
        print(concat!("latchkey ", env!("CARGO_PKG_VERSION")))?;
        return Ok(End::Done);
    }
    let key = key_of(RELEASE_KEY).ok_or_else(|| {
        Failure::refused(
            "this build names no public key of releases: the maker of the releases has to put it into assets/release.pub",
        )
    })?;
    print(key)?;
    Ok(End::Done)
}

/// The key in a public key file; `None` if a placeholder is there. A key is 42 bytes in Base64 and begins with the bytes
/// `Ed` (minisign(1), "Public key format").
fn key_of(file: &str) -> Option<&str> {
    let key = file.lines().nth(1)?.trim();
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"+/".contains(&b);
    (key.len() == 56 && key.starts_with("RW") && key.bytes().all(legal)).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_from_a_placeholder() {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        assert_eq!(
            key_of(&format!("untrusted comment: of a test\n{key}\n")),
            Some(key)
        );
        assert_eq!(
            key_of(&format!("untrusted comment: of a test\n{}\n", &key[1..])),
            None
        );
        assert_eq!(
            key_of("untrusted comment: none yet\n<public key of the releases>\n"),
            None
        );
        assert_eq!(key_of(key), None);
        assert_eq!(key_of(""), None);
    }
}
