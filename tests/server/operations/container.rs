//! The container of `examples/container`, without a container engine: a root folder with nothing but the program, as the
//! user of the image and as process 1. The program under test is linked dynamically, so its libraries are there too.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::refusal::{self, Ended};
use crate::support::{fresh_folder, wait};

/// The user in the image.
const USER: u32 = 65532;

/// A folder that serves as the root of a container.
struct Container {
    root: PathBuf,
}

impl Container {
    /// A root with a volume of this owner and mode.
    fn new(owner: (u32, u32), mode: u32) -> Container {
        let root = fresh_folder();
        fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
        let program = env!("CARGO_BIN_EXE_latchkey");
        fs::copy(program, root.join("latchkey")).unwrap();
        let listed = Command::new("ldd").arg(program).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let libraries = listed
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        for library in libraries {
            let copy = root.join(&library[1..]);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(library, copy).unwrap();
        }
        let data = root.join("data");
        fs::create_dir(&data).unwrap();
        chown(&data, Some(owner.0), Some(owner.1)).unwrap();
        fs::set_permissions(&data, Permissions::from_mode(mode)).unwrap();
        Container { root }
    }

    /// The first process of a container.
    fn first(&self, args: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "chroot"]);
        self.inside(command, args)
    }

    /// A further process of the container whose first one this is, as `docker exec` starts it.
    fn further(&self, first: Pid, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        let target = format!("--target={}", first.as_raw_nonzero());
        command.args([&target, "--pid", "chroot"]);
        self.inside(command, args)
    }

    /// The rest of the command, with the variables of the image; the port is any free one on loopback.
    fn inside(&self, mut command: Command, args: &[&str]) -> Command {
        command
            .arg(format!("--userspec={USER}:{USER}"))
            .arg("--groups=")
            .arg(&self.root)
            .arg("/latchkey")
            .args(args)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        for (name, value) in variables() {
            let value = match name.as_str() {
                "LATCHKEY_LISTEN" => "127.0.0.1:0",
                _ => &value,
            };
            command.env(name, value);
        }
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Ended {
        refusal::ended(&mut self.first(args))
    }

    /// Serves, and returns once requests are answered.
    fn serve(&self) -> Serving {
        let mut command = self.first(&["serve", "--json"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|err| panic!("{err}: {line}"));
        assert_eq!(said["socket"], "/data/latchkey.sock");
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let children = fs::read_to_string(children).unwrap();
        Serving {
            child,
            // The only child of `unshare`.
            first: Pid::from_raw(children.trim().parse().unwrap()).unwrap(),
        }
    }

    fn data(&self) -> PathBuf {
        self.root.join("data")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A container that serves; it ends on drop.
struct Serving {
    child: Child,
    /// Process 1 of the container, as this machine sees it.
    first: Pid,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // The first process ends with `unshare` (--kill-child).
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn containerfile() -> String {
    fs::read_to_string("examples/container/Containerfile").unwrap()
}

/// The variables of the image.
fn variables() -> Vec<(String, String)> {
    let text = containerfile();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("ENV "))
        .unwrap();
    let pairs = line.split(' ').map(|pair| pair.split_once('=').unwrap());
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn is_left_out() -> bool {
    let probe = Command::new("unshare")
        .args(["--pid", "--fork", "true"])
        .status();
    let can = rustix::process::geteuid().is_root() && probe.is_ok_and(|status| status.success());
    assert!(
        can || std::env::var_os("LATCHKEY_TEST_ALL").is_none(),
        "only root can run a container"
    );
    if !can {
        println!("left out: only root can run a container");
    }
    !can
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_container_with_nothing_but_the_program_makes_serves_and_ends() {
    if is_left_out() {
        return;
    }
    // The modes that engines give to volumes: Docker's and Podman's, and those of `fsGroup` in Kubernetes.
    for mode in [0o755, 0o2770, 0o700] {
        let container = Container::new((USER, USER), mode);
        let made = container.run(&["init", "--json"]);
        assert_eq!(made.code, Some(0), "{mode:o}: {made:?}");
        assert_eq!(mode_of(&container.data()), 0o700, "{mode:o}");
        let is_told = made.stderr.contains("these rights were taken away");
        assert_eq!(is_told, mode != 0o700, "{made:?}");

        let stopped = container.run(&["health"]);
        stopped.expect_refused(&["not healthy"]);
        // At the second start of a pod, the files are open to the group too.
        fs::set_permissions(container.data(), Permissions::from_mode(mode)).unwrap();
        let mut serving = container.serve();
        let further = |args: &[&str]| refusal::ended(&mut container.further(serving.first, args));
        let healthy = wait::some("it is healthy", || {
            let ended = further(&["health"]);
            (ended.code == Some(0)).then_some(ended)
        });
        assert_eq!(healthy.stdout.trim(), "healthy");
        for args in [&["health", "--write"][..], &["key", "issue", "web shop"]] {
            let ended = further(args);
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }

        kill_process(serving.first, Signal::TERM).unwrap();
        let status = wait::some("process 1 has ended", || serving.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

#[test]
fn a_volume_of_another_user_is_used_through_a_folder_below_it() {
    if is_left_out() {
        return;
    }
    let container = Container::new((0, USER), 0o2770);
    container.run(&["init"]).expect_refused(&[
        "/data belongs to user 0",
        "name a folder below it: --data /data/latchkey",
    ]);
    let made = container.run(&["init", "--data", "/data/latchkey"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(mode_of(&container.data().join("latchkey")), 0o700);
}

#[test]
fn the_image_has_the_user_the_volume_and_the_check_of_the_tests() {
    let text = containerfile();
    for line in [
        "FROM scratch",
        "USER 65532:65532",
        "VOLUME /data",
        "COPY --chown=65532:65532 --chmod=0700 data /data",
        "ENTRYPOINT [\"/latchkey\"]",
        "CMD [\"serve\"]",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    assert!(text.contains("CMD [\"/latchkey\", \"health\"]"));
    // What the composition replaces in nginx's configuration is there.
    let compose = fs::read_to_string("examples/container/compose.yaml").unwrap();
    let nginx = fs::read_to_string("examples/nginx/nginx.conf").unwrap();
    for address in ["127.0.0.1:8081", "127.0.0.1:8420", "127.0.0.1:9000"] {
        assert!(compose.contains(&format!("-e s/{address}/")), "{address}");
        let places = nginx
            .lines()
            .filter(|line| line.contains(&format!(" {address};")));
        assert_eq!(places.count(), 1, "{address}");
    }
    let settings = refusal::ended(crate::support::executable(None).args([
        "check-config",
        "--config",
        "examples/container/data/latchkey.toml",
    ]));
    assert_eq!(settings.code, Some(0), "{settings:?}");
}
