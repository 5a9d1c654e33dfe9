//! systemd's journal.

use std::{env, os::fd::AsFd};

use nix::sys::stat::fstat;

/// Whether a descriptor leads to the journal: systemd names device and inode in `JOURNAL_STREAM`.
pub fn leads_to_journal(descriptor: impl AsFd) -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fstat(descriptor).is_ok_and(|stat| is_stream(&stream, stat.st_dev, stat.st_ino))
}

fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    stream.split_once(':').is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_and_inode_have_to_match() {
        assert!(is_stream("8:123", 8, 123));
        for text in ["8:124", "9:123", "8", "", "8:123:1", "x:y"] {
            assert!(!is_stream(text, 8, 123), "{text}");
        }
    }
}
