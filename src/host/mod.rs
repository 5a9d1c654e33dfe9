//! The machine below us: systemd, journal, paths, PTY; the only home of `unsafe`.

pub mod activation;
pub mod addresses;
pub mod connection_info;
pub mod data_lock;
pub mod directory_watch;
pub mod environment;
pub mod journal;
pub mod listen;
pub mod log;
pub mod memory;
pub mod notify;
pub mod process;
pub mod pty;
pub mod signals;
pub mod watchdog;
