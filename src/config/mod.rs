//! Settings: parses flags, environment variables and the settings file into typed values. The rest of the program never
//! sees raw input.
//!
//! The data folder is opened here as well. No database is overwritten, and a key file only gains a version or loses a retired
//! one.

pub mod agent;
#[cfg(feature = "postgres")]
pub mod cluster;
pub mod data_folder;
pub mod database;
pub mod declared;
pub mod file;
pub mod folder;
pub mod key_files;
mod leak_keys;
mod link;
mod notices;
pub mod owner;
mod restore;
pub mod sources;
mod suggestions;
pub mod systems;
mod table;

use crate::dialects::{SURFACES, console};
use crate::domain::budget::Rate;
use crate::domain::catalogs::path;
use crate::domain::keys::address::AddressList;
use crate::domain::leak_keys::LeakKeys;
use crate::domain::policies::roles::Roles;
use crate::domain::security_txt::SecurityTxt;
use crate::domain::text;
use crate::domain::time::span_s;
use crate::domain::users::roles::Role;
use crate::error::{Error, Result};
use crate::files;
use crate::http::client::Trust;
use crate::http::route::Mounts;
use crate::http1::tls::{Identity, TlsFiles};
use crate::http1::{HEAD_BYTES, HEAD_BYTES_DEFAULT};
use crate::ops::audit::retention::{MINIMUM_DAYS, Retention};
use clap::builder::{BoolishValueParser, PossibleValuesParser};
use clap::{ArgAction, Args};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Where a server listens by default.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8420";

/// The path of the data.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// The data folder: database, pepper, lock and socket. Commands that do not create or serve it also look for `data` in the
    /// settings file: the one of LATCHKEY_CONFIG, or /etc/latchkey/latchkey.toml if there is neither that nor ./latchkey-data
    #[arg(
        long,
        env = "LATCHKEY_DATA",
        default_value = data_folder::DEFAULT,
        value_name = "DIR"
    )]
    pub data: PathBuf,
}

