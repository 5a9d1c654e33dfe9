//! What a session's program is, where it starts and what its environment holds (§§11.3, 11.8, 18).

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use rmpv::Value;

use super::{error::Error, request::SpawnOptions};
use crate::host::{
    environment::Environment,
    pty::{self, find_program},
};

/// What the page's emulator is compatible with.
const TERM: &str = "xterm-256color";
/// What programs need to know that we speak UTF-8, on machines that say nothing about it.
const LANG: &str = "C.UTF-8";
/// The shell people expect.
const DEFAULT_SHELL: &str = "bash";

/// Directories every session needs.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The project's files.
    pub home: PathBuf,
    /// The same without symbolic links.
    pub real_home: PathBuf,
    /// Holds `open`; comes first in `PATH`.
    pub bin: PathBuf,
}

/// The environment of a session: `base` or what the client gives instead, the client's additions, and ours.
pub(super) fn compose(base: &Environment, options: &SpawnOptions, places: &Places, control: &Path) -> Environment {
    let home = places.home.to_string_lossy();
    let mut environment = match &options.env {
        Some(env) => variables(env).collect(),
        None => {
            let mut base = base.clone();
            base.insert("TERM".into(), TERM.into());
            if !["LC_ALL", "LC_CTYPE", "LANG"].iter().any(|name| base.contains_key(OsStr::new(name))) {
                base.insert("LANG".into(), LANG.into());
            }
            base
        }
    };
    for (name, value) in options.env0.iter().flatten().filter(|(name, _)| is_name(name)) {
        match text(value) {
            Some(value) => environment.insert(name.into(), value.replace("$HOME", &home).into()),
            None => environment.remove(OsStr::new(name)),
        };
    }
    environment.entry("TERM".into()).or_insert_with(|| TERM.into());
    environment.entry("HOME".into()).or_insert_with(|| places.home.clone().into());
    environment.insert("COCALC_CONTROL_DIR".into(), control.into());
    let mut path = OsString::from(&places.bin);
    path.push(":");
    path.push(environment.get(OsStr::new("PATH")).map_or(OsStr::new(pty::DEFAULT_PATH), OsString::as_os_str));
    environment.insert("PATH".into(), path);
    environment
}

fn variables(env: &HashMap<String, Value>) -> impl Iterator<Item = (OsString, OsString)> {
    env.iter().filter(|(name, _)| is_name(name)).filter_map(|(name, value)| Some((name.into(), text(value)?.into())))
}

/// Whether the system can hold a variable of this name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// A value as text. Clients also send numbers; nothing and what can't be in an environment give no text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.as_str().filter(|text| !text.contains('\0')).map(str::to_owned),
        Value::Boolean(_) | Value::Integer(_) | Value::F32(_) | Value::F64(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The directory to start in: as given, relative to home or absolute; home if there is no such directory.
pub(super) fn directory(home: &Path, cwd: Option<&str>) -> PathBuf {
    let wanted = home.join(cwd.unwrap_or_default());
    if wanted.is_dir() { wanted } else { home.to_owned() }
}

/// A program to run and its arguments.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The file.
    pub program: PathBuf,
    /// Argument 0.
    pub name: String,
    /// The other arguments.
    pub args: Vec<String>,
}

