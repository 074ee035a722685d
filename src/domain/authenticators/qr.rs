//! QR codes, from which an authenticator app reads the secret of one-time codes. This file computes which modules are
//! dark; pages and the command line draw them.

use crate::error::{Error, Result};
use qrcodegen::{QrCode, QrCodeEcc};

/// The width of the light border that readers need, in modules (ISO/IEC 18004).
pub const BORDER: usize = 4;

/// The modules of a QR code, without the border.
pub struct Qr(QrCode);

impl Qr {
    pub fn of(text: &str) -> Result<Qr> {
        let code = QrCode::encode_text(text, QrCodeEcc::Medium);
        code.map(Qr)
            .map_err(|_| Error::internal("the text is too long for a QR code"))
    }

    /// As [`Qr::of`], with the least correction of errors, for as much text as a code can hold.
    pub fn dense(text: &str) -> Result<Qr> {
        let code = QrCode::encode_text(text, QrCodeEcc::Low);
        code.map(Qr)
            .map_err(|_| Error::internal("the text is too long for a QR code"))
    }

    /// The number of modules along each side.
    pub fn side(&self) -> usize {
        usize::try_from(self.0.size()).unwrap_or(0)
    }

    /// Whether a module is dark; everything outside is light.
    pub fn is_dark(&self, column: usize, row: usize) -> bool {
        let place = |n: usize| i32::try_from(n).unwrap_or(-1);
        self.0.get_module(place(column), place(row))
    }

    /// The dark modules as the path of an SVG image, in units of one module, with the border: `M4 4h7v1h-7z…`.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for row in 0..self.side() {
            let mut column = 0;
            while column < self.side() {
                let width = (column..self.side())
                    .take_while(|x| self.is_dark(*x, row))
                    .count();
                if width > 0 {
                    let (x, y) = (column + BORDER, row + BORDER);
                    path += &format!("M{x} {y}h{width}v1h-{width}z");
                }
                column += width.max(1);
            }
        }
        path
    }

    /// The code for a terminal, with the border: one character shows two rows. The caller prints it dark on light.
    pub fn half_blocks(&self) -> Vec<String> {
        let whole = self.side() + 2 * BORDER;
        let is_dark = |x: usize, y: usize| {
            let inside = x.checked_sub(BORDER).zip(y.checked_sub(BORDER));
            inside.is_some_and(|(x, y)| self.is_dark(x, y))
        };
        let symbol = |x: usize, y: usize| match (is_dark(x, y), is_dark(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        let rows = (0..whole).step_by(2);
        rows.map(|y| (0..whole).map(|x| symbol(x, y)).collect())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_drawings_have_the_three_corners_and_the_border() {
        let qr = Qr::of("otpauth://totp/Latchkey:alice?secret=GEZDGNBVGY3TQOJQ").unwrap();
        let side = qr.side();
        assert!(qr.is_dark(0, 0) && qr.is_dark(6, 0) && !qr.is_dark(7, 0));
        assert!(!qr.is_dark(side, 0) && !qr.is_dark(0, side));
        // The upper edges of the two upper corners.
        let path = qr.path();
        assert!(path.starts_with("M4 4h7v1h-7z"), "{path}");
        assert!(path.contains(&format!("M{} 4h7v1h-7z", side - 7 + BORDER)));
        let lines = qr.half_blocks();
        assert_eq!(lines.len(), (side + 2 * BORDER).div_ceil(2));
        assert!(
            lines
                .iter()
                .all(|line| line.chars().count() == side + 2 * BORDER)
        );
        assert!(lines[0].trim().is_empty() && lines[1].trim().is_empty());
        assert!(lines[2].starts_with("    █▀▀▀▀▀█ "), "{}", lines[2]);
        assert!(Qr::of(&"x".repeat(3000)).is_err());
    }
}