/// The settings of the server; this is the table of all settings.
///
/// Every field with an environment variable is a setting: a flag, a variable, and a line of the settings file under the
/// field's name. To add a setting, add a field here; if SIGHUP applies it to a running server, also add its name to
/// [`RELOADED`].
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// The address to listen on; port 0 takes any free one, and :PORT is every address of this machine, IPv4 and IPv6. Several times, or with commas, for several addresses
    #[arg(
        long,
        env = "LATCHKEY_LISTEN",
        default_value = LISTEN_DEFAULT,
        value_delimiter = ',',
        value_parser = listen,
        value_name = "ADDRESS:PORT"
    )]
    pub listen: Vec<SocketAddr>,
    /// Allow plain HTTP on addresses that other machines can reach; secrets then cross the network unencrypted
    #[arg(long, env = "LATCHKEY_ALLOW_PLAIN_HTTP", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), value_name = "true|false")]
    pub allow_plain_http: bool,
    /// The TLS certificate in PEM, followed by its intermediate certificates; with it, the server accepts TLS only
    #[arg(long, env = "LATCHKEY_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// The private key of the certificate in PEM; both files are read again when they change
    #[arg(long, env = "LATCHKEY_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Certificate authorities in PEM; only clients with a certificate of one of them may connect
    #[arg(long, env = "LATCHKEY_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Addresses or ranges of reverse proxies whose forwarding headers are trusted, besides loopback and the socket
    #[arg(
        long,
        env = "LATCHKEY_TRUSTED_PROXIES",
        value_delimiter = ',',
        value_parser = proxies,
        value_name = "CIDR"
    )]
    pub trusted_proxies: Vec<String>,
    /// Host names that this server serves, besides localhost and the address that it listens on
    #[arg(
        long,
        env = "LATCHKEY_ALLOWED_HOSTS",
        value_delimiter = ',',
        value_parser = host,
        value_name = "HOST"
    )]
    pub allowed_hosts: Vec<String>,
    /// Web origins that may read answers, written exactly as browsers send them
    #[arg(
        long,
        env = "LATCHKEY_CORS_ORIGINS",
        value_delimiter = ',',
        value_parser = origin,
        value_name = "ORIGIN"
    )]
    pub cors_origins: Vec<String>,
    /// A prefix for the paths of a dialect or of the console, or `off`; an unknown NAME is refused with a list of all names
    /// [default: each at its own paths]
    #[arg(
        long = "mount",
        env = "LATCHKEY_MOUNTS",
        value_delimiter = ',',
        value_name = "NAME=/PREFIX|off"
    )]
    pub mounts: Vec<String>,
    /// A path that a proxy in front takes off requests for the console, such as /keys; the console's links then begin with it
    #[arg(long, env = "LATCHKEY_CONSOLE_PATH", value_name = "/PREFIX")]
    pub console_path: Option<String>,
    /// Systems whose pages the console has: aware, awaretrain, adverity, vspc, or `all`, or `none`; without it the owner chooses them in the console
    #[arg(
        long,
        env = "LATCHKEY_SYSTEMS",
        value_delimiter = ',',
        value_parser = systems::name,
        value_name = "NAME,…|all|none"
    )]
    pub systems: Vec<String>,
    /// Roles whose users must sign in with a second factor: owner, administrator, key_manager, auditor, member. A user who
    /// has none is led to set one up at the next sign-in to the console, and can do nothing else [default: none]
    #[arg(
        long,
        env = "LATCHKEY_SECOND_FACTOR_ROLES",
        value_delimiter = ',',
        value_parser = role,
        value_name = "ROLE"
    )]
    pub second_factor_roles: Vec<Role>,
    /// Public keys in the JSON of GitHub's secret scanning partner program; deliveries to POST /v1/leaks/github that one of
    /// them has signed are taken [default: none]
    #[arg(long, env = "LATCHKEY_LEAK_REPORT_KEYS", value_name = "FILE")]
    pub leak_report_keys: Option<PathBuf>,
    /// Whether programs on this machine may verify keys without a credential, with the header Latchkey-Local: 1
    #[arg(long, env = "LATCHKEY_VERIFY_FROM_LOOPBACK", default_value_t = true, action = ArgAction::Set, value_name = "true|false")]
    pub verify_from_loopback: bool,
    /// Whether whole numbers beyond 2^53 are sent as JSON strings where clients differ, for clients that read numbers
    /// as floating point
    #[arg(long, env = "LATCHKEY_NUMBERS_AS_TEXT", default_value_t = false, action = ArgAction::Set, value_name = "true|false")]
    pub numbers_as_text: bool,
    /// The texts of the console in another language: a file like that of `latchkey console-texts`; missing texts stay
    /// English
    #[arg(long, env = "LATCHKEY_CONSOLE_TEXTS", value_name = "FILE")]
    pub console_texts: Option<PathBuf>,
    /// An address that serves GET /metrics without a credential, and nothing else; by default, programs on this machine
    /// may read metrics with the header Latchkey-Local: 1
    #[arg(long, env = "LATCHKEY_METRICS_LISTEN", value_parser = listen, value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// An address on which HAProxy asks about requests in its own protocol (SPOE), as examples/haproxy-spoe has it; or
    /// unix:/PATH. It answers nothing else [default: none]
    #[arg(
        long,
        env = "LATCHKEY_HAPROXY_AGENT",
        value_name = "ADDRESS:PORT|unix:/PATH"
    )]
    pub haproxy_agent: Option<agent::AgentAddress>,
    /// The contact for reports of vulnerabilities: a file in the format of RFC 9116, which GET /.well-known/security.txt
    /// answers with; without it there is no such page
    #[arg(long, env = "LATCHKEY_SECURITY_TXT", value_name = "FILE")]
    pub security_txt: Option<PathBuf>,
    /// The interval of automatic backups, such as 24h or 7d, to the folder `backups` next to the database
    #[arg(long, env = "LATCHKEY_BACKUP_EVERY", value_name = "SPAN")]
    pub backup_every: Option<Span>,
    /// How many of these backups are kept; older ones are deleted
    #[arg(long, env = "LATCHKEY_BACKUP_KEEP", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    pub backup_keep: u16,
    /// Seconds between writes of usage counts; a crash loses the counts since the last write
    #[arg(long, env = "LATCHKEY_USAGE_INTERVAL_S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "SECONDS")]
    pub usage_interval_s: u64,
    /// Days after which events are removed from the audit log; the rest stays verifiable [default: never]
    #[arg(long, env = "LATCHKEY_AUDIT_KEEP_DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500), value_name = "DAYS")]
    pub audit_keep_days: Option<u32>,
    /// How many events the audit log keeps; the oldest ones are removed within an hour [default: all]
    #[arg(long, env = "LATCHKEY_AUDIT_KEEP_EVENTS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000), value_name = "N")]
    pub audit_keep_events: Option<u64>,
    /// Days of the audit log that cannot be removed over the network with `POST /v1/audit-events/prune`; `latchkey
    /// audit prune` on this machine and the two settings above can remove them
    #[arg(long, env = "LATCHKEY_AUDIT_KEEP_MIN", default_value_t = MINIMUM_DAYS, value_parser = clap::value_parser!(u32).range(0..=36_500), value_name = "DAYS")]
    pub audit_keep_min: u32,
    /// Changes a second that one user, and one workspace with all below it, may make; no limit for callers with
    /// server:admin
    #[arg(long, env = "LATCHKEY_CHANGES_PER_SECOND", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    pub changes_per_second: u32,
    /// How many such changes may be made at once after a pause
    #[arg(long, env = "LATCHKEY_CHANGES_BURST", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    pub changes_burst: u32,
    /// Folders of files that declare keys, after /usr/lib/latchkey/keys.d and /etc/latchkey/keys.d; several times, or with
    /// commas. `none` reads no folder, and leaves what files have declared as it is
    #[arg(
        long,
        env = "LATCHKEY_KEYS",
        value_delimiter = ',',
        value_name = "DIR|none"
    )]
    pub keys: Vec<PathBuf>,
    /// Whether a bad file of keys stops the start; otherwise the server serves what was applied last
    #[arg(long, env = "LATCHKEY_KEYS_STRICT", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), value_name = "true|false")]
    pub keys_strict: bool,
    /// Whether files may declare keys with rights on this server
    #[arg(long, env = "LATCHKEY_KEYS_ALLOW_MANAGEMENT", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), value_name = "true|false")]
    pub keys_allow_management: bool,
    /// Serve the data folder of a site, which verifies from packs and issues nothing; without it, such a folder is not served
    #[arg(long, env = "LATCHKEY_SITE", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), value_name = "true|false")]
    pub site: bool,
    /// What a site does when its pack no longer counts: refuse every verdict with 503 PACK_STALE, or go on and warn
    #[arg(long, env = "LATCHKEY_STALE", value_enum, default_value_t = Stale::Deny, value_name = "deny|warn")]
    pub stale: Stale,
    /// Whether the answers to requests that only end something wait until each linked site has applied the change, or gives no
    /// verdict any more; otherwise only those with ?wait=sites do
    #[arg(long, env = "LATCHKEY_ENDS_WAIT_FOR_SITES", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), value_name = "true|false")]
    pub ends_wait_for_sites: bool,
    #[cfg(feature = "postgres")]
    #[command(flatten)]
    pub cluster: cluster::ClusterArgs,
    #[command(flatten)]
    pub database: database::DatabaseArgs,
    #[command(flatten)]
    pub link: link::LinkArgs,
    #[command(flatten)]
    pub notices: notices::NoticeArgs,
    /// The number of I/O threads; by default one for each processor
    #[arg(long, env = "LATCHKEY_THREADS", value_parser = clap::value_parser!(u16).range(1..=256), value_name = "N")]
    pub threads: Option<u16>,
    /// Bytes that the request line and the headers of one request may have together, 16384 to 65536; more is answered with 431. A proxy that passes on all headers of its clients, as forward-auth does, may send up to as many as it accepts itself
    #[arg(long, env = "LATCHKEY_HEAD_BYTES_MAX", default_value_t = HEAD_BYTES_DEFAULT, value_parser = clap::value_parser!(u32).range(i64::from(*HEAD_BYTES.start())..=i64::from(*HEAD_BYTES.end())), value_name = "BYTES")]
    pub head_bytes_max: u32,
    /// The format of log lines on standard error: text, or one JSON object for each event
    #[arg(long, env = "LATCHKEY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// The log level; `RUST_LOG` takes precedence if it is set
    #[arg(long, env = "LATCHKEY_LOG_LEVEL", default_value = "info", value_parser = PossibleValuesParser::new(LOG_LEVELS), value_name = "LEVEL")]
    pub log_level: String,
    /// Print one JSON line instead of text
    #[arg(long)]
    pub json: bool,
}

