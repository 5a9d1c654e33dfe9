//! How memory is given back to the system.
#![allow(unsafe_code)]

/// Large pieces are taken from the system one by one and given back when they are freed. The GNU allocator, left to itself,
/// learns from the first of them to keep such memory, for each thread: some large blobs later the process has hundreds of
/// MiB that it does not use. That of musl needs no telling. To be called before there are threads.
pub fn give_back_large_pieces() {
    #[cfg(target_env = "gnu")]
    {
        /// What counts as large, and how much that is free may be kept at the end of a heap.
        const BYTES: nix::libc::c_int = 1 << 20;
        // SAFETY: sets two numbers of the allocator, and there is no other thread yet.
        unsafe {
            nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, BYTES);
            nix::libc::mallopt(nix::libc::M_TRIM_THRESHOLD, BYTES);
        }
    }
}
