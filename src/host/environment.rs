//! The environment: what we were started with, what we forget of it, and what our children get.

#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    env,
    ffi::{CString, OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use nix::libc;

/// Names and values of an environment.
pub type Environment = BTreeMap<OsString, OsString>;

/// Variables that hold secrets: removed from our own environment once they were read.
pub const SECRETS: &[&str] =
    &["AUTH_TOKEN", "COMPUTE_SERVER", "OUTPOST_SYSTEM_PASSWORD", "OUTPOST_PROJECT_SECRET", "OUTPOST_METRICS_TOKEN"];

/// Variables that children do not get (project.md §18): secrets, our own settings (a leaked `PORT` breaks people's web
/// servers), and what systemd says to us alone.
const REMOVED: &[&str] = &[
    "AUTH_TOKEN",
    "BASE_PATH",
    "COCALC_ROOT",
    "COMPUTE_SERVER",
    "CONAT_SERVER",
    "CREDENTIALS_DIRECTORY",
    "DATA",
    "DEBUG",
    "DEBUG_CONSOLE",
    "DEBUG_FILE",
    "HISTFILE",
    "HOST",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MAINPID",
    "NODE_ENV",
    "NODE_PATH",
    "NODE_VERSION",
    "NOTIFY_SOCKET",
    "PATH_COCALC",
    "PORT",
    "PROMPT_COMMAND",
    "SECRETS",
    "SSL_DIR",
    "STATE_DIRECTORY",
    "SYSTEMD_EXEC_PID",
];

/// Beginnings of names that children do not get.
const REMOVED_PREFIXES: &[&str] = &["npm_", "NVM_", "OUTPOST_", "LISTEN_", "WATCHDOG_", "MEMORY_PRESSURE_"];

/// The environment as it is now.
pub fn snapshot() -> Environment {
    env::vars_os().collect()
}

/// What remains of an environment for children.
pub fn clean(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    variables.into_iter().filter(|(name, _)| !is_removed(name)).collect()
}

/// The environment for terminals and programs: pass it to `Command::env_clear().envs(…)`.
pub fn for_children() -> Environment {
    clean(env::vars_os())
}

fn is_removed(name: &OsStr) -> bool {
    let name = name.as_bytes();
    REMOVED.iter().any(|removed| removed.as_bytes() == name)
        || REMOVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// Settles down in `home`: makes it the current directory and `HOME`, and takes secrets out of our environment, also out of
/// the memory behind `/proc/self/environ`, where every program of the same user can read it.
///
/// # Errors
/// When the directory cannot be entered, or when other threads run already.
#[allow(clippy::disallowed_methods)] // There is no other thread yet, which is why they are disallowed elsewhere.
pub fn settle(home: &Path) -> io::Result<()> {
    env::set_current_dir(home)?;
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("the environment can't be changed once threads run"));
    }
    for name in SECRETS {
        wipe(name);
        // SAFETY: there is one thread, as was just counted, so nobody reads the environment meanwhile.
        unsafe { env::remove_var(name) };
    }
    // SAFETY: as above.
    unsafe { env::set_var("HOME", home) };
    Ok(())
}

/// Overwrites the value of a variable where it stands. `remove_var` only forgets the pointer to it.
fn wipe(name: &str) {
    let Ok(name) = CString::new(name) else { return };
    // SAFETY: `name` ends in NUL. The pointer, if any, leads to the NUL-terminated value inside the environment block, which
    // is writable memory of this process; bytes are overwritten up to the NUL and not beyond. The only caller has made sure
    // that there is no other thread.
    unsafe {
        let mut byte = libc::getenv(name.as_ptr());
        while !byte.is_null() && *byte != 0 {
            byte.write_volatile(0);
            byte = byte.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_children_get_neither_secrets_nor_our_settings() {
        let given = [
            ("AUTH_TOKEN", "x"),
            ("COMPUTE_SERVER", "x"),
            ("OUTPOST_SYSTEM_PASSWORD", "x"),
            ("OUTPOST_LOG", "debug"),
            ("PORT", "5000"),
            ("DATA", "/d"),
            ("NVM_DIR", "/n"),
            ("npm_config_x", "1"),
            ("LISTEN_FDS", "1"),
            ("NOTIFY_SOCKET", "/run/x"),
            ("WATCHDOG_USEC", "1"),
            ("JOURNAL_STREAM", "8:1"),
            ("INVOCATION_ID", "1"),
            ("CREDENTIALS_DIRECTORY", "/run/c"),
            ("HOME", "/home/u"),
            ("USER", "u"),
            ("LANG", "C.UTF-8"),
            ("PATH", "/bin"),
            ("PORTAL", "kept: only the exact name goes"),
            ("NPM_X", "kept: the prefix is lower case"),
        ];
        let cleaned = clean(given.map(|(name, value)| (name.into(), value.into())));
        let names: Vec<_> = cleaned.keys().map(|name| name.to_str().unwrap()).collect();
        assert_eq!(names, ["HOME", "LANG", "NPM_X", "PATH", "PORTAL", "USER"]);
    }

    #[test]
    fn every_secret_variable_is_removed() {
        assert!(SECRETS.iter().all(|name| is_removed(OsStr::new(name))));
    }
}
