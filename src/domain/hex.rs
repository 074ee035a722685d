//! Bytes as hexadecimal digits.

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    let pair = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(pair).collect()
}

/// Reads hexadecimal digits of either case; `None` if the text is something else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| {
        let value = digit(*high)? << 4 | digit(*low)?;
        u8::try_from(value).ok()
    });
    rest.is_empty().then(|| bytes.collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is_read() {
        assert_eq!(hex(&[0, 0x1f, 0xab]), "001fab");
        assert_eq!(unhex("001fAB"), Some(vec![0, 0x1f, 0xab]));
        assert_eq!(unhex(""), Some(Vec::new()));
        for bad in ["0", "0g", "é", "00 ", "+1"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
