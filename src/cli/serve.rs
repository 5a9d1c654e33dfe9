//! `outpost serve`: the server's process, from its settings to its exit status. What runs in it is [`crate::app`]'s affair.
//!
//! The order matters: nothing is written before the settings are good and the port is ours, and the environment is cleaned
//! before the first thread.

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::IpAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context as _;
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::block_in_place,
    time::timeout,
};
use tracing::{error, info, warn};

use super::{
    flags::{Flags, Origin},
    print, qr,
};
use crate::{
    app::App,
    config::{
        Config, DRAIN_TIMEOUT, Identity, Loaded, address, is_loopback,
        load::check_exposure,
        reload::{Changes, apply_live},
        secrets,
    },
    host::{
        addresses,
        connection_info::ConnectionInfo,
        data_lock, environment, journal,
        listen::Listeners,
        log::{self, LogHandle},
        memory, notify, process,
        signals::{self, Reload, Signals},
        watchdog,
    },
};

/// What the parts get beyond [`DRAIN_TIMEOUT`], and what threads then get: together less than the 10 s a stop may take.
const GRACE: Duration = Duration::from_millis(800);

/// Runs the server until it is told to stop.
pub(super) fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    let origin = flags.origin()?;
    let loaded = origin.load()?;
    let listeners = Listeners::open(&loaded.config.listen)?;
    check_exposure(&loaded, listeners.exposed)?;
    let mut config = loaded.config.clone();
    secrets::private_directory(&config.paths.data)?;
    let _lock = data_lock::acquire(&config.paths.data)?;
    secrets::resolve(&mut config, listeners.exposed)?;
    let home = &config.paths.home;
    secrets::private_directory(home)?;
    environment::settle(home).with_context(|| format!("can't settle in {}", home.display()))?;

    let log = log::init(&config.log_filter, config.log_format)?;
    loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
    process::raise_max_descriptors();
    memory::give_back_large_pieces();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("outpost").build()?;
    let info = connection_info(&config, &listeners);
    let settings = Settings { origin, exposed: listeners.exposed, loaded, running: config, log, info };
    let result = runtime.block_on(serve(settings, listeners));
    runtime.shutdown_timeout(GRACE);
    result.map(|()| ExitCode::SUCCESS)
}

/// What a reload works with.
struct Settings {
    origin: Origin,
    /// Whether other machines can reach the server.
    exposed: bool,
    /// As loaded last.
    loaded: Loaded,
    /// In use.
    running: Config,
    log: LogHandle,
    /// As published.
    info: ConnectionInfo,
}

/// The process around the parts: signals, systemd, `connection-info.json`, the URL line.
async fn serve(settings: Settings, listeners: Listeners) -> anyhow::Result<()> {
    let Signals { shutdown, reload } = signals::listen()?;
    let config = settings.running.clone();
    let info = settings.info.clone();
    let app = App::build(config.clone(), listeners).await?;

    let published = info.publish(&config.paths.data)?;
    let (reload_sender, reloads) = mpsc::channel(1);
    let status = format!("listening on port {}", info.port);
    let mut helpers = tokio::task::JoinSet::new();
    helpers.spawn(reload_on_request(settings, reload, reload_sender, status.clone()));
    if let Some(every) = notify::alive_interval() {
        helpers.spawn(watchdog::watch(every, app.probes(), notify::alive));
    }
    let mut running = std::pin::pin!(app.run(shutdown.clone(), reloads));
    // Polled first, so that the sockets are served when we say that they are.
    let ended = tokio::select! {
        biased;
        result = &mut running => Some(result),
        () = announce(&config, &info, &status) => None,
    };
    let result = match ended {
        Some(result) => result,
        None => tokio::select! {
            // The wish to stop is seen before its effect, so that systemd always hears of it.
            biased;
            () = shutdown.cancelled() => {
                notify::stopping();
                match timeout(DRAIN_TIMEOUT + GRACE, &mut running).await {
                    Ok(result) => result,
                    Err(_) => {
                        warn!("not everything was finished in time; cutting it off");
                        Ok(())
                    }
                }
            }
            result = &mut running => result,
        },
    };
    // Nobody writes the file again after it has gone.
    helpers.shutdown().await;
    drop(published);
    info!("stopped");
    Ok(result?)
}

