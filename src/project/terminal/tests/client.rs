//! A pretended client that writes down what it gets.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, ready},
    stream,
};
use rmpv::Value;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::super::{
    Limits, TerminalOptions, connection,
    error::Error,
    peer::{Arrival, Peer, Responder, WriteError},
    registry::Registry,
    request::{Answer, Input, Kind, Notice, Request, SpawnOptions},
    service::prepare,
};
use crate::host::{environment::Environment, pty::DEFAULT_PATH};

pub const DEADLINE: Duration = Duration::from_secs(30);

/// A terminal service with a home of its own.
pub struct Server {
    pub home: tempfile::TempDir,
    _data: tempfile::TempDir,
    pub registry: Arc<Registry>,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
}

impl Server {
    pub async fn start(limits: Limits) -> Self {
        let (home, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let options = TerminalOptions {
            project_id: "p".into(),
            home: home.path().to_owned(),
            control_root: data.path().join("terminals"),
            environment: Environment::from([("PATH".into(), DEFAULT_PATH.into()), ("PS1".into(), "$ ".into())]),
            limits,
        };
        let registry = prepare(options, tasks.clone(), shutdown.clone()).await.unwrap();
        Server { home, _data: data, registry, tasks, shutdown }
    }

    pub fn connect(&self) -> Client {
        let screen = Arc::new(Screen::default());
        let (arrivals, queue) = mpsc::channel(4);
        let arrivals_of = stream::unfold(queue, |mut queue| async { Some((queue.recv().await?, queue)) }).boxed();
        self.tasks.spawn(connection::serve(self.registry.clone(), screen.clone(), arrivals_of));
        Client { screen, arrivals }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        timeout(DEADLINE, self.tasks.wait()).await.unwrap();
    }
}

/// What a client got, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Answer(String),
    Data(String),
    Notice(Notice),
}

pub struct Screen {
    log: watch::Sender<Vec<Got>>,
    stuck: watch::Sender<bool>,
    hidden: AtomicBool,
    /// The most data that was under way while stuck.
    pub taken_while_stuck: Mutex<usize>,
    /// How much is taken before it counts as full.
    pub capacity: usize,
}

impl Default for Screen {
    fn default() -> Self {
        Screen {
            log: watch::Sender::default(),
            stuck: watch::Sender::new(false),
            hidden: AtomicBool::new(false),
            taken_while_stuck: Mutex::new(0),
            capacity: 256 << 10,
        }
    }
}

impl Screen {
    /// How long each data message was.
    pub fn data_lengths(&self) -> Vec<usize> {
        let log = self.log.borrow();
        log.iter().filter_map(|got| if let Got::Data(data) = got { Some(data.len()) } else { None }).collect()
    }

    pub fn set_stuck(&self, stuck: bool) {
        *self.taken_while_stuck.lock().unwrap() = 0;
        self.stuck.send_replace(stuck);
    }
}

impl Peer for Screen {
    fn write(&self, text: &str) -> Result<(), WriteError> {
        if *self.stuck.borrow() {
            let mut taken = self.taken_while_stuck.lock().unwrap();
            if *taken >= self.capacity {
                return Err(WriteError::Full);
            }
            *taken += text.len();
        }
        self.log.send_modify(|log| log.push(Got::Data(text.to_owned())));
        Ok(())
    }

    fn drained(&self) -> BoxFuture<'static, ()> {
        let mut stuck = self.stuck.subscribe();
        async move {
            let _ = stuck.wait_for(|stuck| !stuck).await;
        }
        .boxed()
    }

    fn request(&self, notice: &Notice, _timeout: Duration) -> BoxFuture<'static, Option<Value>> {
        self.log.send_modify(|log| log.push(Got::Notice(notice.clone())));
        let answer = match notice {
            Notice::Size if !self.hidden.load(Ordering::Relaxed) => {
                Value::Map(vec![(Value::from("rows"), Value::from(40)), (Value::from("cols"), Value::F64(100.0))])
            }
            _ => Value::Nil,
        };
        ready(Some(answer)).boxed()
    }
}

pub struct Client {
    pub screen: Arc<Screen>,
    arrivals: mpsc::Sender<Arrival>,
}

struct Reply(Arc<Screen>, oneshot::Sender<Result<Answer, Error>>);

impl Responder for Reply {
    fn respond(self: Box<Self>, answer: Result<Answer, Error>) -> BoxFuture<'static, ()> {
        let text = answer.as_ref().map_or_else(ToString::to_string, |answer| format!("{answer:?}"));
        self.0.log.send_modify(|log| log.push(Got::Answer(text)));
        let _ = self.1.send(answer);
        ready(()).boxed()
    }
}

/// A `spawn` request.
pub fn spawn(id: &str, command: &str, args: &[&str]) -> Request {
    Request {
        cmd: "spawn".into(),
        command: Some(command.into()),
        args: Some(args.iter().map(|arg| (*arg).into()).collect()),
        options: Some(SpawnOptions { id: Some(id.into()), ..SpawnOptions::default() }),
        ..Request::default()
    }
}

/// A request without fields.
pub fn plain(cmd: &str) -> Request {
    Request { cmd: cmd.into(), ..Request::default() }
}

impl Client {
    pub async fn request(&self, request: Request) -> Result<Answer, Error> {
        let (reply, answer) = oneshot::channel();
        let arrival = Arrival::Request(Ok(Box::new(request)), Box::new(Reply(self.screen.clone(), reply)));
        assert!(self.arrivals.send(arrival).await.is_ok());
        timeout(DEADLINE, answer).await.unwrap().unwrap()
    }

    /// The pid and the history.
    pub async fn spawn(&self, request: Request) -> (i32, String) {
        match self.request(request).await.unwrap() {
            Answer::Spawned { pid, history, .. } => (pid, history),
            other => panic!("{other:?}"),
        }
    }

    pub async fn send(&self, data: &str, kind: Kind) {
        assert!(self.arrivals.send(Arrival::Input(Input { data: data.into(), kind })).await.is_ok());
    }

    pub async fn type_in(&self, data: &str) {
        self.send(data, Kind::User).await;
    }

    pub fn log(&self) -> Vec<Got> {
        self.screen.log.borrow().clone()
    }

    pub fn data(&self) -> String {
        self.log().iter().filter_map(|got| if let Got::Data(data) = got { Some(data.as_str()) } else { None }).collect()
    }

    pub fn notices(&self) -> Vec<Notice> {
        self.log()
            .into_iter()
            .filter_map(|got| if let Got::Notice(notice) = got { Some(notice) } else { None })
            .collect()
    }

    pub fn set_stuck(&self, stuck: bool) {
        self.screen.set_stuck(stuck);
    }

    pub fn hide(&self) {
        self.screen.hidden.store(true, Ordering::Relaxed);
    }

    /// Waits until what was got is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let mut log = self.screen.log.subscribe();
        let wait = async {
            while !wanted(self) {
                log.changed().await.unwrap();
            }
        };
        if timeout(DEADLINE, wait).await.is_err() {
            let data = self.data();
            let tail: String = data.chars().rev().take(500).collect::<Vec<_>>().into_iter().rev().collect();
            panic!("no {what}; data ends in {tail:?}; notices {:?}", self.notices());
        }
    }

    pub async fn until_data(&self, wanted: &str) {
        self.until(wanted, |client| client.data().contains(wanted)).await;
    }

    pub async fn until_notice(&self, notice: &Notice) {
        self.until(&format!("{notice:?}"), |client| client.notices().contains(notice)).await;
    }
}