/// See [`ServeArgs::log_format`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

/// See [`ServeArgs::stale`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Stale {
    Deny,
    Warn,
}

/// A time span of at least a minute, which users write as `15m`, `24h` or `7d`.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub seconds: u64,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Span, String> {
        let refused = "must be a whole number with m, h or d, at least 1m, such as 24h";
        let seconds = span_s(text).filter(|span| *span > 0 && !text.ends_with('s'));
        Ok(Span {
            seconds: seconds.ok_or(refused)?,
        })
    }
}
/// The settings that SIGHUP applies; changes to all others take effect at the next start.
pub const RELOADED: &[&str] = &[
    "allowed_hosts",
    "cors_origins",
    "keys",
    "keys_allow_management",
    "keys_strict",
    "leak_report_keys",
    "log_level",
    "numbers_as_text",
    "second_factor_roles",
    "security_txt",
    "tls_certificate",
    "tls_client_ca",
    "tls_key",
    "trusted_proxies",
    "verify_from_loopback",
];

const LOG_LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

impl ServeArgs {
    /// Which proxies are trusted and which hosts are served; logs a warning about settings with unexpected
    /// consequences.
    pub fn trust(&self) -> Result<Trust> {
        let proxies = match self.trusted_proxies.as_slice() {
            [] => None,
            list => Some(AddressList::parse(
                "trusted-proxies",
                list.iter().map(String::as_str),
            )?),
        };
        for block in proxies.iter().flat_map(AddressList::blocks) {
            if block.is_wide() {
                log::warn!(
                    "trusted-proxies holds {block}: every machine there can claim any client address"
                );
            }
        }
        Ok(Trust {
            proxies,
            allowed_hosts: self.allowed_hosts.clone(),
            cors_origins: self.cors_origins.clone(),
            verify_from_loopback: self.verify_from_loopback,
            numbers_as_text: self.numbers_as_text,
            metrics_port: self.metrics_listen.map(|address| address.port()),
            own_uid: rustix::process::geteuid().as_raw(),
            security_txt: self.security_txt()?,
        })
    }

