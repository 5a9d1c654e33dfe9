//! scripts/setup.sh on machines that lack something: programs of our own stand for those of the machine and note their calls.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// What the script may take from the real machine.
const BASICS: [&str; 13] =
    ["bash", "cat", "cut", "dirname", "env", "head", "mkdir", "mktemp", "rm", "sed", "sha256sum", "sh", "sort"];

/// A checkout, in a folder whose name has spaces, on a machine with Rust, Node.js and npm.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine { folder: tempfile::tempdir().unwrap() };
        let checkout = machine.checkout();
        for folder in ["scripts", "web/node_modules", "tests/node_modules"] {
            fs::create_dir_all(checkout.join(folder)).unwrap();
        }
        for folder in ["web", "tests"] {
            fs::write(checkout.join(folder).join("package-lock.json"), "{}").unwrap();
        }
        fs::create_dir(machine.programs()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup.sh");
        fs::copy(script, checkout.join("scripts/setup.sh")).unwrap();
        for name in BASICS {
            let real = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name)).into_iter().find(|p| p.exists());
            symlink(real.expect(name), machine.programs().join(name)).unwrap();
        }
        machine
            .program("cargo", "echo cargo 1.95.0")
            .program("node", "echo v22.1.0")
            .program("npm", "")
            .program("sqlite3", "")
            .program("apt-get", "")
    }

    fn checkout(&self) -> PathBuf {
        self.folder.path().join("a checkout")
    }

    fn programs(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// Adds a program that notes its call and then does something.
    fn program(self, name: &str, then: &str) -> Machine {
        let calls = self.folder.path().join("calls");
        let path = self.programs().join(name);
        let text = format!("#!/bin/sh\necho \"{name} $*\" >>'{}'\n{then}\n", calls.display());
        // Written by another process: a file that this one has open for writing, if only in a child that a test beside this
        // one has just forked, can't be run.
        let write = r#"printf %s "$1" >"$0" && chmod 755 "$0""#;
        assert!(Command::new("/bin/sh").args(["-c", write]).arg(&path).arg(text).status().unwrap().success());
        self
    }

    fn root(self) -> Machine {
        self.program("id", "echo 0")
    }

    fn user(self) -> Machine {
        self.program("id", "echo 1000")
    }

    fn with_compiler(self) -> Machine {
        self.program("cc", "cat >/dev/null")
    }

    fn run(&self, what: &str, chromium: Option<&str>) -> Output {
        let mut command = Command::new(self.programs().join("bash"));
        command.arg(self.checkout().join("scripts/setup.sh")).arg(what);
        command.env_clear().env("PATH", self.programs()).current_dir("/");
        command.envs(chromium.map(|path| ("CHROMIUM", path))).output().unwrap()
    }

    fn called(&self, what: &str) -> bool {
        fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default().contains(what)
    }

    fn install(packages: &str) -> String {
        format!("install -y --no-install-recommends {packages}\n")
    }
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

fn says(output: &Output, what: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains(what) && said.lines().count() == 1, "{output:?}");
}

#[test]
fn what_is_there_is_not_installed() {
    let machine = Machine::new().root().with_compiler().program("chromium", "");
    succeeds(&machine.run("test", None));
    assert!(!machine.called("apt-get"));
    assert!(machine.called("npm ci"));
    // Once is enough.
    fs::remove_file(machine.folder.path().join("calls")).unwrap();
    succeeds(&machine.run("test", None));
    assert!(!machine.called("npm ci"));
}

#[test]
fn a_compiler_is_installed_where_there_is_none_or_a_useless_one() {
    let machine = Machine::new().root();
    succeeds(&machine.run("rust", None));
    assert!(machine.called(&Machine::install("gcc libc6-dev")));
    // gcc without the C library's headers, as when recommended packages are left out.
    let machine = Machine::new().root().program("cc", "cat >/dev/null; exit 1").program("gcc", "");
    succeeds(&machine.run("rust", None));
    assert!(machine.called(&Machine::install("gcc libc6-dev")));
    let machine = Machine::new().root().with_compiler();
    succeeds(&machine.run("fuzz", None));
    assert!(machine.called(&Machine::install("g++")) && !machine.called("libc6-dev"));
}

