//! The table of all settings. Parsing, flags, `outpost check --print`, the manual and reloading are made from it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{
    Config, address, is_loopback,
    sources::Strings,
    value::{Count, Flag, Form, Millis, Number, Port, Rate, Room, Size, Span},
    words::{
        DurabilityName, FileReachName, Folder, Id, Line, LogFilter, LogFormatName, OptionalFolder, OptionalSecret,
        OptionalToken, PolicyName, Services, Token,
    },
};

/// Chapters of the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Where the server listens and who gets in.
    Door,
    /// Who this server is.
    Identity,
    /// Directories.
    Paths,
    /// What runs.
    Parts,
    /// Streams, stores and databases.
    Storage,
    /// Limits and times of the bus; all of them live.
    Bus,
    /// Limits and times of HTTP; all of them live.
    Http,
    /// Logs and records.
    Logs,
}

impl Group {
    /// Heading in the help text.
    pub fn title(self) -> &'static str {
        match self {
            Group::Door => "Address and access",
            Group::Identity => "Identity",
            Group::Paths => "Directories",
            Group::Parts => "Parts",
            Group::Storage => "Storage",
            Group::Bus => "Limits of the bus (counts: 0 = no limit)",
            Group::Http => "Limits of HTTP",
            Group::Logs => "Logs",
        }
    }
}

/// Computes a default from the settings before it in the table and the environment.
pub type Derive = fn(&Config, &dyn Strings) -> Option<String>;

