//! Client certificates: valid ones, missing ones, and ones of the wrong authority.

use super::authority::Authority;
use super::client::TlsConnection;
use super::{server, text};

#[test]
fn only_clients_of_the_named_authority_are_let_in() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let ca = text(&authority.certificate());
    let server = server(&authority, &["--tls-client-ca", &ca]);
    let [ours, theirs, over] = [
        authority.issue("client", 90),
        stranger.issue("client", 90),
        authority.issue("late", -1),
    ];
    let ask = |pair: Option<&(std::path::PathBuf, std::path::PathBuf)>, version: &str| {
        let paths = pair.map(|(certificate, key)| (text(certificate), text(key)));
        let mut options = vec![version];
        if let Some((certificate, key)) = &paths {
            options.extend(["-cert", certificate, "-key", key]);
        }
        TlsConnection::open(server.address, &authority, &options).ask_health()
    };
    for version in ["-tls1_2", "-tls1_3"] {
        assert_eq!(ask(Some(&ours), version), Some(200), "{version}");
        assert_eq!(ask(None, version), None, "none, {version}");
        assert_eq!(
            ask(Some(&theirs), version),
            None,
            "of another authority, {version}"
        );
        assert_eq!(ask(Some(&over), version), None, "over, {version}");
    }
    // The machine's administrator needs none, because the Unix socket has its own rules.
    assert_eq!(server.local().get("/healthz").status, 200);
}