/// Finds the program. Without a command, and when there is no `bash` for `bash`, any shell will do.
pub(super) fn choose(
    command: Option<&str>,
    args: &[String],
    environment: &Environment,
    directory: &Path,
    init: Option<&Path>,
) -> Result<Choice, Error> {
    let variable = |name: &str| environment.get(OsStr::new(name)).map(OsString::as_os_str);
    let find = |name: &str| find_program(OsStr::new(name), variable("PATH"), directory);
    let command = command.map(str::trim).filter(|command| !command.is_empty()).unwrap_or(DEFAULT_SHELL);
    if let Some(program) = find(command) {
        let mut args = args.to_vec();
        if let (Some(init), true) = (init, program.file_name() == Some(OsStr::new(DEFAULT_SHELL))) {
            args.splice(0..0, ["--init-file".to_owned(), init.to_string_lossy().into_owned()]);
        }
        return Ok(Choice { program, name: command.to_owned(), args });
    }
    if command != DEFAULT_SHELL {
        return Err(Error::NoSuchProgram(command.to_owned()));
    }
    let shell =
        variable("SHELL").and_then(OsStr::to_str).into_iter().chain(["sh"]).find_map(|name| Some((name, find(name)?)));
    if let Some((name, program)) = shell {
        return Ok(Choice { program, name: name.to_owned(), args: args.to_vec() });
    }
    let program = find("busybox").ok_or(Error::NoShell)?;
    Ok(Choice { program, name: "sh".to_owned(), args: args.to_vec() })
}

/// The script that `bash` reads at its start: `.{file}.init` beside the terminal's file, if it exists.
///
/// A session's id is the file of one frame, `.a.term-0.term` for the first one of `a.term`; both may have a script.
pub(super) fn init_file(home: &Path, options: &SpawnOptions) -> Option<PathBuf> {
    let files = [&options.path, &options.id];
    files
        .into_iter()
        .flatten()
        .flat_map(|file| init_names(file))
        .map(|name| home.join(name))
        .find(|path| path.is_file())
}

fn init_names(file: &str) -> Vec<PathBuf> {
    let path = Path::new(file);
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return Vec::new() };
    let mut names = vec![format!(".{name}.init")];
    if let Some(hidden) = name.strip_prefix('.') {
        names.push(format!("{name}.init"));
        let frame = hidden.strip_suffix(".term").and_then(|rest| rest.rsplit_once('-'));
        if let Some((file, number)) = frame
            && number.bytes().all(|b| b.is_ascii_digit())
        {
            names.push(format!(".{file}.init"));
        }
    }
    names.into_iter().map(|name| path.with_file_name(name)).collect()
}

