//! The file of a pack: a first line, the length of the head, the head, the body.

use super::Checked;
use super::body::{Body, sha256};
use super::head::{HEAD_BYTES_MAX, Head};
#[cfg(test)]
use super::{head::SignedHead, note::PublicKey};
use crate::refusals;

/// What a pack begins with.
pub const MAGIC: &[u8; 8] = b"LKPACK1\n";
/// The number of bytes of a file; a larger one need not be read.
pub const FILE_BYTES_MAX: usize = MAGIC.len() + 4 + HEAD_BYTES_MAX + super::body::BODY_BYTES_MAX;

/// A file in its parts; nothing is checked yet.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub head: &'a [u8],
    pub body: &'a [u8],
}

/// The bytes of a file.
pub fn write(head: &str, body: &[u8]) -> Vec<u8> {
    let length = (head.len() as u32).to_be_bytes();
    [MAGIC, &length[..], head.as_bytes(), body].concat()
}

/// Divides the bytes of a file.
pub fn split(file: &[u8]) -> Checked<Parts<'_>> {
    let rest = file.strip_prefix(MAGIC);
    let rest = rest.ok_or_else(refusals::packs::no_pack)?;
    let divide = || {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let fits = (1..=HEAD_BYTES_MAX).contains(&length);
        let (head, body) = rest.split_at_checked(length).filter(|_| fits)?;
        Some(Parts { head, body })
    };
    divide().ok_or_else(refusals::packs::cut)
}

/// The head of a file, of which the beginning is enough. No signature is checked.
pub fn head_of(start: &[u8]) -> Checked<Head> {
    Ok(Head::peek(split(start)?.head)?.1)
}

/// Reads a file whose head was signed by a key that a site trusts.
#[cfg(test)]
pub fn open(file: &[u8], trusted: &[PublicKey]) -> Checked<(SignedHead, Body)> {
    let parts = split(file)?;
    let signed = Head::open(parts.head, trusted)?;
    let body = body_of(&signed.head, parts.body)?;
    Ok((signed, body))
}

/// Reads the body that belongs to a head.
pub fn body_of(head: &Head, body: &[u8]) -> Checked<Body> {
    check_body(head, body)?;
    let body = Body::read_known(body.to_vec(), head.sha256)?;
    if body.base().is_none() != head.is_whole() {
        return Err(refusals::packs::body("beginning"));
    }
    Ok(body)
}

/// Compares the bytes of a body with its length and hash in the head.
pub fn check_body(head: &Head, body: &[u8]) -> Checked<()> {
    if usize::try_from(head.bytes).ok() != Some(body.len()) {
        return Err(refusals::packs::cut());
    }
    if sha256(body) != head.sha256 {
        return Err(refusals::packs::changed());
    }
    Ok(())
}
