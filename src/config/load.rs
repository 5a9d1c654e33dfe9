//! From the sources to one configuration: default < file < credential < environment < flag.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    Config, Error, PolicyKind, file, is_loopback,
    settings::{FILE_ENV, SETTINGS, Setting, is_known_variable, nearest},
    sources::{Source, Sources},
};

/// A configuration, and where each of its values came from.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The settings file that was read.
    pub file: Option<PathBuf>,
    /// What is allowed but should be changed, for the log.
    pub warnings: Vec<String>,
    origins: BTreeMap<&'static str, Source>,
}

impl Loaded {
    /// Where a value came from.
    pub fn source(&self, name: &str) -> Source {
        self.origins.get(name).cloned().unwrap_or(Source::Default)
    }

    /// Whether somebody gave a value.
    pub fn is_given(&self, name: &str) -> bool {
        self.origins.contains_key(name)
    }

    /// Every setting with its effective value as text (secrets as `set`, `None` when there is none) and its source.
    pub fn effective(&self) -> impl Iterator<Item = (&'static Setting, Option<String>, Source)> {
        SETTINGS.iter().map(|setting| (setting, setting.show(&self.config), self.source(setting.name)))
    }
}

/// One layer of values over another.
#[derive(Default)]
struct Given(BTreeMap<&'static str, (String, Source)>);

impl Given {
    fn put(&mut self, setting: &'static Setting, text: String, source: Source) {
        self.0.insert(setting.name, (text, source));
    }
}

impl Config {
    /// Reads and checks all settings. Nothing is written.
    ///
    /// # Errors
    /// The first thing that is wrong, as one line.
    pub fn load(sources: &Sources<'_>) -> Result<Loaded, Error> {
        let mut given = Given::default();
        variables(sources, &mut given)?;
        for (name, text) in sources.flags {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == *name) {
                given.put(setting, text.clone(), Source::Flag(setting.flag()));
            }
        }
        // The directories come before the file because DATA says where the file is.
        let data = build(sources, &given, |setting| matches!(setting.name, "home" | "data"))?.paths.data;
        let mut warnings = Vec::new();
        let file = find_file(sources, &data)?;
        if let Some(file) = &file {
            if file.is_public && file.values.iter().any(|(setting, _)| setting.secret) {
                warnings.push(format!("settings file {} has secrets and everybody can read it", file.path.display()));
            }
            for (setting, text) in &file.values {
                let source = Source::File(file.path.clone());
                given.0.entry(setting.name).or_insert_with(|| (text.clone(), source));
            }
        }
        let config = build(sources, &given, |_| true)?;
        let origins = given.0.into_iter().map(|(name, (_, source))| (name, source)).collect();
        let loaded = Loaded { config, file: file.map(|file| file.path), warnings, origins };
        check(&loaded)?;
        Ok(loaded)
    }
}

/// Values from the environment and from systemd's credentials; an empty variable is as good as none.
fn variables(sources: &Sources<'_>, given: &mut Given) -> Result<(), Error> {
    if let Some(name) = sources.env.names().into_iter().find(|n| n.starts_with("OUTPOST_") && !is_known_variable(n)) {
        let nearest = nearest(&name, SETTINGS.iter().map(|setting| setting.env));
        return Err(Error::UnknownVariable { name, nearest });
    }
    for setting in SETTINGS {
        let source = Source::Variable(setting.env);
        match sources.env.get(setting.env) {
            Ok(Some(text)) if !text.is_empty() => given.put(setting, text, source),
            Ok(_) => {}
            Err(_) => return Err(bad_value(setting, source, "\u{fffd}")),
        }
        if let Some((text, source)) = credential(sources, setting)? {
            given.0.entry(setting.name).or_insert((text, source));
        }
    }
    Ok(())
}

/// A secret from `$CREDENTIALS_DIRECTORY`, under the name of its flag.
fn credential(sources: &Sources<'_>, setting: &'static Setting) -> Result<Option<(String, Source)>, Error> {
    let folder = sources.env.get("CREDENTIALS_DIRECTORY").ok().flatten().filter(|folder| !folder.is_empty());
    let Some(folder) = folder.filter(|_| setting.secret) else { return Ok(None) };
    let path = Path::new(&folder).join(setting.flag());
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((text.trim_end_matches(['\r', '\n']).to_owned(), Source::Credential(path)))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let problem = format!("can't be read: {error}");
            Err(Error::Conflict { setting: setting.name, source_: Source::Credential(path), problem })
        }
    }
}

