//! A broker to test clients against, and what tests share.

mod endpoint;
mod raw;
mod way;

use std::{sync::Arc, time::Duration};

use outpost::{
    broker::{Broker, Direction, Options, Policy, User, Verdict, policy::PolicyError, sign_in::Anonymous},
    bus::Client,
    config::Limits,
};
use parking_lot::Mutex;

pub use self::{
    endpoint::{Generation, RawClient, RawServer},
    raw::{Raw, Seen, frame},
    way::{Packet, Way},
};

/// Longer than anything a test waits for; with paused time it costs nothing.
const DEADLINE: Duration = Duration::from_secs(600);

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Fails when something does not happen.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it happens before the deadline")
}

/// Waits for a condition.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(ms(1)).await;
    }
    panic!("{what}: not before the deadline");
}

/// A policy that writes down what it is asked and forbids `secret.…`.
#[derive(Clone, Default)]
pub struct Log {
    asked: Arc<Mutex<Vec<(Direction, String)>>>,
}

impl Policy for Log {
    fn decide(&self, _: &User, direction: Direction, subject: &str) -> Result<Verdict, PolicyError> {
        self.asked.lock().push((direction, subject.to_owned()));
        Ok(Verdict { allowed: !subject.starts_with("secret."), rule: "test" })
    }
}

impl Log {
    /// How often somebody wanted to publish to this subject.
    pub fn asked_to_publish(&self, subject: &str) -> usize {
        self.asked.lock().iter().filter(|(d, asked)| *d == Direction::Publish && asked == subject).count()
    }

    /// The patterns somebody wanted to subscribe to, in order.
    pub fn subscribed(&self) -> Vec<String> {
        let asked = self.asked.lock();
        asked.iter().filter(|(d, _)| *d == Direction::Subscribe).map(|(_, subject)| subject.clone()).collect()
    }
}

/// A broker.
#[derive(Clone)]
pub struct Bus {
    pub broker: Arc<Broker>,
    pub log: Log,
}

impl Bus {
    pub fn start() -> Bus {
        Bus::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Bus {
        let log = Log::default();
        let broker = Broker::new(Options {
            server_id: "0".into(),
            cluster_name: None,
            address: "http://localhost:5000".into(),
            limits,
            authenticator: Arc::new(Anonymous),
            policy: Arc::new(log.clone()),
        });
        Bus { broker, log }
    }

    /// A client.
    pub async fn client(&self) -> Client {
        let client = Client::in_process(&self.broker, User::anonymous());
        soon(client.connected()).await.unwrap();
        client
    }

    /// A peer that sends and sees single frames.
    pub fn raw(&self) -> Raw {
        Raw::new(&self.broker)
    }

    /// Subscriptions of everybody.
    pub fn subscriptions(&self) -> u64 {
        self.broker.counters().subscriptions.get()
    }

    /// Operations that the broker has refused.
    pub fn refused(&self) -> u64 {
        self.broker.counters().refused.get()
    }
}
