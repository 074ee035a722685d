//! Sites: a server that makes packs and a site that verifies from them, as real processes, with files in between.

mod commands;
mod console;
mod diode;
mod faults;
mod full;
mod histories;
mod killed;
mod lent;
mod link;
mod paper;
mod refused;
mod restored;
mod ways;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::command_line::{Line, Ran};
use crate::support::{Server, fresh_folder};

/// A server with a site that was enrolled and has nothing yet.
pub struct Pair {
    pub server: Server,
    pub site: Site,
}

/// The data folder of a site, and the folder that travels.
pub struct Site {
    pub name: String,
    folder: PathBuf,
    pub line: Line,
}

impl Pair {
    pub fn new() -> Pair {
        let server = Server::start();
        let site = Site::enrol(&server, "plant-7", &[]);
        Pair { server, site }
    }

    /// The command line of the server.
    pub fn line(&self) -> Line {
        Line::of(&self.server)
    }

    /// Makes the next pack on the stick of the site.
    #[track_caller]
    pub fn make(&self, more: &[&str]) {
        let stick = self.site.stick();
        let out = ["pack", "make", "--site", &self.site.name, "--out"];
        let all = [&out[..], &[stick.to_str().unwrap()], more].concat();
        self.line().ok(&all);
    }

    /// Makes the next pack, and applies it.
    #[track_caller]
    pub fn bring(&self) {
        self.make(&[]);
        self.site.apply();
    }
}

impl Site {
    #[track_caller]
    pub fn enrol(server: &Server, name: &str, more: &[&str]) -> Site {
        let folder = fresh_folder();
        fs::write(
            folder.join("passphrase"),
            "seven lanterns over the harbour\n",
        )
        .unwrap();
        fs::create_dir(folder.join("stick")).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let (file, passphrase) = (path("enrolment"), path("passphrase"));
        let add = [
            "site",
            "add",
            name,
            "--workspace",
            "root",
            "--server-name",
            "server.example",
        ];
        let files = ["--out", &file, "--passphrase-file", &passphrase];
        Line::of(server).ok(&[&add[..], &files, more].concat());
        let line = Line::at(&folder.join("data"));
        line.ok(&["site", "init", &file, "--passphrase-file", &passphrase]);
        Site {
            name: name.to_owned(),
            folder,
            line,
        }
    }

    pub fn data(&self) -> &Path {
        self.line.data()
    }

    pub fn stick(&self) -> PathBuf {
        self.folder.join("stick")
    }

    /// The packs on the stick, by name.
    pub fn packs(&self) -> Vec<PathBuf> {
        let folder = self.stick().join(&self.name);
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut packs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        packs.sort();
        packs
    }

    pub fn try_apply(&self, path: &Path) -> Ran {
        self.line.run(&["pack", "apply", path.to_str().unwrap()])
    }

    /// Applies the newest pack of the stick.
    #[track_caller]
    pub fn apply(&self) -> String {
        self.line
            .ok(&["pack", "apply", self.stick().to_str().unwrap()])
    }

    pub fn status(&self) -> Value {
        self.line.json(&["site", "status"])
    }

    pub fn serve(&self) -> Server {
        self.serve_with(&[], &[])
    }

    pub fn serve_with(&self, args: &[&str], env: &[(&str, &str)]) -> Server {
        Server::serve_site(self.data(), args, env)
    }

    /// Copies a file or a folder below the folder of this site.
    pub fn copy(from: &Path, to: &Path) {
        if !from.is_dir() {
            // A socket and the lock are not content.
            if from.is_file() {
                fs::copy(from, to).unwrap();
            }
            return;
        }
        let _ = fs::remove_dir_all(to);
        fs::create_dir(to).unwrap();
        fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            Site::copy(&path, &to.join(path.file_name().unwrap()));
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A question about a secret alone.
pub fn question(secret: &str) -> Value {
    json!({ "key": secret })
}
