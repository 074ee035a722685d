//! `latchkey site collect`: takes in reports of sites.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::print;
use crate::cli::print::{Column, Common};
use crate::cli::prompt;
use crate::config::owner::as_caller;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The end of the names of reports.
const END: &str = "lkreport";

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "FILE",    member: "file" },
    Column { heading: "SITE",    member: "site" },
    Column { heading: "REPORT",  member: "report" },
    Column { heading: "NEW",     member: "is_new" },
    Column { heading: "APPLIED", member: "applied" },
    Column { heading: "KEYS",    member: "keys" },
    Column { heading: "REFUSED", member: "refused" },
];

#[derive(clap::Args, Clone, Debug)]
pub struct CollectArgs {
    /// The folder with the reports, whose names end with .lkreport, or a report
    folder: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub fn run(args: &CollectArgs) -> Result<End> {
    let files = as_caller(|| reports(&args.folder))?;
    if files.is_empty() {
        return Err(Failure::refused(format!(
            "there is no file *.{END} in {} or in a folder in it",
            args.folder.display()
        )));
    }
    let server = Server::reach(&args.common.data.data)?;
    let mut rows: Vec<Value> = Vec::new();
    for file in &files {
        let shown = file.display().to_string();
        let taken = prompt::bytes(file).and_then(|bytes| {
            let target = Target::of(&["packs", "reports"]);
            let answer = server.send("POST", &target, bytes)?;
            answer.accepted("POST", &target)?.json::<Value>()
        });
        rows.push(match taken {
            Ok(mut row) => {
                row["file"] = json!(shown);
                row
            }
            Err(Failure::Refused(why) | Failure::Usage(why)) => {
                json!({ "file": shown, "refused": why })
            }
        });
    }
    match args.common.json {
        true => print::print(&Value::Array(rows.clone()).to_string())?,
        false => print::print(&print::table::written(COLUMNS, &rows))?,
    }
    let is_refused = |row: &Value| row.get("refused").is_some();
    Ok(match rows.iter().any(is_refused) {
        true => End::Found,
        false => End::Done,
    })
}

/// The reports in a folder and in the folders in it, by name; or the file itself.
fn reports(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |path: &Path, err: std::io::Error| {
        Failure::refused(format!("{} cannot be read: {err}", path.display()))
    };
    let mut found = Vec::new();
    let mut folders = vec![(path.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|err| unreadable(&folder, err))?;
        for entry in entries {
            let entry = entry.map_err(|err| unreadable(&folder, err))?;
            let (path, kind) = (entry.path(), entry.file_type());
            let is = |wanted: fn(&std::fs::FileType) -> bool| kind.as_ref().is_ok_and(wanted);
            if is(std::fs::FileType::is_dir) && depth == 0 {
                folders.push((path, 1));
            } else if is(std::fs::FileType::is_file) && path.extension().is_some_and(|e| e == END) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
