//! A QR code as a PNG picture (ISO/IEC 15948): grey with one bit a pixel, in blocks of zlib that are stored as they are.

use crate::domain::authenticators::qr::{BORDER, Qr};

/// The width of a module in pixels.
const SCALE: usize = 4;
/// The number of bytes of a block that is stored as it is (RFC 1951, 3.2.4).
const BLOCK: usize = 65_535;

/// The bytes of the picture.
pub fn of(qr: &Qr) -> Vec<u8> {
    let side = (qr.side() + 2 * BORDER) * SCALE;
    let is_dark = |x: usize, y: usize| {
        let module = |pixel: usize| (pixel / SCALE).checked_sub(BORDER);
        let inside = module(x).zip(module(y));
        inside.is_some_and(|(column, row)| qr.is_dark(column, row))
    };
    let mut rows = Vec::with_capacity(side * (side / 8 + 2));
    for y in 0..side {
        // Each row names its filter: none.
        rows.push(0);
        for x in (0..side).step_by(8) {
            let bit = |place: usize| {
                let is_light = x + place < side && !is_dark(x + place, y);
                u8::from(is_light) << (7 - place)
            };
            rows.push((0..8).map(bit).sum());
        }
    }
    let width = (side as u32).to_be_bytes();
    let head = [&width[..], &width, &[1, 0, 0, 0, 0]].concat();
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut bytes, b"IHDR", &head);
    chunk(&mut bytes, b"IDAT", &stored(&rows));
    chunk(&mut bytes, b"IEND", &[]);
    bytes
}

fn chunk(bytes: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    bytes.extend((content.len() as u32).to_be_bytes());
    let start = bytes.len();
    bytes.extend(kind);
    bytes.extend(content);
    let check = crc32(&bytes[start..]);
    bytes.extend(check.to_be_bytes());
}

/// The format of zlib (RFC 1950) without compression.
fn stored(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x78, 0x01];
    let mut blocks = content.chunks(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        bytes.push(u8::from(blocks.peek().is_none()));
        bytes.extend(length.to_le_bytes());
        bytes.extend((!length).to_le_bytes());
        bytes.extend(block);
    }
    let (mut one, mut two) = (1_u32, 0_u32);
    for byte in content {
        one = (one + u32::from(*byte)) % 65_521;
        two = (two + one) % 65_521;
    }
    bytes.extend((two << 16 | one).to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_picture_have_their_checks() {
        assert_eq!(crc32(b"IEND"), 0xae42_6082);
        let qr = Qr::of("LKREV1:ABC").unwrap();
        let bytes = of(&qr);
        assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"));
        assert!(bytes.ends_with(b"IEND\xae\x42\x60\x82"));
        // The example of RFC 1950's checksum: Adler-32 of "Wikipedia".
        assert!(stored(b"Wikipedia").ends_with(&[0x11, 0xe6, 0x03, 0x98]));
        let long = stored(&[7; BLOCK + 1]);
        assert_eq!(long[2], 0);
        assert_eq!(long[2 + 5 + BLOCK], 1);
    }
}
