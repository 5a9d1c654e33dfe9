//! Every setting in one typed struct: default < file < environment < flag.
//!
//! [`settings::SETTINGS`] describes each setting once; loading, flags, `outpost check --print` and the manual are made from
//! it. [`Config::load`] reads and checks and writes nothing; [`secrets::resolve`] then makes the secrets that are missing.

pub mod address;
pub mod error;
pub mod file;
pub mod limits;
pub mod load;
pub mod reload;
pub mod secret;
pub mod secrets;
pub mod settings;
pub mod sources;
pub mod value;
pub mod words;

use std::{net::IpAddr, path::PathBuf, time::Duration};

pub use error::Error;
pub use limits::Limits;
pub use load::Loaded;
pub use secret::Secret;
pub use sources::{Source, Sources, Strings};

/// The default account id, also compiled into the reference's frontend (hub.md §1.1).
pub const DEFAULT_ACCOUNT_ID: &str = "00000000-1000-4000-8000-000000000001";
/// The default project id, also compiled into the reference's frontend (hub.md §1.1).
pub const DEFAULT_PROJECT_ID: &str = "00000000-1000-4000-8000-000000000000";

/// Who may do what on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// One account and one project with the rules of hub.md §3.3.
    Lite,
    /// No accounts: `info.user` is null and everything is allowed.
    Open,
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After it has been synced to the disk.
    Full,
    /// After it was handed to the operating system: a crash of the program loses nothing, a power cut may lose the last
    /// seconds. For SD cards.
    Normal,
}

/// Which files of the machine the project's files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileReach {
    /// Those below `home`; nothing outside, not even through links.
    Home,
    /// All that the server's user may see: absolute paths and links work, as in a terminal.
    Machine,
}

/// A part that can be left out with `services`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// The message bus itself; always on.
    Bus,
    /// The clock, conat-wire.md §15.4.
    Time,
    /// Server status and flight recorder for the page.
    Status,
    /// Streams and key-value stores, conat-persist.md.
    Persist,
    /// Hub API, user queries, change feeds, blobs: hub.md §§5, 7–11.
    Hub,
    /// Files, hub.md §6.
    Files,
    /// Terminals, project.md §11.
    Terminal,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// Host name or address as given, without scheme and port.
    pub host: String,
    /// `None`: 5000, else the next free port. `Some(0)`: any free port.
    pub port: Option<u16>,
    /// Whether `HOST` said `https://`.
    pub tls: bool,
    /// Path prefix without trailing slash: empty, or `/x`.
    pub base_path: String,
}

/// Who this server is (hub.md §1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The one account's id.
    pub account_id: String,
    /// The one project's id.
    pub project_id: String,
    /// Compute server number, 0 unless remote.
    pub compute_server_id: i64,
    /// User name shown to people.
    pub username: String,
    /// `id` in `info` and in `sys.conat` subjects.
    pub server_id: String,
    /// `clusterName` in `info`.
    pub cluster_name: Option<String>,
}

/// Directories (hub.md §1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Root of the project's files.
    pub home: PathBuf,
    /// Server state.
    pub data: PathBuf,
    /// Private files, mode 0700.
    pub secrets: PathBuf,
    /// Certificate and key.
    pub tls: PathBuf,
    /// Serve this directory under `/static` instead of the embedded page.
    pub static_dir: Option<PathBuf>,
}

/// Where copies of streams are kept as files of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Below this directory the copies follow the streams, and are used where they are newer.
    pub archive: Option<PathBuf>,
    /// Time between two copies of a stream.
    pub interval: Duration,
    /// Below this directory the copies are written when a stream is closed, and never read.
    pub backup: Option<PathBuf>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Journal when stderr is the journal, else human lines.
    Auto,
    /// Lines for people.
    Human,
    /// One JSON object per line.
    Json,
    /// Structured fields to journald.
    Journal,
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: ListenConfig,
    /// Who this server is.
    pub identity: Identity,
    /// Directories.
    pub paths: Paths,
    /// Who may do what on the bus.
    pub policy: PolicyKind,
    /// Parts that run; always contains [`Service::Bus`].
    pub services: Vec<Service>,
    /// The access token: as given (`AUTH_TOKEN`) after [`Config::load`], the effective one of hub.md §3.1 after
    /// [`secrets::resolve`].
    pub auth_token: Option<Secret>,
    /// Password of the system account (hub.md §3.3); under the lite policy always there after [`secrets::resolve`].
    pub system_password: Option<Secret>,
    /// Secret with which the project signs in.
    pub project_secret: Option<Secret>,
    /// Bearer token that opens `/metrics`.
    pub metrics_token: Option<Secret>,
    /// `COCALC_ALLOW_UNAUTHENTICATED_CONAT`: serve others without a token.
    pub allow_unauthenticated: bool,
    /// How far paths of files reach.
    pub files: FileReach,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Copies of streams (conat-persist.md §9.5).
    pub copies: Copies,
    /// Limits and times.
    pub limits: Limits,
    /// Log filter in the syntax of `tracing-subscriber`.
    pub log_filter: String,
    /// How log lines are written.
    pub log_format: LogFormat,
}

impl Default for Config {
    /// The defaults, with directories relative to the current one.
    fn default() -> Self {
        Config {
            listen: ListenConfig { host: "localhost".into(), port: None, tls: false, base_path: String::new() },
            identity: Identity {
                account_id: DEFAULT_ACCOUNT_ID.into(),
                project_id: DEFAULT_PROJECT_ID.into(),
                compute_server_id: 0,
                username: "user".into(),
                server_id: "0".into(),
                cluster_name: None,
            },
            paths: Paths {
                home: ".".into(),
                data: "data".into(),
                secrets: "data/secrets".into(),
                tls: "data/tls".into(),
                static_dir: None,
            },
            policy: PolicyKind::Lite,
            services: words::Services::all(),
            auth_token: None,
            system_password: None,
            project_secret: None,
            metrics_token: None,
            allow_unauthenticated: false,
            files: FileReach::Machine,
            durability: Durability::Full,
            copies: Copies { archive: None, interval: Duration::from_secs(30), backup: None },
            limits: Limits::default(),
            log_filter: "info".into(),
            log_format: LogFormat::Auto,
        }
    }
}

impl Config {
    /// Whether a part runs.
    pub fn runs(&self, service: Service) -> bool {
        self.services.contains(&service)
    }
}

/// Whether a host name or address can be reached from this machine only.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
}

/// How long a clean shutdown may take before connections are cut.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
