//! The settings of notices: where they and the audit log are sent. Nothing is sent without them.

use crate::domain::keys::address::AddressList;
use crate::domain::notices::filter::{Filter, kinds_of};
use crate::domain::notices::sink::{Sink, WebhookKey};
use crate::domain::text;
use crate::error::{Error, Result};
use crate::files;
use crate::http1::tls::client::Authorities;
use crate::sinks::file::FileSettings;
use crate::sinks::syslog::SyslogAddress;
use crate::sinks::webhook::WebhookUrl;
use crate::sinks::{Reach, Setting, Target};
use clap::Args;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A larger file is no key of a webhook.
const KEY_BYTES_MAX: u64 = 1_024;

/// See the heading.
#[derive(Args, Clone, Debug, Default)]
pub struct NoticeArgs {
    /// A file to which notices are appended, one line of JSON each; only its owner can read it
    #[arg(long, env = "LATCHKEY_NOTICE_FILE", value_name = "FILE")]
    pub notice_file: Option<PathBuf>,
    /// The size in MiB beyond which that file is renamed to FILE.1, and FILE.1 to FILE.2
    #[arg(long, env = "LATCHKEY_NOTICE_FILE_MIB", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "MIB")]
    pub notice_file_mib: u32,
    /// How many renamed files are kept
    #[arg(long, env = "LATCHKEY_NOTICE_FILE_KEEP", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
    pub notice_file_keep: u32,
    /// Where notices are sent as syslog (RFC 5424): unix:/dev/log, tls:HOST:PORT, or tcp:ADDRESS:PORT on this machine
    #[arg(long, env = "LATCHKEY_NOTICE_SYSLOG", value_parser = syslog, value_name = "WHERE")]
    pub notice_syslog: Option<SyslogAddress>,
    /// The URL to which notices are posted, signed as Standard Webhooks defines it; http only on this machine
    #[arg(long, env = "LATCHKEY_NOTICE_WEBHOOK", value_parser = webhook, value_name = "URL")]
    pub notice_webhook: Option<WebhookUrl>,
    /// The file with the key of the webhook's signatures: whsec_ and Base64 of 24 to 64 random bytes
    #[arg(long, env = "LATCHKEY_NOTICE_WEBHOOK_KEY", value_name = "FILE")]
    pub notice_webhook_key: Option<PathBuf>,
    /// The certificate authorities, in PEM, of syslog and the webhook [default: those of the operating system]
    #[arg(long, env = "LATCHKEY_NOTICE_CA", value_name = "FILE")]
    pub notice_ca: Option<PathBuf>,
    /// Addresses or ranges that are not public, and that a host name of syslog or of the webhook may stand for
    #[arg(
        long,
        env = "LATCHKEY_NOTICE_ALLOW",
        value_delimiter = ',',
        value_name = "CIDR"
    )]
    pub notice_allow: Vec<String>,
    /// Kinds of notices for a sink, which otherwise gets all: file=key.*, webhook=disk.low, syslog=none
    #[arg(
        long,
        env = "LATCHKEY_NOTICE_KINDS",
        value_delimiter = ',',
        value_parser = kinds,
        value_name = "SINK=KIND"
    )]
    pub notice_kinds: Vec<String>,
    /// Workspaces, with all below them, whose notices a sink gets; without it, those of the whole server. It does not
    /// apply to the audit log, which a sink gets whole or not at all
    #[arg(
        long,
        env = "LATCHKEY_NOTICE_WORKSPACES",
        value_delimiter = ',',
        value_parser = workspaces,
        value_name = "SINK=WORKSPACE"
    )]
    pub notice_workspaces: Vec<String>,
    /// The sinks that get every event of the audit log too: file, syslog, webhook [default: none]
    #[arg(
        long,
        env = "LATCHKEY_AUDIT_SINKS",
        value_delimiter = ',',
        value_parser = sink,
        value_name = "SINK"
    )]
    pub audit_sinks: Vec<String>,
}