/// One setting.
pub struct Setting {
    /// Key in `outpost.toml`; the flag is the same with hyphens.
    pub name: &'static str,
    /// Environment variable.
    pub env: &'static str,
    /// Chapter of the help text.
    pub group: Group,
    /// Placeholder in the help text.
    pub placeholder: &'static str,
    /// What is allowed, in words.
    pub allowed: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// Whether the value must not be shown, nor given on the command line, where every process can read it.
    pub secret: bool,
    /// Whether a reload applies a change; else a restart is needed.
    pub live: bool,
    /// A default that depends on other things, in words and as a function; else [`Config::default`] has it.
    pub derived: Option<(&'static str, Derive)>,
    pub(super) set: fn(&mut Config, &str) -> Option<()>,
    pub(super) show: fn(&Config) -> Option<String>,
    pub(super) same: fn(&Config, &Config) -> bool,
    /// Gives the first configuration the value of the second.
    pub(super) copy: fn(&mut Config, &Config),
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Setting {
    /// The flag, without the leading hyphens.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The value in a configuration as text, secrets as `set`; `None` when there is none.
    pub fn show(&self, config: &Config) -> Option<String> {
        (self.show)(config)
    }

    /// The default in words; `None` when there is none.
    pub fn default_text(&self) -> Option<String> {
        match self.derived {
            Some((words, _)) => Some(words.to_owned()),
            None => self.show(&Config::default()),
        }
    }
}

macro_rules! setting {
    ($group:ident, $name:literal, $env:literal, $form:ident, $($field:ident).+, $help:literal $(, $key:ident: $value:expr)*) => {
        Setting {
            $($key: $value,)*
            ..Setting {
                name: $name,
                env: $env,
                group: Group::$group,
                placeholder: $form::PLACEHOLDER,
                allowed: $form::ALLOWED,
                help: $help,
                secret: false,
                // A limit that can't change has no place there.
                live: matches!(Group::$group, Group::Bus | Group::Http),
                derived: None,
                set: |config, text| $form::parse(text).map(|value| config.$($field).+ = value),
                show: |config| $form::show(&config.$($field).+),
                same: |one, other| one.$($field).+ == other.$($field).+,
                copy: |one, other| one.$($field).+.clone_from(&other.$($field).+),
            }
        }
    };
}

/// Every setting, in an order in which each depends on earlier ones only.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "host",
        env: "HOST",
        group: Group::Door,
        placeholder: "HOST",
        allowed: address::HOST_ALLOWED,
        help: "Name or address to listen on; https://NAME turns TLS on",
        secret: false,
        live: false,
        derived: None,
        set: |config, text| {
            address::parse_host(text).map(|(host, tls)| {
                config.listen.host = host;
                config.listen.tls = tls;
            })
        },
        show: |config| Some(address::show_host(&config.listen)),
        same: |one, other| (&one.listen.host, one.listen.tls) == (&other.listen.host, other.listen.tls),
        copy: |one, other| {
            one.listen.host.clone_from(&other.listen.host);
            one.listen.tls = other.listen.tls;
        },
    },
    setting!(Door, "port", "PORT", Port, listen.port, "TCP port; 0 means any free one",
        derived: Some(("5000, else the next free one", |_, _| None))),
    Setting {
        name: "base_path",
        env: "OUTPOST_BASE_PATH",
        group: Group::Door,
        placeholder: "PATH",
        allowed: address::BASE_PATH_ALLOWED,
        help: "Prefix of every path, as behind a reverse proxy",
        secret: false,
        live: false,
        derived: None,
        set: |config, text| address::parse_base_path(text).map(|path| config.listen.base_path = path),
        show: |config| {
            Some(if config.listen.base_path.is_empty() { "/".into() } else { config.listen.base_path.clone() })
        },
        same: |one, other| one.listen.base_path == other.listen.base_path,
        copy: |one, other| one.listen.base_path.clone_from(&other.listen.base_path),
    },
    setting!(Door, "auth_token", "AUTH_TOKEN", OptionalSecret, auth_token,
        "Access token; 1 to 6 characters mean: make a random one at each start", secret: true, live: true),
    setting!(
        Door,
        "allow_unauthenticated",
        "COCALC_ALLOW_UNAUTHENTICATED_CONAT",
        Flag,
        allow_unauthenticated,
        "Let everybody in who reaches a non-loopback address, without a token"
    ),
    setting!(Door, "system_password", "OUTPOST_SYSTEM_PASSWORD", OptionalSecret, system_password,
        "Password of the system account on the bus", secret: true,
        derived: Some(("policy lite: random, kept in SECRETS/conat-password", |_, _| None))),
    setting!(Door, "project_secret", "OUTPOST_PROJECT_SECRET", OptionalSecret, project_secret,
        "Secret with which the project signs in on the bus", secret: true),
    setting!(Door, "metrics_token", "OUTPOST_METRICS_TOKEN", OptionalSecret, metrics_token,
        "Bearer token that opens /metrics", secret: true, live: true),
    setting!(Paths, "home", "HOME", Folder, paths.home, "Root of the files that terminals and programs see",
        derived: Some(("$HOME", |_, _| None))),
    setting!(Paths, "data", "DATA", Folder, paths.data, "Directory of the server's own state",
        derived: Some(("$STATE_DIRECTORY, else ${XDG_DATA_HOME:-$HOME/.local/share}/outpost", default_data))),
    setting!(Paths, "secrets", "SECRETS", Folder, paths.secrets, "Directory of private files",
        derived: Some(("DATA/secrets", |config, _| Some(text(&config.paths.data.join("secrets")))))),
    setting!(Paths, "ssl_dir", "SSL_DIR", Folder, paths.tls, "Directory of HOST.cert.pem and HOST.key.pem",
        derived: Some(("DATA/tls", |config, _| Some(text(&config.paths.data.join("tls")))))),
    setting!(
        Paths,
        "static",
        "OUTPOST_STATIC",
        OptionalFolder,
        paths.static_dir,
        "Serve another frontend, which must have app.html, instead of the built-in page"
    ),
    setting!(Identity, "account_id", "COCALC_ACCOUNT_ID", Token, identity.account_id, "Id of the one account"),
    setting!(Identity, "project_id", "COCALC_PROJECT_ID", Id, identity.project_id, "Id of the one project",
        derived: Some(("last part of HOME if it is a UUID, else 00000000-1000-4000-8000-000000000000", default_project))),
    setting!(
        Identity,
        "compute_server_id",
        "COMPUTE_SERVER_ID",
        Number,
        identity.compute_server_id,
        "Number of this compute server"
    ),
    setting!(Identity, "username", "COCALC_USERNAME", Line, identity.username, "Name of the user shown to people"),
    setting!(Identity, "server_id", "OUTPOST_SERVER_ID", Token, identity.server_id, "Id of this server on the bus"),
    setting!(
        Identity,
        "cluster_name",
        "OUTPOST_CLUSTER_NAME",
        OptionalToken,
        identity.cluster_name,
        "Name of the cluster told to clients"
    ),
    setting!(
        Parts,
        "policy",
        "OUTPOST_POLICY",
        PolicyName,
        policy,
        "Rules of the bus: lite has one account and one project, open allows everything to everybody"
    ),
    setting!(Parts, "services", "OUTPOST_SERVICES", Services, services, "Parts that run; the bus always does"),
    setting!(Parts, "files", "OUTPOST_FILES", FileReachName, files,
        "Files that can be reached over HTTP: home has those below HOME, machine all that the server's user may see",
        derived: Some(("machine if HOST is loopback, else home", default_files))),
    setting!(
        Storage,
        "durability",
        "OUTPOST_DURABILITY",
        DurabilityName,
        durability,
        "When a write is acknowledged: full: after it was synced to the disk; normal: before, for SD cards"
    ),
    setting!(
        Storage,
        "stream_archive",
        "COCALC_SYNC_ARCHIVE",
        OptionalFolder,
        copies.archive,
        "Directory of copies, a file for each stream; a copy that is newer than its stream replaces it"
    ),
    setting!(
        Storage,
        "stream_archive_interval",
        "COCALC_SYNC_ARCHIVE_INTERVAL",
        Millis,
        copies.interval,
        "Time between two copies of a stream into the archive"
    ),
    setting!(
        Storage,
        "stream_backup",
        "COCALC_SYNC_BACKUP",
        OptionalFolder,
        copies.backup,
        "Directory of copies that are written when a stream is closed, and never read"
    ),
    setting!(
        Storage,
        "max_open_streams",
        "OUTPOST_MAX_OPEN_STREAMS",
        Count,
        limits.open_streams,
        "Streams that clients have open, in total; each client's counts (0 = no limit)"
    ),
    setting!(
        Storage,
        "max_open_streams_per_owner",
        "OUTPOST_MAX_OPEN_STREAMS_PER_OWNER",
        Count,
        limits.open_streams_per_owner,
        "Streams of one account, project or host that clients have open (0 = no limit)"
    ),
    setting!(
        Storage,
        "stream_grace",
        "OUTPOST_STREAM_GRACE",
        Span,
        limits.stream_grace,
        "How long a stream is kept when its last client has gone; streams in memory are lost then"
    ),
    setting!(Bus, "max_payload", "OUTPOST_MAX_PAYLOAD", Size, limits.max_payload, "Largest WebSocket message"),
    setting!(
        Bus,
        "max_subscriptions_per_client",
        "OUTPOST_MAX_SUBSCRIPTIONS_PER_CLIENT",
        Count,
        limits.max_subscriptions_per_client,
        "Subscriptions of one connection"
    ),
    setting!(
        Bus,
        "max_subscriptions_per_hub",
        "OUTPOST_MAX_SUBSCRIPTIONS_PER_HUB",
        Count,
        limits.max_subscriptions_per_hub,
        "Subscriptions of one connection of a hub"
    ),
    setting!(Bus, "max_connections", "OUTPOST_MAX_CONNECTIONS", Count, limits.max_connections, "Connections in total"),
    setting!(
        Bus,
        "max_connections_per_user",
        "OUTPOST_MAX_CONNECTIONS_PER_USER",
        Count,
        limits.max_connections_per_user,
        "Connections of one user"
    ),
    setting!(
        Bus,
        "max_connections_per_hub",
        "OUTPOST_MAX_CONNECTIONS_PER_HUB",
        Count,
        limits.max_connections_per_hub,
        "Connections of one hub"
    ),
    setting!(Bus, "max_wait", "OUTPOST_MAX_WAIT", Span, limits.max_wait, "Longest wait for interest"),
    setting!(
        Bus,
        "admission_window",
        "OUTPOST_ADMISSION_WINDOW",
        Span,
        limits.admission_window,
        "Window in which events are counted, and time for which a client is refused after too many"
    ),
    setting!(
        Bus,
        "admission_subscriptions",
        "OUTPOST_ADMISSION_SUBSCRIPTIONS",
        Rate,
        limits.admission_subscriptions,
        "Calls for subscriptions per connection and window; 0 = off"
    ),
    setting!(
        Bus,
        "admission_socket_events",
        "OUTPOST_ADMISSION_SOCKET_EVENTS",
        Rate,
        limits.admission_socket_events,
        "Events per connection and window; 0 = off"
    ),
    setting!(
        Bus,
        "admission_identity_events",
        "OUTPOST_ADMISSION_IDENTITY_EVENTS",
        Rate,
        limits.admission_identity_events,
        "Events per identity and window; 0 = off"
    ),
    setting!(Bus, "ping_interval", "OUTPOST_PING_INTERVAL", Span, limits.ping_interval, "Time between heartbeats"),
    setting!(
        Bus,
        "ping_timeout",
        "OUTPOST_PING_TIMEOUT",
        Span,
        limits.ping_timeout,
        "Time within which a heartbeat is answered"
    ),
    setting!(
        Bus,
        "connect_timeout",
        "OUTPOST_CONNECT_TIMEOUT",
        Span,
        limits.connect_timeout,
        "Time within which a new connection introduces itself"
    ),
    setting!(
        Bus,
        "outbox_bytes",
        "OUTPOST_OUTBOX_BYTES",
        Size,
        limits.outbox_bytes,
        "Bytes that may wait for one reader before it is cut off as slow"
    ),
    setting!(
        Bus,
        "outbox_messages",
        "OUTPOST_OUTBOX_MESSAGES",
        Room,
        limits.outbox_messages,
        "Messages that may wait for one reader before it is cut off as slow"
    ),
    setting!(
        Bus,
        "write_timeout",
        "OUTPOST_WRITE_TIMEOUT",
        Span,
        limits.write_timeout,
        "Time for which a reader may take nothing while something waits for it"
    ),
    setting!(
        Http,
        "http_header_bytes",
        "OUTPOST_HTTP_HEADER_BYTES",
        Size,
        limits.http_header_bytes,
        "Largest head of a request"
    ),
    setting!(
        Http,
        "http_body_bytes",
        "OUTPOST_HTTP_BODY_BYTES",
        Size,
        limits.http_body_bytes,
        "Largest body of a request"
    ),
    setting!(
        Http,
        "http_header_timeout",
        "OUTPOST_HTTP_HEADER_TIMEOUT",
        Span,
        limits.http_header_timeout,
        "Time within which the head of a request has to be complete"
    ),
    setting!(
        Http,
        "http_idle_timeout",
        "OUTPOST_HTTP_IDLE_TIMEOUT",
        Span,
        limits.http_idle_timeout,
        "Time after which an idle connection is closed"
    ),
    setting!(
        Http,
        "http_connections",
        "OUTPOST_HTTP_CONNECTIONS",
        Count,
        limits.http_connections,
        "HTTP connections in total, WebSockets included; 0 = no limit"
    ),
    setting!(Logs, "log", "OUTPOST_LOG", LogFilter, log_filter, "What is logged", live: true),
    setting!(
        Logs,
        "log_format",
        "OUTPOST_LOG_FORMAT",
        LogFormatName,
        log_format,
        "How it is written; auto: to the journal when standard error is the journal, else lines for people"
    ),
    setting!(
        Logs,
        "flight_records",
        "OUTPOST_FLIGHT_RECORDS",
        Room,
        limits.flight_records,
        "Messages whose metadata the flight recorder keeps",
        live: true
    ),
];

