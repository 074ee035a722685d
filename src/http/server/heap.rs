//! Gives freed memory back to the system: the only file with unsafe code, for two calls of the C library.
//!
//! glibc keeps what was freed in the middle of its arenas for good, and at their ends up to twice the largest block that was
//! freed so far: after 4,000 connections with a buffer each have left, a server would keep most of their memory.
//! `malloc_trim` gives whole free pages of all arenas back, and `mallopt` fixes how much may stay at the end of each. Neither
//! rustix nor the standard library offers them, environment variables of glibc would have to be set by whoever starts the
//! program, and another allocator would change what every request costs and leave SQLite, which is C, where it is.
//!
//! Of both calls nothing can go wrong: they take numbers, touch nothing that is allocated, and take the locks that they
//! need. `malloc_trim` holds the lock of an arena for as long as it looks through it, so it runs only when much has gone
//! (see `held`).

#![allow(unsafe_code)]

#[cfg(target_env = "gnu")]
mod glibc {
    use std::ffi::c_int;

    unsafe extern "C" {
        pub safe fn malloc_trim(pad: usize) -> c_int;
        pub safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }

    /// What is free at the end of an arena beyond this is given back at once. From malloc.h.
    pub const M_TRIM_THRESHOLD: c_int = -1;
    /// Blocks of this size are the system's own, and go back to it when they are freed. From malloc.h.
    pub const M_MMAP_THRESHOLD: c_int = -3;
    pub const THRESHOLD_BYTES: c_int = 512 * 1024;
}

/// Settles how much is kept. Called once, before there is much to keep. Like [`give_back`] it does nothing where the C
/// library is not glibc.
pub fn settle() {
    #[cfg(target_env = "gnu")]
    {
        glibc::mallopt(glibc::M_MMAP_THRESHOLD, glibc::THRESHOLD_BYTES);
        glibc::mallopt(glibc::M_TRIM_THRESHOLD, glibc::THRESHOLD_BYTES);
    }
}

/// Gives back what is free.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    glibc::malloc_trim(0);
}
