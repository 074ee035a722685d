//! `latchkey check-config`: checks the settings as a start would, and lists their values.

use serde::Serialize;

use crate::cli::RunArgs;
use crate::cli::failure::{Failure, Result};
use crate::cli::print;
use crate::config::sources::{Setting, Source};

#[derive(Serialize)]
struct SettingBody<'a> {
    name: &'a str,
    value: &'a str,
    source: String,
}

/// Checks the settings and then prints them.
pub fn run(args: &RunArgs) -> Result<()> {
    args.check()?;
    check_files(args)?;
    if args.serve.json {
        let bodies: Vec<SettingBody<'_>> = args.settings.iter().map(body).collect();
        let text = serde_json::to_string(&bodies).unwrap_or_default();
        return print::print(&text);
    }
    let heading = ["SETTING", "VALUE", "FROM"].map(str::to_owned).to_vec();
    let lines: Vec<Vec<String>> = std::iter::once(heading)
        .chain(args.settings.iter().map(line))
        .collect();
    print::print(&print::aligned(&lines))?;
    print::print("\nA server would start with these settings.")
}

/// Reads the files of keys, so that their errors are found before a start.
fn check_files(args: &RunArgs) -> Result<()> {
    let sources = (args.serve.declared().read)();
    match sources.and_then(|sources| (sources.parse)()) {
        Ok(_) => Ok(()),
        Err(complaints) => {
            let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            Err(Failure::refused(lines.join("\n")))
        }
    }
}

fn body(setting: &Setting) -> SettingBody<'_> {
    SettingBody {
        name: &setting.name,
        value: &setting.value,
        source: setting.source.to_string(),
    }
}

fn line(setting: &Setting) -> Vec<String> {
    let value = match setting.value.as_str() {
        "" => "-",
        value => value,
    };
    let source = match &setting.source {
        Source::BuiltIn => "-".to_owned(),
        other => other.to_string(),
    };
    vec![setting.name.clone(), value.to_owned(), source]
}
