//! A certificate for a proxy, created by openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::stage::fresh_folder;

/// A certificate for 127.0.0.1 that signs itself.
pub struct Certificate {
    folder: PathBuf,
}

impl Certificate {
    /// In a folder of this name.
    pub fn new(name: &str) -> Certificate {
        let folder = fresh_folder(name);
        let done = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-subj", "/CN=proxy", "-addext"])
            .arg("subjectAltName=IP:127.0.0.1")
            .args(["-keyout", "key.pem", "-out", "certificate.pem"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        let certificate = Certificate { folder };
        let both = [certificate.key(), certificate.path()];
        let both = both.map(|file| fs::read_to_string(file).unwrap());
        fs::write(certificate.with_key(), both.concat()).unwrap();
        certificate
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    /// Both in one file, as HAProxy takes them.
    pub fn with_key(&self) -> PathBuf {
        self.folder.join("both.pem")
    }

    /// Replaces the names of the files in a text.
    pub fn written(&self, text: &str) -> String {
        let files = [
            ("CERTIFICATE_AND_KEY", self.with_key()),
            ("CERTIFICATE", self.path()),
            ("PRIVATE_KEY", self.key()),
        ];
        let mut text = text.to_owned();
        for (name, file) in files {
            let file: &Path = &file;
            text = text.replace(name, file.to_str().unwrap());
        }
        text
    }
}