    /// Refuses settings that contradict each other.
    pub fn check(&self) -> Result<()> {
        for (position, address) in self.listen.iter().enumerate() {
            if address.port() != 0 && self.listen[..position].contains(address) {
                return Err(Error::invalid_text(
                    "listen",
                    format!("{address} is there twice"),
                ));
            }
            self.check_plain(*address)?;
        }
        if let Some(files) = self.tls()? {
            Identity::load(&files)?;
        }
        self.trust()?;
        self.notices.sinks()?;
        self.link.setting(self.site)?;
        self.mounts()?;
        self.console_texts(console::check_texts)?;
        self.leak_keys()?;
        if let Some(agent) = &self.haproxy_agent {
            let others = self.listen.iter().chain(&self.metrics_listen);
            agent.check(self.allow_plain_http, others.map(SocketAddr::port))?;
        }
        // The server recognises the metrics address by its port.
        match self.metrics_listen.map(|address| address.port()) {
            Some(0) => Err(Error::invalid_text("metrics-listen", "must name a port")),
            Some(port) if self.listen.iter().any(|listen| listen.port() == port) => Err(
                Error::invalid_text("metrics-listen", "must have another port than listen"),
            ),
            _ => Ok(()),
        }
    }

    /// Refuses settings of the database that contradict each other or that a site cannot have. `folder` is the data folder.
    pub fn check_database(&self, folder: &Path) -> Result<()> {
        if self.site && self.database.database.is_some() {
            return Err(Error::invalid_text(
                "database",
                "a site has its database in its folder",
            ));
        }
        self.database.check(folder)
    }

