//! Random identifiers of workspaces and users: UUIDs of version 4 (RFC 9562, section 5.4).

use crate::domain::random;
use crate::error::Result;

/// A UUID, written in lower case with hyphens.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Uid(pub u128);

impl Uid {
    /// Generates a new identifier from the random source of the operating system.
    pub fn generate() -> Result<Uid> {
        let mut bytes = [0; 16];
        random::fill(&mut bytes)?;
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Ok(Uid(u128::from_be_bytes(bytes)))
    }

    /// Reads the 36-character form, upper or lower case.
    pub fn parse(text: &str) -> Option<Uid> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return None;
        }
        let mut value: u128 = 0;
        for (position, byte) in bytes.iter().enumerate() {
            if matches!(position, 8 | 13 | 18 | 23) {
                if *byte != b'-' {
                    return None;
                }
                continue;
            }
            value = value << 4 | u128::from(char::from(*byte).to_digit(16)?);
        }
        Some(Uid(value))
    }
}

impl std::fmt::Display for Uid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let v = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            v >> 96,
            v >> 80 & 0xffff,
            v >> 64 & 0xffff,
            v >> 48 & 0xffff,
            v & 0xffff_ffff_ffff
        )
    }
}

impl std::fmt::Debug for Uid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let uid = Uid::generate().unwrap();
        assert_eq!(Uid::parse(&uid.to_string()), Some(uid));
        assert_eq!(uid.to_string().as_bytes()[14], b'4');
        for refused in [
            "",
            "955b0b80-03b2-49fd-bf38-14785ecff0a",
            "955b0b8003b2-49fd-bf38-14785ecff0a8-",
            "955b0b80-03b2-49fd-bf38-14785ecff0ag",
        ] {
            assert_eq!(Uid::parse(refused), None, "{refused}");
        }
    }
}
