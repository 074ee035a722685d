//! The memory of the machine or the limit of the control group of this process, whichever is less.

use std::fs;
use std::path::Path;

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// Bytes; `None` if the system does not provide the number.
pub fn available_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(total_of_machine);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = limit_files(&groups).into_iter().filter_map(|file| {
        let text = fs::read_to_string(Path::new(GROUPS).join(file)).ok()?;
        text.trim().parse().ok() // "max": no limit
    });
    group.chain(machine).min()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_of_machine(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files that may contain a limit, below the mount point of control groups: those of each group of the process and
/// of all groups above it. In a container the path does not exist, and the limit of its own group is at the top.
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next(), parts.next(), parts.next());
        let (Some(controllers), Some(path)) = (controllers, path) else {
            continue;
        };
        let (folder, name) = match controllers {
            "" => ("", "memory.max"),
            list if list.split(',').any(|one| one == "memory") => {
                ("memory/", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut path = path.trim_matches('/');
        loop {
            let slash = if path.is_empty() { "" } else { "/" };
            files.push(format!("{folder}{path}{slash}{name}"));
            match path.rsplit_once('/') {
                _ if path.is_empty() => break,
                Some((above, _)) => path = above,
                None => path = "",
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_machine_is_read() {
        let text = "MemTotal:        8050196 kB\nMemFree:          120000 kB\n";
        assert_eq!(total_of_machine(text), Some(8_050_196 * 1024));
        assert_eq!(total_of_machine("MemFree: 1 kB\n"), None);
        assert!(available_bytes().is_some_and(|bytes| bytes > 1024 * 1024));
    }

    #[test]
    fn limits_of_both_versions_of_control_groups_and_of_the_groups_above_are_looked_for() {
        let both = "4:memory:/system.slice/x.service\n2:cpu,cpuacct:/\n0::/user.slice\n";
        let expected = [
            "memory/system.slice/x.service/memory.limit_in_bytes",
            "memory/system.slice/memory.limit_in_bytes",
            "memory/memory.limit_in_bytes",
            "user.slice/memory.max",
            "memory.max",
        ];
        assert_eq!(limit_files(both), expected);
        assert_eq!(limit_files("0::/\n"), ["memory.max"]);
        assert!(limit_files("nonsense").is_empty());
    }
}
