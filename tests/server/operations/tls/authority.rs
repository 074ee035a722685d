//! Certificates for tests, created by openssl.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::fresh_folder;

/// A certificate authority, and the folder with everything that it has issued; both are removed on drop.
pub struct Authority {
    pub folder: PathBuf,
}

impl Authority {
    pub fn new() -> Authority {
        let folder = fresh_folder();
        let authority = Authority { folder };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca-key.pem",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=test authority",
            "-days",
            "90",
        ]);
        authority
    }

    /// The certificate of the authority itself.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate and its key for localhost, valid for so many days from now; with a negative number it has expired.
    pub fn issue(&self, name: &str, days: i32) -> (PathBuf, PathBuf) {
        self.issue_of(name, days, &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    /// Like [`Authority::issue`], with another kind of key.
    pub fn issue_of(&self, name: &str, days: i32, kind: &[&str]) -> (PathBuf, PathBuf) {
        let [key, request, certificate] =
            ["-key.pem", ".csr", ".pem"].map(|end| format!("{name}{end}"));
        let subject = format!("/CN={name}");
        let mut asking = vec!["req", "-new", "-nodes", "-newkey"];
        asking.extend(kind);
        asking.extend(["-keyout", &key, "-out", &request, "-subj", &subject]);
        self.openssl(&asking);
        fs::write(
            self.folder.join("names"),
            "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
        )
        .expect("it can be written");
        let days = days.to_string();
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca-key.pem",
            "-days",
            &days,
            "-extfile",
            "names",
            "-out",
            &certificate,
        ]);
        let key = self.folder.join(key);
        fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("the mode can be set");
        (self.folder.join(certificate), key)
    }

    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl")
            .args(args)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .expect("openssl can be started");
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The SHA-256 fingerprint of a certificate, in the format of openssl.
pub fn fingerprint(certificate: &Path) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate)
        .output()
        .expect("openssl can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let digits = text.trim().split('=').nth(1);
    digits.unwrap_or_else(|| panic!("{output:?}")).to_owned()
}
