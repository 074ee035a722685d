//! What the kernel counts for this process, from `/proc` (proc_pid_stat(5), proc_pid_status(5), proc_pid_limits(5)).
//!
//! The names of the metrics that are made of it are those of Prometheus' own libraries.

use std::fs;

/// The unit of the times in `/proc/self/stat`, in ticks a second. It is a constant of the interface of Linux to programs,
/// independent of the kernel's own timer.
const TICKS_PER_SECOND: f64 = 100.0;

/// The figures of this process at one moment; `None` for each that the system hides.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Processor time of all threads, in the program and in the kernel.
    pub cpu_s: Option<f64>,
    /// Seconds since 1970 at which the process was started.
    pub started_at_s: Option<f64>,
    pub resident_bytes: Option<f64>,
    pub virtual_bytes: Option<f64>,
    pub descriptors: Option<f64>,
    /// The limit of `descriptors` in force; infinite without one.
    pub descriptors_max: Option<f64>,
}

impl Process {
    /// Reads the figures of this process.
    pub fn now() -> Process {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (stat, status) = (read("/proc/self/stat"), read("/proc/self/status"));
        let ticks = |position| Some(ticks(&stat, position)? / TICKS_PER_SECOND);
        let booted_at = field(&read("/proc/stat"), "btime");
        let bytes = |name| Some(field(&status, name)? * 1024.0);
        // Reading the folder takes a descriptor of its own.
        let open = fs::read_dir("/proc/self/fd").map(|entries| entries.count().saturating_sub(1));
        Process {
            cpu_s: ticks(UTIME)
                .zip(ticks(STIME))
                .map(|(own, kernel)| own + kernel),
            started_at_s: booted_at
                .zip(ticks(STARTTIME))
                .map(|(at, after)| at + after),
            resident_bytes: bytes("VmRSS:"),
            virtual_bytes: bytes("VmSize:"),
            descriptors: open.ok().map(|count| count as f64),
            descriptors_max: field(&read("/proc/self/limits"), "Max open files"),
        }
    }
}

/// Positions in `/proc/PID/stat` after the name, which may contain blanks and is in parentheses.
const UTIME: usize = 11;
/// See [`UTIME`].
const STIME: usize = 12;
/// See [`UTIME`].
const STARTTIME: usize = 19;

fn ticks(stat: &str, position: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let text = after_name.split_whitespace().nth(position)?;
    text.parse().ok()
}

/// The first number after a name at the start of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_after_a_name_with_blanks_and_parentheses() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 12345 1000 200";
        assert_eq!(ticks(stat, UTIME), Some(250.0));
        assert_eq!(ticks(stat, STIME), Some(50.0));
        assert_eq!(ticks(stat, STARTTIME), Some(12345.0));
        assert_eq!(ticks("", UTIME), None);
        assert_eq!(ticks("7 (a) S 1", UTIME), None);
    }

    #[test]
    fn numbers_are_found_by_the_name_of_their_line() {
        let status = "Name:\tVmRSS: 1 kB\nVmSize:\t   2000 kB\nVmRSS:\t     900 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some(900.0));
        assert_eq!(field(status, "VmSwap:"), None);
        let limits = "Max open files            1024                 524288               files\n";
        assert_eq!(field(limits, "Max open files"), Some(1024.0));
        let none = "Max open files            unlimited            unlimited            files\n";
        assert_eq!(field(none, "Max open files"), Some(f64::INFINITY));
        assert_eq!(field("Max open files", "Max open files"), None);
    }

    #[test]
    fn this_process_has_all_figures() {
        let process = Process::now();
        assert!(process.cpu_s.is_some() && process.started_at_s.unwrap() > 1e9);
        assert!(process.resident_bytes.unwrap() <= process.virtual_bytes.unwrap());
        assert!(process.descriptors.unwrap() <= process.descriptors_max.unwrap());
    }
}
