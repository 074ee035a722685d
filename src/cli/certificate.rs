//! `latchkey tls self-signed`: creates a certificate for installations without a certificate authority.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use serde::Serialize;

use super::failure::{End, Failure, Result};
use super::output_file::{Output, Rights};
use super::print;
use super::serve::wall_clock;
use crate::config::DataArgs;
use crate::config::folder::CERTIFICATE;
use crate::domain::catalogs::path;
use crate::domain::time::Timestamp;
use crate::files::Readers;
use crate::http1::tls::fingerprint;

const DAY_S: u64 = 24 * 60 * 60;
/// The file name in the data folder.
const KEY: &str = "tls-key.pem";

#[derive(Debug, Subcommand)]
pub enum TlsCommand {
    /// Create a key and a self-signed certificate, and print the fingerprint to compare
    #[command(
        after_help = "Clients trust the certificate itself: copy it to them, or compare its fingerprint once.\n\n\
                      Examples:\n  latchkey tls self-signed --data /var/lib/latchkey --host keys.example --host 10.0.0.5\n  \
                      latchkey tls self-signed --host keys.example --certificate keys.pem --key keys-key.pem --days 90\n  \
                      openssl x509 -in latchkey-data/tls-certificate.pem -noout -fingerprint -sha256"
    )]
    SelfSigned(SelfSignedArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct SelfSignedArgs {
    #[command(flatten)]
    data: DataArgs,
    /// A name or address that clients use for this server; repeat it for several [default: this machine's name]
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// How many days the certificate is valid
    #[arg(long, default_value_t = 397, value_parser = clap::value_parser!(u64).range(1..=825), value_name = "DAYS")]
    days: u64,
    /// Where to write the certificate [default: tls-certificate.pem in the data folder]
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Where to write the private key [default: tls-key.pem in the data folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct MadeBody<'a> {
    certificate: &'a Path,
    key: &'a Path,
    hosts: &'a [String],
    not_after: String,
    sha256: &'a str,
}

pub fn run(command: &TlsCommand) -> Result<End> {
    let TlsCommand::SelfSigned(args) = command;
    let hosts = hosts(args)?;
    let now = wall_clock();
    let not_after = now.plus_s(args.days * DAY_S);
    let (certificate, key) = made(&hosts, now, not_after)
        .map_err(|err| Failure::refused(format!("no certificate can be made: {err}")))?;
    let sha256 = fingerprint(certificate.der());

    let data = &args.data.data;
    let key_path = args.key.clone().unwrap_or_else(|| data.join(KEY));
    let path = &args.certificate;
    let path = path.clone().unwrap_or_else(|| data.join(CERTIFICATE));
    let rights = |named: &Option<PathBuf>| match named {
        Some(_) => Rights::Caller,
        None => Rights::Owner,
    };
    let mut key_file = Output::create_with(rights(&args.key), &key_path, Readers::Owner)?;
    let rights = rights(&args.certificate);
    let mut certificate_file = Output::create_with(rights, &path, Readers::Everybody)?;
    certificate_file.write_text(&certificate.pem())?;
    key_file.write_text(&key.serialize_pem())?;
    key_file.put_in_place()?;
    certificate_file.put_in_place()?;
    if args.json {
        let body = MadeBody {
            certificate: &path,
            key: &key_path,
            hosts: &hosts,
            not_after: not_after.to_string(),
            sha256: &sha256,
        };
        print::print(&serde_json::to_string(&body).unwrap_or_default())?;
        return Ok(End::Done);
    }
    let (path, key_path) = (path.display(), key_path.display());
    // Names must be listed as allowed hosts; addresses and localhost are always allowed.
    let names: Vec<&str> = hosts
        .iter()
        .map(String::as_str)
        .filter(|host| *host != "localhost" && host.parse::<IpAddr>().is_err())
        .collect();
    let allowed = match names.as_slice() {
        [] => String::new(),
        names => format!(" --allowed-hosts {}", names.join(",")),
    };
    // Without a listener on all addresses, the name would lead nowhere.
    let first = hosts.first().map_or("localhost", String::as_str);
    let is_local =
        |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let listen = match hosts.iter().all(|host| is_local(host)) {
        true => "",
        false => " --listen :8420",
    };
    print::print(&format!(
        "certificate  {path}\n\
         private key  {key_path}\n\
         for          {}\n\
         until        {not_after}\n\
         SHA-256      {sha256}\n\n\
         Serve with it:\n  \
         latchkey serve --data {}{listen} --tls-certificate {path} --tls-key {key_path}{allowed}\n\
         Trust it on a client that has a copy:\n  \
         curl --cacert {path} https://{}:8420/healthz",
        hosts.join(", "),
        data.display(),
        shown_host(first),
    ))?;
    Ok(End::Done)
}

/// A host as part of a URL.
fn shown_host(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => host.to_owned(),
    }
}

/// The names in the certificate: those of the arguments, and always localhost and the loopback addresses.
fn hosts(args: &SelfSignedArgs) -> Result<Vec<String>> {
    let mut hosts = args.host.clone();
    if hosts.is_empty() {
        let system = rustix::system::uname();
        hosts.extend(system.nodename().to_str().ok().map(str::to_owned));
    }
    for host in &hosts {
        let is_host = host.parse::<IpAddr>().is_ok()
            || path::host(host).is_some_and(|known| known == host.to_ascii_lowercase());
        if !is_host {
            return Err(Failure::Usage(format!(
                "{host:?} is neither a host name nor an address"
            )));
        }
    }
    for own in ["localhost", "127.0.0.1", "::1"] {
        if !hosts.iter().any(|host| host == own) {
            hosts.push(own.to_owned());
        }
    }
    Ok(hosts)
}

/// The certificate is valid from one day ago, because the clock of a client may be slow.
fn made(
    hosts: &[String],
    now: Timestamp,
    not_after: Timestamp,
) -> std::result::Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let at = |time: Timestamp| {
        let since = Duration::from_secs(time.unix_s().unsigned_abs());
        date_time_ymd(1970, 1, 1) + since
    };
    let mut params = CertificateParams::new(hosts)?;
    params.not_before = at(now) - Duration::from_secs(DAY_S);
    params.not_after = at(not_after);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let name = hosts.first().map_or("latchkey", String::as_str);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?, key))
}
