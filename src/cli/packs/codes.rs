//! Revocations as QR codes: on a terminal, as pictures, or as their texts.

use super::png;
use crate::cli::arguments::Body;
use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::output_file::Output;
use crate::cli::print;
use crate::cli::print::Common;
use crate::domain::authenticators::qr::{BORDER, Qr};
use crate::domain::text::counted;
use crate::files::Readers;
use serde::Deserialize;
use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct RevocationsAnswer {
    codes: Vec<String>,
    keys: u64,
    whole_keys: u64,
}

/// Where codes go.
enum Destination<'a> {
    Png(&'a Path),
    Svg(&'a Path),
    Terminal,
    Texts(&'a Path),
}

pub fn run(
    server: &Server,
    common: &Common,
    site: Option<&str>,
    since: Option<u64>,
    qr: &Path,
) -> Result<End> {
    let ending = qr.extension().and_then(|ending| ending.to_str());
    let destination = match (qr.to_str(), ending) {
        (Some("-"), _) => Destination::Terminal,
        (_, Some("png")) => Destination::Png(qr),
        (_, Some("svg")) => Destination::Svg(qr),
        (_, Some("txt")) => Destination::Texts(qr),
        _ => {
            return Err(Failure::Usage(
                "the name of the file must end with .png, .svg or .txt; - is the terminal"
                    .to_owned(),
            ));
        }
    };
    let body = Body::default().with("site", site).with("since", since);
    let target = Target::of(&["packs", "revocations"]);
    let answer = server.ask("POST", &target, Some(&body.value()))?;
    let found: RevocationsAnswer = answer.json()?;
    let files = write(&destination, &found.codes)?;
    if common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let keys = counted(found.keys, "key");
    let codes = counted(found.codes.len() as u64, "code");
    print::print(&match files.as_slice() {
        [] => format!("{keys} in {codes}. At the site: latchkey pack apply --qr-text TEXT"),
        files => {
            let names: Vec<String> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            format!("{keys} in {codes}: {}", names.join(", "))
        }
    })?;
    if found.whole_keys > 0 {
        let whole = counted(found.whole_keys, "key");
        print::print(&format!(
            "{whole} of these have a newer secret, which opens nothing at the site either until it has a pack: the pepper was rotated \
             since, so the site has other digests"
        ))?;
    }
    Ok(End::Done)
}

/// Draws the codes. Returns the files that were written.
fn write(destination: &Destination<'_>, codes: &[String]) -> Result<Vec<PathBuf>> {
    let path = match destination {
        Destination::Texts(path) => {
            save(path, format!("{}\n", codes.join("\n")).as_bytes())?;
            return Ok(vec![path.to_path_buf()]);
        }
        Destination::Terminal => {
            for (place, code) in codes.iter().enumerate() {
                print::print(&format!("{} of {}", place + 1, codes.len()))?;
                show(&Qr::dense(code)?)?;
            }
            return Ok(Vec::new());
        }
        Destination::Png(path) | Destination::Svg(path) => path,
    };
    let mut files = Vec::new();
    for (place, code) in codes.iter().enumerate() {
        let qr = Qr::dense(code)?;
        let file = match codes.len() {
            1 => path.to_path_buf(),
            _ => numbered(path, place + 1),
        };
        match destination {
            Destination::Png(_) => save(&file, &png::of(&qr))?,
            _ => save(&file, svg(&qr).as_bytes())?,
        }
        files.push(file);
    }
    Ok(files)
}

/// `codes-2.svg` for the second of several codes.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let part = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let (stem, ending) = (part(path.file_stem()), part(path.extension()));
    path.with_file_name(format!("{stem}-{number}.{ending}"))
}

fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut output = Output::create(path, Readers::Everybody)?;
    let written = output.write_all(bytes);
    written.map_err(|err| Failure::refused(format!("{}: {err}", path.display())))?;
    output.put_in_place().map(drop)
}

fn show(qr: &Qr) -> Result<()> {
    // A reader needs dark modules on a light ground, also on a terminal with light text on black.
    let (begin, end) = match stdout().is_terminal() {
        true => ("\u{1b}[30;107m", "\u{1b}[0m"),
        false => ("", ""),
    };
    let mut lines = qr.half_blocks().into_iter();
    lines.try_for_each(|line| print::print(&format!("{begin}{line}{end}")))
}

fn svg(qr: &Qr) -> String {
    let side = qr.side() + 2 * BORDER;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\n\
         <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\n<path d=\"{}\"/>\n</svg>\n",
        qr.path()
    )
}