/// Puts the chosen settings into a configuration, in the order of the table.
fn build(sources: &Sources<'_>, given: &Given, chosen: fn(&Setting) -> bool) -> Result<Config, Error> {
    let mut config = Config::default();
    for setting in SETTINGS.iter().filter(|setting| chosen(setting)) {
        if let Some((text, source)) = given.0.get(setting.name) {
            (setting.set)(&mut config, text).ok_or_else(|| bad_value(setting, source.clone(), text))?;
        } else if let Some(text) = setting.derived.and_then(|(_, derive)| derive(&config, sources.env)) {
            (setting.set)(&mut config, &text).ok_or_else(|| bad_value(setting, Source::Default, &text))?;
        } else if setting.name == "home" {
            let (env, flag, allowed) = (setting.env, setting.flag(), setting.allowed);
            return Err(Error::Missing { setting: setting.name, env, flag, allowed });
        }
        let paths = &mut config.paths;
        for path in [&mut paths.home, &mut paths.data, &mut paths.secrets, &mut paths.tls]
            .into_iter()
            .chain(paths.static_dir.as_mut())
            .filter(|path| path.is_relative())
        {
            *path = sources.directory.join(&*path);
        }
    }
    Ok(config)
}

fn bad_value(setting: &'static Setting, source: Source, text: &str) -> Error {
    let found = (!setting.secret).then(|| text.chars().take(80).collect());
    Error::Value { setting: setting.name, source_: source, found, allowed: setting.allowed }
}

fn find_file(sources: &Sources<'_>, data: &Path) -> Result<Option<file::SettingsFile>, Error> {
    let named = match sources.file {
        Some(path) => Some(path.to_owned()),
        None => sources.env.get(FILE_ENV).ok().flatten().filter(|text| !text.is_empty()).map(PathBuf::from),
    };
    match named.map(|path| sources.directory.join(path)) {
        Some(path) => {
            file::read(&path)?.ok_or_else(|| Error::File { path, problem: "there is no such file".into() }).map(Some)
        }
        None => match file::read(&data.join("outpost.toml"))? {
            Some(file) => Ok(Some(file)),
            None => file::read(sources.system_file),
        },
    }
}

/// Values that have to go together.
fn check(loaded: &Loaded) -> Result<(), Error> {
    let config = &loaded.config;
    check_exposure(loaded, !is_loopback(&config.listen.host))?;
    if let Some(folder) = config.paths.static_dir.as_ref().filter(|folder| !folder.join("app.html").is_file()) {
        let problem = format!("{} has no app.html; allowed: a directory that has one", folder.display());
        return Err(Error::Conflict { setting: "static", source_: loaded.source("static"), problem });
    }
    Ok(())
}