#[test]
fn a_user_installs_through_sudo_if_it_asks_for_no_password() {
    let machine = Machine::new().user().program("sudo", r#"shift; [ "$1" = true ] || exec "$@""#);
    succeeds(&machine.run("rust", None));
    assert!(machine.called("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get"));
    assert!(machine.called(&Machine::install("gcc libc6-dev")));

    let hint = "missing: gcc libc6-dev; install it, on Debian and Ubuntu with: sudo apt-get install gcc libc6-dev";
    let asks = Machine::new().user().program("sudo", "echo a password is required >&2; exit 1");
    says(&asks.run("rust", None), hint);
    let none = Machine::new().user();
    says(&none.run("rust", None), hint);
    assert!(!asks.called("apt-get -qq") && !none.called("apt-get -qq"));
}

#[test]
fn old_lists_of_packages_are_fetched_anew() {
    let machine = Machine::new().root();
    let fetched = machine.folder.path().join("fetched");
    let fetched = fetched.display();
    let machine =
        machine.program("apt-get", &format!(r#"case "$*" in *update*) : >'{fetched}';; *) [ -e '{fetched}' ];; esac"#));
    succeeds(&machine.run("rust", None));
    let machine = Machine::new().root().program("apt-get", "exit 100");
    says(&machine.run("rust", None), "missing: gcc libc6-dev");
}

#[test]
fn a_browser_is_the_one_given_or_one_that_is_installed() {
    let machine = Machine::new().root().with_compiler();
    succeeds(&machine.run("test", None));
    assert!(machine.called(&Machine::install("chromium")));

    let machine = Machine::new().root().with_compiler().program("my-browser", "");
    let path = machine.programs().join("my-browser");
    for good in ["my-browser", path.to_str().unwrap()] {
        succeeds(&machine.run("test", Some(good)));
    }
    for bad in ["other-browser", "/nowhere/chromium", machine.folder.path().to_str().unwrap()] {
        says(&machine.run("test", Some(bad)), "is not a program");
    }
    assert!(!machine.called("apt-get"));
}

#[test]
fn what_cannot_be_installed_is_named() {
    says(&Machine::new().root().program("cargo", "exit 1").run("rust", None), "missing: Rust 1.95 or newer");
    says(&Machine::new().root().program("cargo", "echo cargo 1.80.1").run("rust", None), "Rust 1.80.1 is too old");
    says(&Machine::new().root().with_compiler().program("node", "exit 1").run("build", None), "missing: Node.js 20.19");
    says(
        &Machine::new().root().with_compiler().program("node", "echo v18.2.0").run("build", None),
        "18.2.0 is too old",
    );
    says(&Machine::new().root().run("everything", None), "what is 'everything'?");
}

#[test]
fn parts_of_the_toolchain_are_added() {
    let without = r#"case "$1" in fmt|clippy) exit 1;; *) echo cargo 1.95.0;; esac"#;
    let machine = Machine::new().root().with_compiler().program("cargo", without).program("rustup", "");
    succeeds(&machine.run("lint", None));
    assert!(machine.called("rustup component add rustfmt\n") && machine.called("rustup component add clippy\n"));
    let machine = Machine::new().root().with_compiler().program("cargo", without);
    says(&machine.run("lint", None), "missing: rustfmt; install it with: rustup component add rustfmt");
}

#[test]
fn the_shell_of_sqlite_is_installed_for_the_tests() {
    let machine = Machine::new().root().with_compiler().program("chromium", "");
    fs::remove_file(machine.programs().join("sqlite3")).unwrap();
    succeeds(&machine.run("test", None));
    assert!(machine.called(&Machine::install("sqlite3")));
}
