//! Returns freed memory to the system. This is the only file with unsafe code, for two calls of the C library.
//!
//! glibc never returns memory that was freed in the middle of its arenas, and keeps at their ends up to twice the
//! largest block that was freed so far: after 4,000 connections with a buffer each have ended, a server would keep most
//! of their memory. `malloc_trim` returns the free whole pages of all arenas, and `mallopt` limits how much free memory
//! may stay at the end of each. Neither rustix nor the standard library offers these calls. Environment variables of
//! glibc would have to be set by the user who starts the program. Another allocator would change the cost of every
//! request and would not manage the memory of SQLite, which is written in C.
//!
//! Neither call can fail in a harmful way: they take numbers, do not touch allocated memory, and take the locks that
//! they need. `malloc_trim` holds the lock of an arena while it examines it, so it runs only after much memory has been
//! freed (see `held`).

#![allow(unsafe_code)]

#[cfg(target_env = "gnu")]
mod glibc {
    use std::ffi::c_int;

    unsafe extern "C" {
        pub safe fn malloc_trim(pad: usize) -> c_int;
        pub safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }

    /// More free memory than this at the end of an arena is returned immediately. The value is from malloc.h.
    pub const M_TRIM_THRESHOLD: c_int = -1;
    /// Blocks of at least this size are mapped from the system one by one and are returned when they are freed. The
    /// value is from malloc.h.
    pub const M_MMAP_THRESHOLD: c_int = -3;
    pub const THRESHOLD_BYTES: c_int = 512 * 1024;
}

/// Sets how much free memory is kept. Called once at the start. Like [`give_back`] it does nothing if the C library is
/// not glibc.
pub fn settle() {
    #[cfg(target_env = "gnu")]
    {
        glibc::mallopt(glibc::M_MMAP_THRESHOLD, glibc::THRESHOLD_BYTES);
        glibc::mallopt(glibc::M_TRIM_THRESHOLD, glibc::THRESHOLD_BYTES);
    }
}

/// Returns free memory to the system.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    glibc::malloc_trim(0);
}