/// Whether the policy allows to be reached from other machines (`exposed`): `open` only with a token.
///
/// # Errors
/// [`Error::Conflict`] when it does not.
pub fn check_exposure(loaded: &Loaded, exposed: bool) -> Result<(), Error> {
    if exposed && loaded.config.policy == PolicyKind::Open && loaded.config.auth_token.is_none() {
        let problem = "open is refused on an address other machines can reach, unless AUTH_TOKEN is set; \
                       allowed: lite, or a loopback HOST, or AUTH_TOKEN"
            .to_owned();
        return Err(Error::Conflict { setting: "policy", source_: loaded.source("policy"), problem });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Service;

    /// Sources with a data directory and a system file of their own.
    struct Fixture {
        folder: tempfile::TempDir,
        env: BTreeMap<&'static str, &'static str>,
        flags: Vec<(&'static str, String)>,
    }

    impl Fixture {
        fn new(env: &[(&'static str, &'static str)]) -> Fixture {
            let mut env: BTreeMap<_, _> = env.iter().copied().collect();
            env.entry("HOME").or_insert("/home/u");
            Fixture { folder: tempfile::tempdir().unwrap(), env, flags: Vec::new() }
        }

        fn flag(mut self, name: &'static str, value: &str) -> Fixture {
            self.flags.push((name, value.to_owned()));
            self
        }

        /// Writes `outpost.toml` into the data directory.
        fn file(mut self, text: &str) -> Fixture {
            fs::write(self.folder.path().join("outpost.toml"), text).unwrap();
            let data = self.folder.path().to_str().unwrap().to_owned();
            self.flags.push(("data", data));
            self
        }

        fn load(&self) -> Result<Loaded, Error> {
            Config::load(&Sources {
                env: &self.env,
                flags: &self.flags,
                file: None,
                system_file: &self.folder.path().join("system.toml"),
                directory: Path::new("/start"),
            })
        }

        fn error(&self) -> String {
            let error = self.load().unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
            error
        }
    }

    #[test]
    fn flag_wins_over_environment_over_file_over_default() {
        let file = "max_payload = \"1MiB\"\nmax_wait = \"10s\"\nmax_connections = 7\nservices = [\"bus\", \"time\"]";
        let env = [("OUTPOST_MAX_PAYLOAD", "2MiB"), ("OUTPOST_MAX_WAIT", "20s"), ("OUTPOST_LOG", "")];
        let loaded = Fixture::new(&env).file(file).flag("max_payload", "3MiB").load().unwrap();
        let limits = &loaded.config.limits;
        assert_eq!((limits.max_payload, limits.max_wait.as_secs(), limits.max_connections), (3 << 20, 20, 7));
        assert_eq!(loaded.config.services, [Service::Bus, Service::Time]);
        assert_eq!(loaded.source("max_payload"), Source::Flag("max-payload".into()));
        assert_eq!(loaded.source("max_wait"), Source::Variable("OUTPOST_MAX_WAIT"));
        assert!(matches!(loaded.source("max_connections"), Source::File(_)));
        assert_eq!((loaded.source("log"), loaded.config.log_filter.as_str()), (Source::Default, "info"));
    }

    #[test]
    fn errors_name_setting_source_and_what_is_allowed() {
        assert_eq!(
            Fixture::new(&[("PORT", "70000")]).error(),
            "setting port (environment PORT): \"70000\" is not allowed; allowed: a number from 0 to 65535; 0 means any free port"
        );
        let error = Fixture::new(&[]).file("policy = \"closed\"").error();
        assert!(error.starts_with("setting policy (file /") && error.ends_with("allowed: lite, open"), "{error}");
        let error = Fixture::new(&[]).flag("max_wait", "90").error();
        assert!(error.starts_with("setting max_wait (flag --max-wait): \"90\""), "{error}");
        let error = Fixture::new(&[]).file("\n\nport = [").error();
        assert!(error.contains("outpost.toml: line 3: "), "{error}");
        assert!(Fixture::new(&[("HOME", "")]).error().starts_with("setting home: not given; set environment HOME"));
        assert!(Fixture::new(&[("COCALC_PROJECT_ID", "x")]).error().contains("allowed: a UUID"));
    }

    #[test]
    fn unknown_names_are_errors_with_the_nearest_known_one() {
        let error = Fixture::new(&[("OUTPOST_MAX_PAYLAOD", "1")]).error();
        assert_eq!(error, "unknown setting OUTPOST_MAX_PAYLAOD in the environment; did you mean OUTPOST_MAX_PAYLOAD?");
        let error = Fixture::new(&[]).file("max_conections = 1").error();
        assert!(error.starts_with("unknown setting \"max_conections\" in file /"), "{error}");
        assert!(error.ends_with("; did you mean max_connections?"), "{error}");
        let kubernetes =
            [("OUTPOST_PORT", "tcp://10.0.0.1:5000"), ("OUTPOST_PORT_5000_TCP", "x"), ("OUTPOST_SERVICE_HOST", "x")];
        Fixture::new(&kubernetes).load().unwrap();
    }

    #[test]
    fn errors_never_repeat_secrets() {
        let error = Fixture::new(&[("AUTH_TOKEN", "hush\nhush")]).error();
        assert_eq!(error, "setting auth_token (environment AUTH_TOKEN): allowed: up to 1024 characters on one line");
        let loaded = Fixture::new(&[("AUTH_TOKEN", "hush-hush")]).load().unwrap();
        let shown: Vec<_> = loaded.effective().filter_map(|(_, value, _)| value).collect();
        assert!(shown.iter().all(|value| !value.contains("hush")) && shown.contains(&"set".to_owned()));
        assert!(!format!("{loaded:?}").contains("hush"));
    }

    #[test]
    fn hub_identity_and_directories_follow_the_environment() {
        let env = [("HOME", "/projects/00000000-1000-4000-8000-00000000000a")];
        let config = Fixture::new(&env).load().unwrap().config;
        assert_eq!(config.identity.project_id, "00000000-1000-4000-8000-00000000000a");
        let data = Path::new("/projects/00000000-1000-4000-8000-00000000000a/.local/share/outpost");
        assert_eq!(
            (&*config.paths.data, config.paths.secrets, config.paths.tls),
            (data, data.join("secrets"), data.join("tls"))
        );

        let data = |env: &[_]| Fixture::new(env).load().unwrap().config.paths.data;
        assert_eq!(data(&[("XDG_DATA_HOME", "/x")]), Path::new("/x/outpost"));
        assert_eq!(data(&[("XDG_DATA_HOME", "relative")]), Path::new("/home/u/.local/share/outpost"));
        assert_eq!(
            data(&[("XDG_DATA_HOME", "/x"), ("STATE_DIRECTORY", "/var/lib/outpost:/b")]),
            Path::new("/var/lib/outpost")
        );
        assert_eq!(data(&[("DATA", "here")]), Path::new("/start/here"));
        assert_eq!(Fixture::new(&[("SSL_DIR", "/s")]).load().unwrap().config.paths.tls, Path::new("/s"));

        let config = Fixture::new(&[("COMPUTE_SERVER_ID", "7"), ("COCALC_USERNAME", "Ann")]).load().unwrap().config;
        assert_eq!((config.identity.compute_server_id, config.identity.username.as_str()), (7, "Ann"));
    }

    #[test]
    fn the_open_policy_needs_loopback_or_a_token() {
        let open = |more: &[(&'static str, &'static str)]| {
            Fixture::new(&[&[("OUTPOST_POLICY", "open")], more].concat()).load()
        };
        open(&[]).unwrap();
        open(&[("HOST", "127.0.0.2")]).unwrap();
        open(&[("HOST", "0.0.0.0"), ("AUTH_TOKEN", "a-long-token")]).unwrap();
        for more in
            [[("HOST", "0.0.0.0"), ("LANG", "C")], [("HOST", "lab"), ("COCALC_ALLOW_UNAUTHENTICATED_CONAT", "1")]]
        {
            let error = open(&more).unwrap_err().to_string();
            assert!(error.starts_with("setting policy (environment OUTPOST_POLICY): open is refused"), "{error}");
        }
    }

    #[test]
    fn a_credential_of_systemd_is_a_token() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("auth-token"), "from-systemd\n").unwrap();
        let directory: &'static str = folder.path().to_str().unwrap().to_owned().leak();
        let mut fixture = Fixture::new(&[("CREDENTIALS_DIRECTORY", directory)]);
        let token = |fixture: &Fixture| fixture.load().unwrap().config.auth_token.unwrap().expose().to_owned();
        assert_eq!(token(&fixture), "from-systemd");
        fixture.env.insert("AUTH_TOKEN", "from-environment");
        assert_eq!(token(&fixture), "from-environment");
    }

    #[test]
    fn the_file_given_must_be_there_and_the_system_file_comes_last() {
        let fixture = Fixture::new(&[("OUTPOST_CONFIG", "/nowhere/outpost.toml")]);
        assert_eq!(fixture.error(), "settings file /nowhere/outpost.toml: there is no such file");
        let fixture = Fixture::new(&[]);
        fs::write(fixture.folder.path().join("system.toml"), "port = 1").unwrap();
        assert_eq!(fixture.load().unwrap().config.listen.port, Some(1));
        assert_eq!(fixture.file("port = 2").load().unwrap().config.listen.port, Some(2));
    }

    #[test]
    fn another_frontend_has_to_have_its_entry_page() {
        let fixture = Fixture::new(&[]).flag("static", "/nowhere");
        assert_eq!(
            fixture.error(),
            "setting static (flag --static): /nowhere has no app.html; allowed: a directory that has one"
        );
    }

    #[test]
    fn a_readable_file_with_secrets_is_warned_about() {
        use std::os::unix::fs::PermissionsExt as _;
        let fixture = Fixture::new(&[]).file("auth_token = \"a-long-token\"");
        let path = fixture.folder.path().join("outpost.toml");
        for (mode, warnings) in [(0o644, 1), (0o600, 0)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(fixture.load().unwrap().warnings.len(), warnings);
        }
    }
}
