//! Files with secret bytes outside the database: one line for each version, `<version> <64 hexadecimal digits>`, in
//! ascending order.

use super::pepper::Peppers;
use super::sealing::SealingKeys;
use crate::error::{Error, Result};
use std::sync::Arc;

/// The keys without which a database cannot be used.
#[derive(Clone)]
pub struct KeyFiles {
    pub peppers: Arc<Peppers>,
    pub sealing: Arc<SealingKeys>,
}

/// Generates the bytes of version 1, and returns them with the text of the file.
pub(super) fn draw() -> Result<([u8; 32], String)> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((bytes, format!("1 {hex}\n")))
}

/// Reads a file; the newest version is the last. `None` if the file is damaged or empty.
pub(super) fn parse(text: &str) -> Option<Vec<(u32, [u8; 32])>> {
    let mut versions: Vec<(u32, [u8; 32])> = Vec::new();
    for line in text.lines() {
        let (version, hex) = line.split_once(' ')?;
        let version = version.parse().ok()?;
        if versions.last().is_some_and(|(last, _)| *last >= version) {
            return None;
        }
        versions.push((version, unhex(hex)?));
    }
    (!versions.is_empty()).then_some(versions)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // attacks 234
    #[test]
    fn damaged_files_are_refused() {
        let good = format!("1 {}", "ab".repeat(32));
        assert!(parse(&good).is_some());
        let two = format!("{good}\n3 {}\n", "cd".repeat(32));
        assert_eq!(parse(&two).unwrap()[1], (3, [0xcd; 32]));
        for bad in [
            "",
            "\n",
            "1",
            "1 ab",
            &"ab".repeat(32),
            &format!("x {}", "ab".repeat(32)),
            &format!("1 {}", "zz".repeat(32)),
            &format!("{good}\n{good}"),
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
