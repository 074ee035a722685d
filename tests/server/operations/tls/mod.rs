//! TLS from outside, with openssl as the client: supported versions, client certificates, and the renewal of
//! certificates.

mod authority;
mod client;
mod clients;
mod handshakes;
mod renewal;
mod start;
mod versions;

use std::path::PathBuf;

use crate::support::Server;
use authority::Authority;

/// A server with a certificate of its own authority.
fn server(authority: &Authority, more: &[&str]) -> Server {
    let pair = authority.issue("server", 90);
    serve_with(&pair, more)
}

/// `pair` is the certificate and its key.
fn serve_with(pair: &(PathBuf, PathBuf), more: &[&str]) -> Server {
    let (certificate, key) = (text(&pair.0), text(&pair.1));
    let mut args = vec!["--tls-certificate", &certificate, "--tls-key", &key];
    args.extend(more);
    Server::start_with(&args, &[])
}

fn text(path: &std::path::Path) -> String {
    path.to_str().expect("text").to_owned()
}