/// A directory as clients want it: relative to home if inside, "" for home itself, else absolute.
pub(super) fn shown(directory: &Path, places: &Places) -> Option<String> {
    let inside = directory.strip_prefix(&places.real_home).or_else(|_| directory.strip_prefix(&places.home));
    let shown = inside.unwrap_or(directory).to_str()?;
    // The system's way to say that the directory is gone.
    if shown.ends_with(" (deleted)") && !directory.is_dir() {
        return None;
    }
    Some(shown.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn places() -> Places {
        Places { home: "/home/ada".into(), real_home: "/home/ada".into(), bin: "/data/bin".into() }
    }

    fn options(env: Option<&[(&str, &str)]>, env0: &[(&str, &str)]) -> SpawnOptions {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), Value::from(*v))).collect();
        SpawnOptions { env: env.map(map), env0: Some(map(env0)), ..SpawnOptions::default() }
    }

    fn get<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
        environment.get(OsStr::new(name)).and_then(|value| value.to_str())
    }

    #[test]
    fn environment_replaces_home_and_sets_ours() {
        let base = Environment::from([("PATH".into(), "/bin".into()), ("TERM".into(), "dumb".into())]);
        let options =
            options(None, &[("HISTFILE", "$HOME/a.term"), ("COCALC_CONTROL_DIR", "set-by-backend"), ("a=b", "x")]);
        let environment = compose(&base, &options, &places(), Path::new("/data/c1"));
        assert_eq!(get(&environment, "HISTFILE"), Some("/home/ada/a.term"));
        assert_eq!(get(&environment, "COCALC_CONTROL_DIR"), Some("/data/c1"));
        assert_eq!(get(&environment, "TERM"), Some("xterm-256color"));
        assert_eq!(get(&environment, "PATH"), Some("/data/bin:/bin"));
        assert_eq!(get(&environment, "HOME"), Some("/home/ada"));
        assert_eq!(get(&environment, "LANG"), Some("C.UTF-8"));
        assert_eq!(get(&environment, "a=b"), None);
    }

    #[test]
    fn environment_of_the_client_replaces_the_base() {
        let base = Environment::from([("SECRET".into(), "x".into())]);
        let mut options = options(Some(&[("TERM", "vt100"), ("B", "$HOME"), ("C", "c")]), &[]);
        options.env0 = Some(HashMap::from([("C".into(), Value::Nil), ("N".into(), Value::from(5))]));
        let environment = compose(&base, &options, &places(), Path::new("/c"));
        assert_eq!(get(&environment, "SECRET"), None);
        assert_eq!(get(&environment, "TERM"), Some("vt100"));
        assert_eq!(get(&environment, "B"), Some("$HOME"));
        assert_eq!(get(&environment, "C"), None);
        assert_eq!(get(&environment, "N"), Some("5"));
        assert_eq!(get(&environment, "PATH"), Some(&*format!("/data/bin:{}", pty::DEFAULT_PATH)));
    }

    #[test]
    fn directory_that_does_not_exist_is_home() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("work")).unwrap();
        assert_eq!(directory(home.path(), Some("work")), home.path().join("work"));
        assert_eq!(directory(home.path(), Some("/usr")), Path::new("/usr"));
        assert_eq!(directory(home.path(), Some("missing")), home.path());
        assert_eq!(directory(home.path(), None).components().collect::<PathBuf>(), home.path());
    }

    #[test]
    fn shell_is_the_best_there_is() {
        let bin = tempfile::tempdir().unwrap();
        let mut environment = Environment::from([("PATH".into(), bin.path().into())]);
        let add = |name: &str| {
            let file = bin.path().join(name);
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            file
        };
        let choose = |environment: &Environment, command| {
            choose(command, &[], environment, Path::new("/"), Some(Path::new("/i")))
        };
        assert!(matches!(choose(&environment, None), Err(Error::NoShell)));
        let busybox = add("busybox");
        let choice = choose(&environment, Some("")).unwrap();
        assert_eq!((choice.program, &*choice.name, choice.args.len()), (busybox, "sh", 0));
        let sh = add("sh");
        assert_eq!(choose(&environment, Some("bash")).unwrap().program, sh);
        let zsh = add("zsh");
        environment.insert("SHELL".into(), zsh.clone().into());
        assert_eq!(choose(&environment, None).unwrap().program, zsh);
        let bash = add("bash");
        let choice = choose(&environment, None).unwrap();
        assert_eq!((choice.program, &*choice.name), (bash, "bash"));
        assert_eq!(choice.args, ["--init-file", "/i"]);
        assert!(matches!(choose(&environment, Some("jupyter")), Err(Error::NoSuchProgram(name)) if name == "jupyter"));
    }

    #[test]
    fn init_file_is_found_for_the_frame_and_for_the_file() {
        let home = tempfile::tempdir().unwrap();
        let options = SpawnOptions { id: Some("w/.a.term-0.term".into()), ..SpawnOptions::default() };
        std::fs::create_dir(home.path().join("w")).unwrap();
        assert_eq!(init_file(home.path(), &options), None);
        for name in ["w/.a.term.init", "w/.a.term-0.term.init", "w/..a.term-0.term.init"] {
            let file = home.path().join(name);
            std::fs::write(&file, "").unwrap();
            assert_eq!(init_file(home.path(), &options), Some(file));
        }
    }

    #[test]
    fn directories_are_shown_relative_to_home() {
        let places = Places { home: "/link".into(), real_home: "/home/ada".into(), bin: "/data/bin".into() };
        for (directory, expected) in [
            ("/home/ada", Some("")),
            ("/home/ada/a/b", Some("a/b")),
            ("/link/c", Some("c")),
            ("/home/adam", Some("/home/adam")),
            ("/usr", Some("/usr")),
            ("/home/ada/gone (deleted)", None),
        ] {
            assert_eq!(shown(Path::new(directory), &places).as_deref(), expected, "{directory}");
        }
    }
}