    /// Passes the console's texts to `take` if they are configured in another language than English.
    pub fn console_texts(&self, take: fn(String) -> Result<()>) -> Result<()> {
        let Some(file) = &self.console_texts else {
            return Ok(());
        };
        let refused = |why: &dyn std::fmt::Display| {
            Error::invalid_text("console-texts", format!("{}: {why}", file.display()))
        };
        let bytes = files::read_regular(file).map_err(|err| refused(&err))?;
        let text = text::of_file(&bytes).map_err(|why| refused(&format!("the file {why}")))?;
        take(text.to_owned()).map_err(|err| refused(&err))
    }

    /// The file with the contact for reports of vulnerabilities, if there is one.
    fn security_txt(&self) -> Result<Option<SecurityTxt>> {
        let Some(file) = &self.security_txt else {
            return Ok(None);
        };
        let refused =
            |why: String| Error::invalid_text("security-txt", format!("{} {why}", file.display()));
        let bytes =
            files::read_regular(file).map_err(|err| refused(format!("cannot be read: {err}")))?;
        SecurityTxt::parse(&bytes).map(Some).map_err(refused)
    }

    /// The public keys of services that may deliver reports of leaked secrets.
    pub fn leak_keys(&self) -> Result<LeakKeys> {
        leak_keys::read(self.leak_report_keys.as_deref())
    }

    /// The roles whose users must have a second factor.
    pub fn second_factor_roles(&self) -> Roles {
        let roles = self.second_factor_roles.iter();
        roles.fold(Roles::default(), |all, role| all.with(*role))
    }

    /// Where the dialects are mounted.
    pub fn mounts(&self) -> Result<Mounts> {
        let mounts = Mounts::parse(self.mounts.iter().map(String::as_str), SURFACES)?;
        let Some(path) = &self.console_path else {
            return Ok(mounts);
        };
        mounts.behind(path).ok_or_else(|| {
            let why = format!("{path:?} is no prefix; write a path such as /keys");
            Error::invalid_text("console-path", why)
        })
    }

    /// Where browsers find the console, below the server's address; `None` if it is off.
    pub fn console_place(&self) -> Result<Option<String>> {
        Ok(self.mounts()?.public_path(&console::SURFACE))
    }

