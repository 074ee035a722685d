//! `latchkey sbom` and `latchkey licenses`: what this program is made of. `dev/build.rs` puts both documents into it.

use crate::cli::failure::{End, Failure, Result};
use crate::cli::print::print_bytes;
use libflate::deflate::Decoder;
use std::io::Read;

/// The bill of materials, in CycloneDX 1.5.
const SBOM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sbom.deflate"));
/// A list of all parts with their licences, and the texts of these.
const LICENCES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/licenses.deflate"));

/// Prints the bill of materials.
pub fn sbom() -> Result<End> {
    show(SBOM)
}

/// Prints the licences.
pub fn licences() -> Result<End> {
    show(LICENCES)
}

fn show(packed: &[u8]) -> Result<End> {
    let mut bytes = Vec::new();
    let unpacked = Decoder::new(packed).read_to_end(&mut bytes);
    unpacked.map_err(|err| Failure::refused(format!("the document cannot be unpacked: {err}")))?;
    if bytes.is_empty() {
        return Err(Failure::refused(
            "this program was built where Cargo could not say what it is made of; a release can (dev/release)",
        ));
    }
    print_bytes(&bytes)?;
    Ok(End::Done)
}
