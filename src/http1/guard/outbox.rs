//! An answer that is being sent.

use bytes::{Buf, Bytes};

/// A body of at most this many bytes is appended to its head, because a copy costs less than a separate write.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// How much memory an outbox keeps between two answers.
const KEPT_BYTES: usize = 2 * 1024;

/// Bytes to send, and the body of the answer as a reference: a large body is not copied for each client.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// How many of `bytes` have been sent.
    sent: usize,
    body: Bytes,
}

impl Outbox {
    /// The buffer to write response heads to. No head may be written after a body.
    pub fn head(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a body to its head.
    pub fn put_body(&mut self, body: Bytes) {
        if body.len() <= COPIED_BYTES_MAX {
            self.bytes.extend_from_slice(&body);
        } else {
            self.body = body;
        }
    }

    /// The bytes to send next; empty if nothing is left.
    pub fn next(&self) -> &[u8] {
        match self.bytes.get(self.sent..) {
            Some(bytes) if !bytes.is_empty() => bytes,
            _ => &self.body,
        }
    }

    /// Marks so many bytes of [`Outbox::next`] as sent.
    pub fn advance(&mut self, bytes: usize) {
        if self.sent < self.bytes.len() {
            self.sent += bytes;
        } else {
            self.body.advance(bytes);
        }
        if self.next().is_empty() {
            self.sent = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
            self.body = Bytes::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_body_is_copied_and_a_large_one_is_not() {
        for length in [0, 1, COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1, 1 << 20] {
            let body = Bytes::from(vec![b'x'; length]);
            let mut outbox = Outbox::default();
            outbox.head().extend_from_slice(b"head");
            outbox.put_body(body.clone());
            assert_eq!(outbox.bytes.capacity() > length, length <= COPIED_BYTES_MAX);
            let mut sent = Vec::new();
            while !outbox.next().is_empty() {
                let taken = outbox.next().len().div_ceil(2);
                sent.extend_from_slice(&outbox.next()[..taken]);
                outbox.advance(taken);
            }
            assert_eq!(sent, [b"head", body.as_ref()].concat());
            drop(outbox);
            assert!(length == 0 || body.is_unique());
        }
    }
}
