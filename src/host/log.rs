//! Log lines: to the journal with fields, as lines for people, or as JSON. Always on standard error.
//!
//! What other crates say below `info` is never logged: some of them print whole requests there, cookies included.

use std::{
    io::{self, IsTerminal as _},
    panic::{self, PanicHookInfo},
    thread,
};

use thiserror::Error;
use tracing::{Level, Metadata, error};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{ParseError, filter_fn},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use super::journal::leads_to_journal;
use crate::config::LogFormat;

/// Logging that cannot be set up or changed.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("log filter: {0}")]
    Filter(#[from] ParseError),
    /// Somebody has set logging up before.
    #[error("logging is set up already")]
    Twice,
    /// Logging has ended.
    #[error("logging has ended")]
    Gone,
}

/// Changes the filter while the server runs.
#[derive(Clone, Debug)]
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

impl LogHandle {
    /// Replaces the filter.
    ///
    /// # Errors
    /// [`LogError::Filter`].
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        self.0.reload(parse(filter)?).map_err(|_| LogError::Gone)
    }
}

type Output = Box<dyn Layer<reloaded::Filtered> + Send + Sync>;

/// The registry with the filter on top, which outputs are laid upon.
mod reloaded {
    use tracing_subscriber::{EnvFilter, Registry, layer::Layered, reload};

    pub type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
}

/// Sets up logging for the whole process, panics included.
///
/// # Errors
/// [`LogError`].
pub fn init(filter: &str, format: LogFormat) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let output = output(format).with_filter(filter_fn(is_discreet));
    tracing_subscriber::registry().with(filter).with(output).try_init().map_err(|_| LogError::Twice)?;
    panic::set_hook(Box::new(log_panic));
    Ok(LogHandle(handle))
}

fn is_discreet(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.target().starts_with("outpost")
}

/// A panic as one log line. Messages made at run time are left out because they may quote what a client sent.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(message left out)");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    error!(message, location, thread = thread::current().name(), "panic");
}

fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().with_regex(false).parse(filter)
}

fn output(format: LogFormat) -> Output {
    match format {
        LogFormat::Json => tracing_subscriber::fmt::layer().json().with_writer(io::stderr).boxed(),
        LogFormat::Human => human(),
        LogFormat::Journal => journal().unwrap_or_else(human),
        LogFormat::Auto if leads_to_journal(io::stderr()) => journal().unwrap_or_else(human),
        LogFormat::Auto => human(),
    }
}

fn human() -> Output {
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(io::stderr).boxed()
}

/// The journal; `None` when its socket is not there, as in many containers.
fn journal() -> Option<Output> {
    let layer = tracing_journald::layer().ok()?;
    Some(layer.with_syslog_identifier("outpost".into()).with_field_prefix(Some("OUTPOST".into())).boxed())
}