/// Variables with our prefix that are no settings of the server: the tests' and the build's.
const NOT_SETTINGS: &[&str] = &["OUTPOST_BIN", "OUTPOST_PAGE"];

/// The variable that names the settings file.
pub const FILE_ENV: &str = "OUTPOST_CONFIG";

/// Finds a setting by its key.
pub fn by_name(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Whether a variable with our prefix may be there. Kubernetes sets `OUTPOST_PORT=tcp://…` and the like in every pod beside
/// a service named outpost; these are not for us.
pub(super) fn is_known_variable(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.env == name)
        || name == FILE_ENV
        || NOT_SETTINGS.contains(&name)
        || name == "OUTPOST_PORT"
        || ["OUTPOST_PORT_", "OUTPOST_SERVICE_"].iter().any(|prefix| name.starts_with(prefix))
}

/// The known name that is most like the given one, if any is at all.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .map(|(_, candidate)| candidate)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn default_data(config: &Config, env: &dyn Strings) -> Option<String> {
    let set = |name| env.get(name).ok().flatten().filter(|value| !value.is_empty());
    if let Some(list) = set("STATE_DIRECTORY") {
        return list.split(':').next().map(str::to_owned);
    }
    // A relative path here is invalid and to be ignored, says the XDG specification.
    let share = match set("XDG_DATA_HOME").map(PathBuf::from) {
        Some(path) if path.is_absolute() => path,
        _ => config.paths.home.join(".local/share"),
    };
    Some(text(&share.join("outpost")))
}