fn connection_info(config: &Config, listeners: &Listeners) -> ConnectionInfo {
    let listen = &config.listen;
    // "Every address" is not one that a browser can open.
    let host = match listen.host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => "localhost",
        _ => &listen.host,
    };
    let url = address::url(listen.tls, host, listeners.port, &listen.base_path);
    let started = process::started().1.duration_since(UNIX_EPOCH).unwrap_or_default();
    ConnectionInfo {
        pid: std::process::id().cast_signed(),
        url: address::sign_in_url(&url, config.auth_token.as_ref()),
        host: listen.host.clone(),
        port: listeners.port,
        base_path: if listen.base_path.is_empty() { "/".into() } else { listen.base_path.clone() },
        tls: listen.tls,
        version: env!("CARGO_PKG_VERSION").into(),
        server_id: config.identity.server_id.clone(),
        started: u64::try_from(started.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The URL for another device: a server that listens on every address is told by one that others know.
pub(super) fn url_from_outside(info: &ConnectionInfo) -> String {
    let is_unspecified = info.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    let Some(address) = addresses::addresses().first().filter(|_| is_unspecified).map(IpAddr::to_string) else {
        return info.url.clone();
    };
    info.url.replacen("//localhost:", &format!("//{}:", address::bracketed(&address)), 1)
}

/// Tells systemd and people that the server answers.
async fn announce(config: &Config, info: &ConnectionInfo, status: &str) {
    notify::ready(status);
    info!(port = info.port, tls = info.tls, version = info.version, "listening");
    // The journal is a log, and no log gets the token; `outpost token` shows it.
    let is_log = journal::leads_to_journal(io::stdout());
    let mut text = String::new();
    if is_log {
        text += info.url.split('?').next().unwrap_or_default();
    } else {
        text += &info.url;
        let outside = url_from_outside(info);
        if outside != info.url {
            text += &format!("\nfrom other machines: {outside}");
        }
    }
    if print(text + "\n" + &details(config)).is_err() {
        warn!("standard output can't be written to");
    }
    if io::stdout().is_terminal()
        && !is_loopback(&info.host)
        && let Some(code) = qr::render(&url_from_outside(info))
    {
        // For people; a terminal that has gone needs none.
        let _ = write!(io::stderr(), "{code}");
    }
}

/// The lines after the URL (hub.md §1.4): where the certificate is, and ids that are not the default ones.
fn details(config: &Config) -> String {
    let mut text = String::new();
    if config.listen.tls {
        let (folder, host) = (config.paths.tls.display(), &config.listen.host);
        text += &format!("key: {folder}/{host}.key.pem\ncertificate: {folder}/{host}.cert.pem\n");
    }
    let (ids, defaults) = (&config.identity, Config::default().identity);
    let key = |ids: &Identity| (ids.account_id.clone(), ids.project_id.clone(), ids.compute_server_id);
    if key(ids) != key(&defaults) {
        let (project, account, server) = (&ids.project_id, &ids.account_id, ids.compute_server_id);
        let line = json!({ "project_id": project, "account_id": account, "compute_server_id": server });
        text += &format!("{line}\n");
    }
    text
}

/// Reads the settings again at each SIGHUP and hands the live ones to the parts.
async fn reload_on_request(
    mut settings: Settings,
    mut requests: mpsc::Receiver<()>,
    parts: mpsc::Sender<Reload>,
    status: String,
) {
    while requests.recv().await.is_some() {
        notify::reloading();
        settings.reload(&parts).await;
        notify::ready(&status);
    }
}

impl Settings {
    async fn reload(&mut self, parts: &mpsc::Sender<Reload>) {
        // Files are read and written here.
        if let Err(error) = block_in_place(|| self.read()) {
            // The certificate is read again all the same.
            error!(error = format!("{error:#}"), "bad settings: they stay as they were");
        }
        if let Err(error) = self.log.set_filter(&self.running.log_filter) {
            error!(%error, "the log filter stays as it was");
        }
        let (done, finished) = oneshot::channel();
        if parts.send(Reload { config: Arc::new(self.running.clone()), done }).await.is_err() {
            return;
        }
        match finished.await {
            Ok(Ok(())) => info!("reloaded"),
            Ok(Err(error)) => error!(error, "not everything was reloaded"),
            Err(_) => info!("stopping, so nothing was reloaded"),
        }
        let url = address::with_token(&self.info.url, self.running.auth_token.as_ref());
        if url != self.info.url {
            self.info.url = url;
            match block_in_place(|| self.info.write(&self.running.paths.data)) {
                Ok(()) => info!("the access token is another one now; `outpost token` shows it"),
                Err(error) => error!(%error, "the new sign-in URL can't be told to other programs"),
            }
        }
    }

    /// Reads the settings again and puts what is live in use.
    fn read(&mut self) -> anyhow::Result<()> {
        let loaded = self.origin.load()?;
        check_exposure(&loaded, self.exposed)?;
        let mut next = apply_live(&self.running, &self.loaded.config, &loaded.config);
        secrets::resolve(&mut next, self.exposed)?;
        loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
        let changes = Changes::between(&self.loaded.config, &loaded.config);
        if !changes.restart.is_empty() {
            warn!(settings = changes.restart.join(", "), "changed settings that wait for a restart");
        }
        if !changes.live.is_empty() {
            info!(settings = changes.live.join(", "), "changed settings");
        }
        self.running = next;
        self.loaded = loaded;
        Ok(())
    }
}
