//! The three proxies: their ports, and how each is started with its example.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::process::{self, Process};

/// A reverse proxy, and the command line that its `README.md` names.
pub struct Proxy {
    /// Also the name of its program and of its folder in `examples/`.
    pub name: &'static str,
    pub port: u16,
    args: fn(config: &str, folder: &str) -> Vec<String>,
    config: &'static str,
}

pub const CADDY: Proxy = Proxy {
    name: "caddy",
    port: 8082,
    args: |config, _| words(&["run", "--adapter", "caddyfile", "--config", config]),
    config: "Caddyfile",
};

pub const HAPROXY: Proxy = Proxy {
    name: "haproxy",
    port: 8083,
    args: |config, _| words(&["-db", "-f", config]),
    config: "haproxy.cfg",
};

pub const NGINX: Proxy = Proxy {
    name: "nginx",
    port: 8081,
    args: |config, folder| {
        let mut args = words(&["-p", folder, "-c", config]);
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            // Otherwise the workers are `nobody`, who may not enter every folder.
            args.extend(words(&["-g", "user root;"]));
        }
        args
    },
    config: "nginx.conf",
};

impl Proxy {
    /// `None` if it is not installed, which is a failure only where all must run.
    pub fn find(&self) -> Option<PathBuf> {
        let program = process::find(self.name);
        if program.is_none() {
            let left_out = format!(
                "left out: {} is not installed (dev/test installs it)",
                self.name
            );
            assert!(
                std::env::var("LATCHKEY_TEST_ALL").as_deref() != Ok("1"),
                "{left_out}"
            );
            println!("{left_out}");
        }
        program
    }

    pub fn start(&self, program: &Path, folder: &Path) -> Process {
        let config = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("examples")
            .join(self.name)
            .join(self.config);
        let args = (self.args)(config.to_str().unwrap(), folder.to_str().unwrap());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Process::start(program, &args, folder, self.port)
    }
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|word| (*word).to_owned()).collect()
}