fn default_files(config: &Config, _: &dyn Strings) -> Option<String> {
    Some(if is_loopback(&config.listen.host) { "machine" } else { "home" }.to_owned())
}

fn default_project(config: &Config, _: &dyn Strings) -> Option<String> {
    config
        .paths
        .home
        .file_name()
        .and_then(|name| name.to_str())
        .filter(|name| Id::parse(name).is_some())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variables_are_unique_and_say_what_they_are() {
        for (i, setting) in SETTINGS.iter().enumerate() {
            let twice = |other: &&Setting| other.name == setting.name || other.env == setting.env;
            assert_eq!(SETTINGS.iter().filter(twice).count(), 1, "{}", setting.name);
            assert!(setting.name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", setting.name);
            assert!(!setting.help.ends_with('.') && setting.help.len() <= 110, "{}", setting.name);
            let expected = format!("OUTPOST_{}", setting.name.to_uppercase());
            assert!(setting.env == expected || !setting.env.starts_with("OUTPOST_"), "{}", setting.name);
            assert!(i < 200);
        }
    }

    #[test]
    fn every_default_is_a_value_its_own_parser_takes() {
        let defaults = Config::default();
        for setting in SETTINGS {
            let Some(text) = setting.show(&defaults).filter(|_| !setting.secret) else { continue };
            let mut config = Config::default();
            (setting.set)(&mut config, &text).unwrap_or_else(|| panic!("{}: {text}", setting.name));
            assert_eq!(setting.show(&config), Some(text), "{}", setting.name);
        }
    }

    #[test]
    fn a_typing_error_finds_its_name() {
        let names = || SETTINGS.iter().map(|setting| setting.name);
        assert_eq!(nearest("max_paylaod", names()), Some("max_payload"));
        assert_eq!(nearest("ports", names()), Some("port"));
        assert_eq!(nearest("completely_different_thing", names()), None);
    }
}
