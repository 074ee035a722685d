//! Makes what is compiled into the program in compressed form: the languages of the console, which would be 5 % of the
//! program and are a third of that when compressed, and the bill of materials with all licences.

#![allow(clippy::disallowed_methods)] // Files of a build are not those of a data folder.

mod bill;

use bill::Bill;
use std::io::{Result, Write};
use std::path::{Path, PathBuf};
use std::{env, fs};

const LANGUAGES: [&str; 6] = ["de", "es", "fr", "it", "ja", "pl"];

/// What the bill follows from, besides the compiler.
const INPUTS_OF_BILL: [&str; 3] = ["Cargo.lock", "Cargo.toml", "dev/bill.rs"];

fn main() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed=dev/build.rs");
    for language in LANGUAGES {
        let file = format!("assets/console/{language}.txt");
        println!("cargo::rerun-if-changed={file}");
        pack(&out.join(format!("{language}.deflate")), &fs::read(&file)?)?;
    }
    for input in INPUTS_OF_BILL {
        println!("cargo::rerun-if-changed={input}");
    }
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // A build goes on without the bill; the program then says that it has none, and dev/release does not accept it.
    let bill = bill::make().unwrap_or_else(|why| {
        println!("cargo::warning=there is no bill of materials in this build: {why}");
        Bill {
            sbom: String::new(),
            licences: String::new(),
        }
    });
    for (name, text) in [("sbom", bill.sbom), ("licenses", bill.licences)] {
        // The plain text is for dev/release, which cannot run a program for another machine.
        fs::write(out.join(format!("{name}.txt")), &text)?;
        pack(&out.join(format!("{name}.deflate")), text.as_bytes())?;
    }
    Ok(())
}

fn pack(file: &Path, bytes: &[u8]) -> Result<()> {
    let mut encoder = libflate::deflate::Encoder::new(Vec::new());
    encoder.write_all(bytes)?;
    fs::write(file, encoder.finish().into_result()?)
}
