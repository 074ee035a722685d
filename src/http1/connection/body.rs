//! Decodes a body as its bytes arrive. This file does no I/O.

use crate::http1::head::Framing;
use crate::http1::limits::{Limits, SMALL_BODY_BYTES};
use crate::http1::{Fault, chunked};

/// A body that has arrived in part.
pub struct Decoder {
    pub body: Vec<u8>,
    limit_bytes: usize,
    framing: Progress,
}

/// What is missing.
enum Progress {
    Chunked(chunked::Scan),
    Sized { left: usize },
}

impl Decoder {
    /// A body that is announced as too large is refused before the client sends it; so is one that could never be held
    /// in memory.
    pub fn new(framing: Framing, limit_bytes: usize, limits: &Limits) -> Result<Decoder, Fault> {
        let held_max = limits.bodies_bytes_max.saturating_add(SMALL_BODY_BYTES);
        let limit_bytes = limit_bytes.min(held_max);
        let (framing, reserved) = match framing {
            Framing::Chunked => (Progress::Chunked(chunked::Scan::new()), 0),
            Framing::Sized(length) => match usize::try_from(length) {
                // A buffer that grows takes up to twice the size of its content, so the announced length is reserved if
                // it is small.
                Ok(left) if left <= limit_bytes => {
                    (Progress::Sized { left }, left.min(SMALL_BODY_BYTES))
                }
                _ => return Err(Fault::TooLarge { limit_bytes }),
            },
        };
        Ok(Decoder {
            body: Vec::with_capacity(reserved),
            limit_bytes,
            framing,
        })
    }

    pub fn is_done(&self) -> bool {
        match &self.framing {
            Progress::Chunked(scan) => scan.is_done(),
            Progress::Sized { left } => *left == 0,
        }
    }

    /// Continues with `bytes`, and returns how many of them belong to the body.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        match &mut self.framing {
            Progress::Chunked(scan) => {
                let taken = scan
                    .decode(bytes, &mut self.body)
                    .map_err(Fault::BadFraming)?;
                match self.body.len() > self.limit_bytes {
                    true => Err(Fault::TooLarge {
                        limit_bytes: self.limit_bytes,
                    }),
                    false => Ok(taken),
                }
            }
            Progress::Sized { left } => {
                let taken = bytes.len().min(*left);
                self.body.extend_from_slice(&bytes[..taken]);
                *left -= taken;
                Ok(taken)
            }
        }
    }
}
