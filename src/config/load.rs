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