    /// The paths of certificate and key, if TLS is configured.
    pub fn tls(&self) -> Result<Option<TlsFiles>> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: self.tls_client_ca.clone(),
            })),
            (None, None) if self.tls_client_ca.is_none() => Ok(None),
            (Some(_), None) => Err(Error::invalid_text(
                "tls-certificate",
                "it is of no use without --tls-key",
            )),
            (None, key) => Err(Error::invalid_text(
                match key {
                    Some(_) => "tls-key",
                    None => "tls-client-ca",
                },
                "it is of no use without --tls-certificate",
            )),
        }
    }

    /// Refuses to send secrets unencrypted across a network unless the settings allow it.
    pub fn check_plain(&self, listen: SocketAddr) -> Result<()> {
        if listen.ip().is_loopback() || self.allow_plain_http || self.tls_certificate.is_some() {
            return Ok(());
        }
        Err(Error::invalid_text(
            "listen",
            format!(
                "{} is reached by other machines, and plain HTTP would send secrets readable to the network; name a \
                 certificate with --tls-certificate and --tls-key (latchkey tls self-signed makes one), listen on 127.0.0.1 \
                 behind a proxy with TLS, or say --allow-plain-http",
                listen
            ),
        ))
    }

    /// The time between writes of usage counts.
    pub fn usage_interval(&self) -> Duration {
        Duration::from_secs(self.usage_interval_s)
    }

    /// Which audit events are kept.
    pub fn audit_retention(&self) -> Retention {
        Retention {
            days: self.audit_keep_days,
            events: self.audit_keep_events,
        }
    }

    /// The policies of the systems whose pages the console has, if that is a setting.
    pub fn systems(&self) -> Result<Option<Vec<&'static str>>> {
        systems::policies(&self.systems)
    }

    /// How many changes one caller may make.
    pub fn changes_rate(&self) -> Rate {
        Rate {
            per_second: self.changes_per_second,
            burst: self.changes_burst,
        }
    }

    /// What concerns files of keys.
    pub fn declared(&self) -> declared::Settings {
        declared::settings(&self.keys, self.keys_strict, self.keys_allow_management)
    }

    /// Whether what is printed on standard output is for a program: where the log is, so is everything else.
    pub fn speaks_json(&self) -> bool {
        self.json || self.log_format == LogFormat::Json
    }

    /// The number of I/O threads.
    pub fn workers(&self) -> usize {
        self.threads.map_or_else(
            || std::thread::available_parallelism().map_or(2, usize::from),
            usize::from,
        )
    }
}

/// An address with its port, or `:PORT` for all addresses of the machine.
pub fn listen(text: &str) -> std::result::Result<SocketAddr, String> {
    let parsed = match text.strip_prefix(':') {
        Some(port) => format!("[::]:{port}").parse(),
        None => text.parse(),
    };
    parsed.map_err(|_| {
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let port: u16 = port.parse().unwrap_or(8420);
        let example = match host {
            "" => format!(
                "127.0.0.1:{port} for this machine alone, or :{port} for all of its addresses"
            ),
            "localhost" => format!("127.0.0.1:{port}"),
            _ => format!("127.0.0.1:{port} or [::1]:{port}; names are not looked up"),
        };
        format!("{text:?} is no address with a port; write {example}")
    })
}

/// One address or range. It is checked separately, so that an error can name its line.
fn proxies(text: &str) -> std::result::Result<String, String> {
    match AddressList::parse("trusted-proxies", [text]) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "{text:?} is no address or range; write 10.0.0.4, 10.0.0.0/24 or 2001:db8::/64"
        )),
    }
}

/// A host name in the normalised form that comparisons use.
fn host(text: &str) -> std::result::Result<String, String> {
    path::host(text)
        .ok_or_else(|| format!("{text:?} is no host name; write latchkey.example, without http://"))
}

fn role(text: &str) -> std::result::Result<Role, String> {
    let known: Vec<&str> = Role::all().map(Role::as_str).collect();
    Role::parse(text)
        .ok_or_else(|| format!("{text:?} is no role; the roles are {}", known.join(", ")))
}

/// An origin exactly as a browser sends it (RFC 6454, section 6.2).
fn origin(text: &str) -> std::result::Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let is_origin = rest.is_some_and(|rest| {
        path::host(rest).is_some_and(|host| rest.starts_with(&host)) && !rest.ends_with('.')
    });
    if is_origin {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no web origin; write https://app.example or https://app.example:8443, in lower case, without a path"
    ))
}
