//! The processes of a session, and how they are ended.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

/// How often to look whether the processes are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A session in the sense of `setsid`: a program and everything started from it that has not left for a session of its own.
///
/// The kernel gives the number to no other process while the session has a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session(Pid);

impl Session {
    pub(super) fn new(leader: i32) -> Self {
        Session(Pid::from_raw(leader))
    }

    /// Process id of the program that leads it.
    pub fn id(self) -> i32 {
        self.0.as_raw()
    }

    /// The processes that live in it now; zombies don't count.
    pub fn members(self) -> Vec<i32> {
        self.look().unwrap_or_default()
    }

    /// As [`Session::members`]; `None` where `/proc` tells nothing.
    fn look(self) -> Option<Vec<i32>> {
        let members = fs::read_dir("/proc")
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| lives_in(&stat) == Some(self.id()))
            })
            .collect();
        Some(members)
    }

    /// Ends all of it: the hang-up signal first, and what still lives after `grace` is killed. Returns as soon as nothing lives,
    /// or after the kill.
    pub async fn end(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.on_thread(move || self.signal(&[Signal::SIGHUP, Signal::SIGCONT])).await;
        loop {
            if self.on_thread(move || self.members()).await.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.on_thread(move || self.signal(&[Signal::SIGKILL])).await;
    }

    /// Sends signals to every member. Where `/proc` tells nothing, to the leader's process group.
    fn signal(self, signals: &[Signal]) {
        let members = self.look();
        for signal in signals {
            match &members {
                Some(members) => {
                    for pid in members {
                        // Gone meanwhile is fine.
                        let _ = kill(Pid::from_raw(*pid), *signal);
                    }
                }
                None => {
                    let _ = killpg(self.0, *signal);
                }
            }
        }
    }

    async fn on_thread<T: Default + Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(work).await.unwrap_or_default()
    }
}

/// The session of a process from its line in `/proc/PID/stat`, unless it is a zombie or dead.
fn lives_in(stat: &str) -> Option<i32> {
    // The second field is the name in parentheses; it may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::lives_in;

    #[test]
    fn session_is_read_behind_any_name() {
        assert_eq!(lives_in("12 (bash) S 1 12 11 34816 12 4194304"), Some(11));
        assert_eq!(lives_in("12 (a) b) (c) R 1 12 10 0"), Some(10));
        assert_eq!(lives_in("12 (bash) Z 1 12 11 34816"), None);
        assert_eq!(lives_in("12 (bash"), None);
        assert_eq!(lives_in(""), None);
    }
}