impl NoticeArgs {
    /// The sinks that are set. This reads the files that the settings name, and refuses settings of sinks that are not
    /// set.
    pub fn sinks(&self) -> Result<Vec<Setting>> {
        let mut found = Vec::new();
        if let Some(path) = &self.notice_file {
            if !path.is_absolute() {
                return Err(Error::invalid_text(
                    "notice-file",
                    "must be an absolute path",
                ));
            }
            found.push(self.setting(Target::File(FileSettings {
                path: path.clone(),
                bytes_max: u64::from(self.notice_file_mib) << 20,
                kept: self.notice_file_keep,
            })));
        }
        if let Some(address) = &self.notice_syslog {
            let reach = self.reach(address.is_tls())?;
            found.push(self.setting(Target::Syslog(address.clone(), reach)));
        }
        match (&self.notice_webhook, &self.notice_webhook_key) {
            (Some(url), Some(key)) => {
                let reach = self.reach(url.is_tls())?;
                let key = webhook_key(key)?;
                found.push(self.setting(Target::Webhook(url.clone(), key, reach)));
            }
            (Some(_), None) => {
                return Err(Error::invalid_text(
                    "notice-webhook",
                    "needs --notice-webhook-key, so that the receiver can check who has sent it",
                ));
            }
            (None, Some(_)) => {
                return Err(Error::invalid_text(
                    "notice-webhook-key",
                    "it is of no use without --notice-webhook",
                ));
            }
            (None, None) => {}
        }
        let is_set = |name: &str| found.iter().any(|one| one.target.sink().as_str() == name);
        let named = |list: &[String]| -> Vec<String> {
            let names = list.iter().filter_map(|entry| entry.split('=').next());
            names.map(str::to_owned).collect()
        };
        for (setting, names) in [
            ("notice-kinds", named(&self.notice_kinds)),
            ("notice-workspaces", named(&self.notice_workspaces)),
            ("audit-sinks", self.audit_sinks.clone()),
        ] {
            if let Some(name) = names.iter().find(|name| !is_set(name)) {
                let why = format!("names the sink {name}, which is not set");
                return Err(Error::invalid_text(setting, why));
            }
        }
        Ok(found)
    }

    /// Refuses a file of notices in the data folder, where only the files of the server are.
    pub fn check_outside(&self, data: &Path) -> Result<()> {
        let Some(path) = &self.notice_file else {
            return Ok(());
        };
        let real = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
        let parent = path.parent().unwrap_or(path);
        match (real(parent), real(data)) {
            (Ok(parent), Ok(data)) if !parent.starts_with(&data) => Ok(()),
            _ => Err(Error::invalid_text(
                "notice-file",
                "must not be in the data folder",
            )),
        }
    }

    fn setting(&self, target: Target) -> Setting {
        let name = target.sink().as_str();
        let of_sink = |list: &[String]| -> Vec<String> {
            let entries = list.iter().filter_map(|entry| entry.split_once('='));
            let own = entries.filter(|(sink, _)| *sink == name);
            own.map(|(_, value)| value.to_owned()).collect()
        };
        let words = of_sink(&self.notice_kinds);
        let kinds = words.iter().filter_map(|word| kinds_of(word)).flatten();
        Setting {
            filter: Filter {
                kinds: (!words.is_empty()).then(|| kinds.collect()),
                workspaces: of_sink(&self.notice_workspaces),
            },
            has_audit: self.audit_sinks.iter().any(|sink| sink == name),
            target,
        }
    }

    fn reach(&self, is_tls: bool) -> Result<Reach> {
        let authorities = is_tls.then(|| Authorities::read(self.notice_ca.as_deref()));
        let allowed = match self.notice_allow.as_slice() {
            [] => None,
            list => Some(AddressList::parse(
                "notice-allow",
                list.iter().map(String::as_str),
            )?),
        };
        Ok(Reach {
            authorities: authorities.transpose()?,
            allowed,
        })
    }
}

/// Reads the key of a webhook. A file that other users can read is refused.
fn webhook_key(path: &Path) -> Result<WebhookKey> {
    let refused = |why: &str| {
        let why = format!("{} {why}", path.display());
        Error::invalid_text("notice-webhook-key", why)
    };
    let metadata = std::fs::metadata(path).map_err(|err| refused(&format!("{err}")))?;
    if metadata.mode() & 0o007 != 0 {
        return Err(refused("can be read by every user; close it with chmod o="));
    }
    if metadata.len() > KEY_BYTES_MAX {
        return Err(refused("is too large for a key"));
    }
    let bytes = files::read_regular(path).map_err(|err| refused(&format!("{err}")))?;
    let key = text::of_file(&bytes).ok().and_then(WebhookKey::parse);
    key.ok_or_else(|| refused("is no key; it has whsec_ and Base64 of 24 to 64 random bytes"))
}

fn syslog(text: &str) -> std::result::Result<SyslogAddress, String> {
    SyslogAddress::parse(text).map_err(|why| format!("{text:?} {why}"))
}

fn webhook(text: &str) -> std::result::Result<WebhookUrl, String> {
    WebhookUrl::parse(text).map_err(|why| format!("{text:?} {why}"))
}

fn sink(text: &str) -> std::result::Result<String, String> {
    match Sink::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!(
            "{text:?} is no sink; the sinks are file, syslog and webhook"
        )),
    }
}

fn workspaces(text: &str) -> std::result::Result<String, String> {
    match text.split_once('=') {
        Some((name, workspace)) if !workspace.is_empty() => sink(name).map(|_| text.to_owned()),
        _ => Err(format!(
            "{text:?} must be SINK=WORKSPACE, such as webhook=emea"
        )),
    }
}

fn kinds(text: &str) -> std::result::Result<String, String> {
    let (name, word) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} must be SINK=KIND, such as file=key.*"))?;
    sink(name)?;
    match kinds_of(word) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!(
            "{word:?} is no kind of notices; write key.expiring, key.* or none"
        )),
    }
}
