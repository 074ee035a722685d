//! The data folder of a command, where neither `--data` nor `LATCHKEY_DATA` names one.
//!
//! The Debian package starts its server with the settings file alone, so its commands find the folder there too.

use super::file::{FileValue, SettingsFile};
use super::folder::refused;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// The folder in the current directory.
pub const DEFAULT: &str = "./latchkey-data";
/// The settings file of the Debian package.
const PACKAGED: &str = "/etc/latchkey/latchkey.toml";
/// The unit that the package brings.
const PACKAGED_UNIT: &str = "/usr/lib/systemd/system/latchkey.service";
/// The variable that names another settings file.
const VARIABLE: &str = "LATCHKEY_CONFIG";
/// Where a command looks, for messages.
pub const PLACES: &str = ". Without --data and LATCHKEY_DATA, a command looks for `data` in the file of LATCHKEY_CONFIG, then for \
                          ./latchkey-data, and then for `data` in /etc/latchkey/latchkey.toml unless LATCHKEY_CONFIG is set";

/// The folder that a settings file names: the file of `LATCHKEY_CONFIG`, or, if that is not set, the file of the package
/// unless the default folder exists. `None` if the default folder counts.
///
/// A file that cannot be read is an error, because another folder than that of the server would be a surprise.
pub fn from_settings_file() -> Result<Option<PathBuf>> {
    let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    if let Some(named) = named {
        // The server that this file is for has its data in the default folder, and not in that of the package.
        return data_in(Path::new(&named));
    }
    if Path::new(DEFAULT).exists() || !Path::new(PACKAGED).exists() {
        return Ok(None);
    }
    data_in(Path::new(PACKAGED))
}

/// The command that starts the server of a data folder: the service, if the folder is that of the package.
pub fn start_command(path: &Path) -> String {
    let of_package = Path::new(PACKAGED).exists() && Path::new(PACKAGED_UNIT).exists();
    let data = of_package.then(|| data_in(Path::new(PACKAGED)).ok().flatten());
    match data.flatten().is_some_and(|data| data == path) {
        true => "systemctl start latchkey".to_owned(),
        false => format!("latchkey serve --data {}", path.display()),
    }
}

/// The value of `data` in a settings file.
fn data_in(path: &Path) -> Result<Option<PathBuf>> {
    let unclear = |why: String| {
        refused(format!(
            "{why}; it is not known where the data folder is: name it with --data"
        ))
    };
    let file = SettingsFile::read(path).map_err(|err: Error| unclear(err.to_string()))?;
    let entry = file.entries.into_iter().find(|entry| entry.name == "data");
    match entry.map(|entry| (entry.line, entry.written)) {
        None => Ok(None),
        Some((_, FileValue::Text(data))) if !data.is_empty() => Ok(Some(data.into())),
        Some((line, _)) => Err(unclear(format!(
            "{}:{line}: data is a text; write data = \"…\"",
            path.display()
        ))),
    }
}
