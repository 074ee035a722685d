//! The limits of the HTTP server. docs/operations.md names those that operators meet; tests use shorter times.

use super::memory;
use super::pool::Sizes;
use std::ops::RangeInclusive;

/// The limits of one server. All times are whole seconds, with an accuracy of two clock ticks (0.2 s).
#[derive(Clone, Debug)]
pub struct Limits {
    /// The memory of all answers that clients have not read. The first 8 KiB of each and the bytes that several answers
    /// share do not count. Beyond it, an answer to a request that can be repeated becomes `Fault::Unread`.
    pub answers_bytes_max: usize,
    /// The memory of all bodies that are being received, without the first 64 KiB of each; more is `Fault::Busy`. A
    /// single body that could never fit is `Fault::TooLarge`.
    pub bodies_bytes_max: usize,
    /// The time that a client may take for each 64 KiB of a body; then 408.
    pub body_s: u64,
    /// The number of open connections of all listeners. One more for each listener may wait for a slot.
    pub connections_max: usize,
    /// How long `run` waits for requests in flight after it was asked to stop.
    pub drain_s: u64,
    /// The bytes of request line and headers together; more is 431.
    pub head_bytes_max: usize,
    /// The memory of all heads that are being received or answered, including the copies of them, without the first
    /// 16 KiB of each; more is `Fault::Busy`.
    pub heads_bytes_max: usize,
    /// The time from the first byte of a head to its last; then 408.
    pub head_s: u64,
    /// The number of header lines of one request; more is 431.
    pub headers_max: usize,
    /// The time between two requests, and before the first; then the connection is closed without an answer.
    pub idle_s: u64,
    /// The memory of the first 64 KiB of all bodies that are being received, without the first 4 KiB of each; more is
    /// `Fault::Busy`.
    pub small_bodies_bytes_max: usize,
    /// How many of the connections are reserved for the Unix socket; at most a quarter of them.
    pub unix_connections_reserved: usize,
    /// A client that reads less than 64 KiB of an answer in this time is disconnected.
    pub write_s: u64,
}

/// The longest request line in bytes, without its CRLF; more is 414.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;

/// The possible values of `head_bytes_max`, and its default: as much as proxies accept.
pub const HEAD_BYTES: RangeInclusive<u32> = 16 * 1024..=64 * 1024;
pub const HEAD_BYTES_DEFAULT: u32 = 32 * 1024;

/// The first bytes of a head, which only the bound on connections limits: a request that has little more than its key
/// is never refused for lack of memory.
pub const FREE_HEAD_BYTES: usize = 16 * 1024;

/// The first bytes of a body, which only the bound on connections limits: a verification is never refused for lack of
/// memory.
pub const FREE_BODY_BYTES: usize = 4 * 1024;

/// The size up to which a body counts as small.
pub const SMALL_BODY_BYTES: usize = 64 * 1024;

/// The first bytes of an answer, which only the bound on connections limits: a verdict is never refused for lack of
/// memory.
pub const FREE_ANSWER_BYTES: usize = 8 * 1024;

/// After this many bytes that a client sends or reads, the deadline of a body or of a write starts again.
pub const PROGRESS_BYTES: usize = 64 * 1024;

/// The number of blocking threads, and of requests that may wait for one: beyond `queue_max` of a class, a request is
/// `Fault::Busy`.
pub const BLOCKING: Sizes = Sizes {
    threads: 16,
    reserved_threads: 2,
    queue_max: 256,
};

/// All large bodies together may use an eighth of the server's memory, and never more than `BODIES_BYTES_MAX`.
const BODIES_PART_OF_MEMORY: u64 = 8;
const BODIES_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// After an early answer this much of what the client still sends is read and thrown away, for at most this long,
/// so that the answer is not lost in a connection reset (RFC 9112, 9.6).
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;
pub const LINGER_S: u64 = 2;

/// Descriptors that are never given to connections: database, log, listeners, epoll.
const DESCRIPTORS_RESERVED: u64 = 64;
const CONNECTIONS_MAX: usize = 4096;
const CONNECTIONS_MIN: usize = 16;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            answers_bytes_max: 48 * 1024 * 1024,
            bodies_bytes_max: bodies_bytes_max(memory::available_bytes()),
            body_s: 10,
            connections_max: connections_max(),
            drain_s: 10,
            head_bytes_max: HEAD_BYTES_DEFAULT as usize,
            head_s: 10,
            headers_max: 100,
            heads_bytes_max: 48 * 1024 * 1024,
            idle_s: 75,
            small_bodies_bytes_max: 48 * 1024 * 1024,
            unix_connections_reserved: 16,
            write_s: 10,
        }
    }
}

fn bodies_bytes_max(available: Option<u64>) -> usize {
    let share = available.map_or(BODIES_BYTES_MAX, |bytes| bytes / BODIES_PART_OF_MEMORY);
    usize::try_from(share.min(BODIES_BYTES_MAX)).unwrap_or(usize::MAX)
}

/// 4096, or what the process may open less the reserve, but never under 16.
fn connections_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let Some(limit) = limit else {
        return CONNECTIONS_MAX; // unlimited
    };
    usize::try_from(limit.saturating_sub(DESCRIPTORS_RESERVED))
        .unwrap_or(CONNECTIONS_MAX)
        .clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_have_an_eighth_of_the_memory_and_a_bound() {
        const MIB: u64 = 1024 * 1024;
        assert_eq!(bodies_bytes_max(Some(200 * MIB)), 25 * 1024 * 1024);
        assert_eq!(bodies_bytes_max(Some(64 * 1024 * MIB)), 256 * 1024 * 1024);
        assert_eq!(bodies_bytes_max(None), 256 * 1024 * 1024);
    }
}
