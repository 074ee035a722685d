//! `latchkey probe`: checks from the outside whether a reverse proxy protects an application, and names the lines of its
//! configuration that have to change.
//!
//! No key and no content of an application is printed. Keys that the probe issues end with it.

pub mod address;
mod application;
mod checks;
pub mod exchange;
mod keys;
mod remedies;
mod report;
mod session;
mod upstream;

use super::failure::{End, Failure, Result};
use super::print;
use crate::config::DataArgs;
use crate::domain::keys::secret::random_text;
use clap::builder::PossibleValuesParser;
use exchange::Connection;
use keys::Keys;
use remedies::Proxy;
use session::Probe;
use std::net::SocketAddr;
use std::path::PathBuf;
use upstream::Upstream;

/// The help after the options of `latchkey probe`.
pub const HELP: &str = "\
Sends about fifty requests: without a key, with bad keys, with forged headers, odd paths and methods, and with keys that
it issues for ten minutes and deletes. Only GET, HEAD and OPTIONS reach your application. Exits 1 if something is wrong.

What the application gets is checked if it can be seen: with --upstream, latchkey listens in the place of the application
while it probes; with --echo, a page of the application shows the headers of its request.

An address other than loopback must agree: it answers /.well-known/latchkey-probe without a key with the line
`latchkey-probe HOST`, or you say --i-own-it. Over plain HTTP a good key is sent only to loopback, or with --plain-http.

Examples:
  latchkey probe http://127.0.0.1:8081/ --data /var/lib/latchkey
  latchkey probe http://127.0.0.1:8081/billing/invoices --catalog billing --scope invoices:read --upstream 127.0.0.1:9000
  latchkey probe https://orders.example/orders --key-file /run/secrets/probe --echo /debug/headers --proxy haproxy
  latchkey probe https://orders.example/ --connect 127.0.0.1:443 --ca orders.pem --json | jq '.checks[] | select(.state == \"wrong\")'
  systemctl stop latchkey; latchkey probe http://127.0.0.1:8081/ --stopped; systemctl start latchkey";

/// The arguments of `latchkey probe`.
#[derive(clap::Args, Clone, Debug)]
pub struct ProbeArgs {
    /// What the proxy serves: a path that a good key may GET
    url: String,
    /// A file with a good key on its first line [default: issue keys for the probe, if Latchkey runs on this machine]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The header for the key, if the question of the proxy has one of its own
    #[arg(long, value_name = "NAME", default_value = "Authorization", value_parser = header)]
    header: String,
    /// The catalog that decides at this path
    #[arg(long, value_name = "CATALOG")]
    catalog: Option<String>,
    /// The scope that the path needs; repeat it or separate with commas
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,
    /// The workspace of the keys, by slug or uid [default: the root]
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<String>,
    /// The policy of the keys
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// Listen here in the place of the application; the proxy must forward to this address
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "echo")]
    upstream: Option<SocketAddr>,
    /// A path at which the application shows the headers of the request in its answer
    #[arg(long, value_name = "/PATH", value_parser = path)]
    echo: Option<String>,
    /// Check what the proxy does without Latchkey, which you have stopped
    #[arg(long, conflicts_with = "key_file")]
    stopped: bool,
    /// Whose lines are named [default: the proxy that the answers name, or all]
    #[arg(long, value_enum, value_name = "PROXY")]
    proxy: Option<Proxy>,
    /// A check that may fail, because you have configured it so; repeat it or separate with commas
    #[arg(long, value_name = "CHECK", value_delimiter = ',', value_parser = PossibleValuesParser::new(checks::NAMES))]
    accept: Vec<String>,
    /// Connect to this address instead of that of the name in the URL
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
    /// The authorities for https, in PEM [default: those of this machine]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send a good key over plain HTTP to another machine
    #[arg(long)]
    plain_http: bool,
    /// Probe an address that is not loopback without its agreement
    #[arg(long)]
    i_own_it: bool,
    #[command(flatten)]
    data: DataArgs,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl ProbeArgs {
    /// Whether keys are sent in `Authorization`, as by default.
    fn is_usual_header(&self) -> bool {
        self.header.eq_ignore_ascii_case("authorization")
    }
}

fn header(text: &str) -> std::result::Result<String, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    match !text.is_empty() && text.chars().all(is_name) {
        true => Ok(text.to_owned()),
        false => Err("a header has letters, digits and hyphens in its name".to_owned()),
    }
}

fn path(text: &str) -> std::result::Result<String, String> {
    match text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && c != '#') {
        true => Ok(text.to_owned()),
        false => Err("a path begins with a slash and has no blanks".to_owned()),
    }
}

pub fn run(args: &ProbeArgs) -> Result<End> {
    let (url, peer) = address::find(args)?;
    let is_private = url.is_tls || address::is_loopback(peer.address.ip()) || args.plain_http;
    if args.key_file.is_some() && !is_private {
        return Err(Failure::Usage(
            "the key would cross the network unencrypted, so it is not sent; use https, or say --plain-http".to_owned(),
        ));
    }
    Connection::open(&peer).map_err(|err| address::unreachable(&peer, &err.to_string()))?;
    let nonce = random_text(12)?;
    let upstream = match args.upstream {
        Some(address) => Some(Upstream::start(address, &nonce)?),
        None => None,
    };
    let keys = match (args.stopped, is_private) {
        (true, _) => Keys::none(""),
        (false, true) => Keys::find(args)?,
        (false, false) => Keys::none(
            "over plain HTTP no good key is sent to another machine; use https, or --plain-http",
        ),
    };
    let mut probe = Probe::new(args, &peer, url.path, upstream, &keys, nonce);
    let ended = match args.stopped {
        true => probe.run_stopped(),
        false => probe.run(),
    };
    let left = keys
        .issued
        .as_ref()
        .map(keys::Issued::end)
        .unwrap_or_default();
    ended?;
    let proxy = args.proxy.or(probe.server);
    let text = match args.json {
        true => report::json(&args.url, &probe.rows, proxy),
        false => report::written(&probe.rows, proxy),
    };
    print::print(&text)?;
    if !left.is_empty() {
        return Err(Failure::refused(format!(
            "these keys of the probe could not be deleted, and end in ten minutes: {}",
            left.join(", ")
        )));
    }
    Ok(match report::is_healthy(&probe.rows) {
        true => End::Done,
        false => End::Found,
    })
}
