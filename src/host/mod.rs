//! The machine below us: systemd, journal, paths, PTY; the only home of `unsafe`.

pub mod pty;
