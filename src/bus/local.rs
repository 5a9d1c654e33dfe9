//! A client in the broker's own process: the same operations, without the wire's text.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Error,
    calls::{IncomingCall, call_fields},
    core::Core,
    link::{Ack, BoxFuture, Link, Subscribing},
    table::{Chunk, more_than_payload},
};
use crate::{
    broker::{
        Broker, CallError, Connection, Item, Outbox, Refusal, User,
        outbox::Closed,
        rpc::{CallKind, Fields as CallFields},
    },
    wire::{
        chunk::SWEEP_INTERVAL,
        frame::{Fields, Frame},
        json::Scanner,
    },
};

/// The connection of a client in process.
pub(super) struct Local {
    broker: Arc<Broker>,
    user: User,
    connection: Mutex<Option<Connection>>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("user", &self.user).finish_non_exhaustive()
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused { message: refusal.to_string(), code: refusal.code().map(|code| i64::from(code).into()) }
    }
}

impl Local {
    pub fn new(broker: &Arc<Broker>, user: User) -> Local {
        Local { broker: broker.clone(), connection: Mutex::new(Some(broker.attach(user.clone()))), user }
    }

    pub fn max_payload(&self) -> usize {
        self.broker.limits().max_payload
    }

    fn with<T>(&self, f: impl FnOnce(&mut Connection) -> Result<T, Error>) -> Result<T, Error> {
        self.connection.lock().as_mut().ok_or(Error::Closed).and_then(f)
    }

    pub fn publish(&self, subject: &str, frame: Fields) -> Result<Ack, Error> {
        // Only the flight recorder wants to see the headers, their names.
        let headers = match &frame.headers {
            Some(headers) if self.broker.flight().is_on() => Some(headers.to_string()),
            _ => None,
        };
        let headers = headers.as_deref().and_then(|text| Scanner::new(text).value().ok());
        let frame = Frame::new(frame);
        let published = self.with(|connection| Ok(connection.publish(subject, frame, headers)?))?;
        Ok(Ack::Delivered(published.count, published.congested))
    }

    pub fn subscribe(&self, pattern: &str, queue: &str) -> Result<(), Error> {
        self.with(|connection| Ok(connection.subscribe(pattern, queue).map(|_| ())?))
    }

    pub fn unsubscribe(&self, pattern: &str) {
        if let Some(connection) = self.connection.lock().as_mut() {
            connection.unsubscribe(pattern);
        }
    }

    pub async fn wait_for_interest(&self, subject: &str, timeout: Duration) -> Result<bool, Error> {
        let wait = self.with(|connection| {
            if timeout.is_zero() {
                return Ok(Err(connection.has_interest(subject)?));
            }
            let wait: BoxFuture<bool> = Box::pin(connection.wait_for_interest(subject, timeout)?);
            Ok(Ok(wait))
        })?;
        match wait {
            Ok(wait) => Ok(wait.await),
            Err(known) => Ok(known),
        }
    }

    pub fn register_service(&self, pattern: &str, queue: &str) -> Result<(), Error> {
        self.with(|connection| Ok(connection.register_service(pattern, queue)?))
    }

    pub fn close_service(&self, pattern: &str) {
        if let Some(connection) = self.connection.lock().as_mut() {
            connection.close_service(pattern);
        }
    }

    pub async fn call(&self, subject: &str, raw: Bytes, timeout: Duration) -> Result<CallFields, Error> {
        let answer = self.with(|connection| {
            connection.call(CallKind::FastRpc, subject, None, call_fields(raw)).map_err(|error| match error {
                CallError::Refused(refusal) => refusal.into(),
                CallError::NoService => Error::failure(format!("fast-rpc -- no services matching '{subject}'"), 503),
            })
        })?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(fields)) => Ok(fields),
            Ok(Err(_)) => Err(Error::failure("fast-rpc -- service disconnected", 503)),
            Err(_) => Err(Error::Timeout(format!("fast-rpc to '{subject}'"))),
        }
    }

    /// Ends the connection; with it goes everything it had.
    pub fn close(&self, _patterns: Vec<Arc<str>>) {
        let connection = self.connection.lock().take();
        drop(connection);
    }

    /// Connects anew after the broker has cut this client off.
    fn reattach(&self, core: &Core) -> Option<Arc<Outbox>> {
        let table = core.table.lock();
        let mut slot = self.connection.lock();
        // A client that was closed in the meantime stays closed.
        slot.as_ref()?;
        let mut connection = self.broker.attach(self.user.clone());
        for (pattern, queue) in table.wanted() {
            if let Err(error) = connection.subscribe(pattern, queue) {
                tracing::warn!(%pattern, %error, "a subscription could not be made anew");
            }
        }
        for (pattern, queue) in core.calls.registered() {
            if let Err(error) = connection.register_service(&pattern, &queue) {
                tracing::warn!(%pattern, %error, "a service could not be registered anew");
            }
        }
        let outbox = connection.outbox().clone();
        *slot = Some(connection);
        Some(outbox)
    }
}

/// Starts a client in process. It is connected when this returns.
pub(super) fn start(broker: &Arc<Broker>, user: User) -> Arc<Core> {
    let prefix = user.inbox_prefix();
    let local = Local::new(broker, user.clone());
    let outbox = local.connection.lock().as_ref().map(|c| c.outbox().clone());
    let core = Core::new(Link::Local(Box::new(local)));
    *core.user.lock() = Some(user);
    let pattern = format!("{}.*", core.name_inbox(&prefix));
    {
        let mut table = core.table.lock();
        let (serial, queue) = table.add_inbox(&pattern);
        if let Subscribing::Done(result) = core.link().subscribe(&pattern, &queue) {
            if let Err(error) = &result {
                tracing::warn!(%pattern, %error, "the inbox could not be subscribed to; requests will not work");
            }
            let inbox = result.is_ok();
            table.confirm(&pattern, serial, result);
            core.status.send_modify(|status| status.inbox = inbox);
        }
    }
    core.connected();
    if let Some(outbox) = outbox {
        core.tasks.spawn(pump(core.clone(), outbox));
    }
    core
}

/// Takes deliveries out of the outbox until the client closes.
async fn pump(core: Arc<Core>, mut outbox: Arc<Outbox>) {
    let mut items = VecDeque::new();
    let mut sweep = tokio::time::interval_at(Instant::now() + SWEEP_INTERVAL, SWEEP_INTERVAL);
    loop {
        let taken = tokio::select! {
            taken = outbox.take(&mut items) => taken,
            _ = sweep.tick() => {
                core.table.lock().expire();
                continue;
            }
            () = core.closing.cancelled() => return,
        };
        match taken {
            Ok(()) => {
                for item in items.drain(..) {
                    let (messages, bytes) = Outbox::size_of(&item);
                    handle(&core, item);
                    outbox.written(messages, bytes);
                }
            }
            Err(Closed::Ended) => return,
            Err(Closed::SlowReader) => {
                tracing::warn!("a client in process was cut off as a slow reader; it connects again");
                core.disconnected();
                let Link::Local(local) = core.link() else { return };
                let Some(next) = local.reattach(&core) else { return };
                outbox = next;
                core.connected();
            }
        }
        // Deliveries may never run dry; others on this thread get their turn.
        tokio::task::consume_budget().await;
    }
}

fn handle(core: &Core, item: Item) {
    match item {
        Item::Deliver(delivery) => {
            // A frame that no client could read is none.
            let Some(fields) = delivery.frame().fields() else { return };
            let Fields { id, seq, done, encoding, raw, headers } = fields.clone();
            let subject = delivery.subject().clone();
            let attachments = more_than_payload(delivery.frame().attachments());
            let chunk = Chunk { subject, id, seq, done, encoding, raw, headers, attachments };
            core.deliver(delivery.pattern(), chunk);
        }
        Item::Call(call) => {
            let reply = call.reply;
            core.calls.receive(IncomingCall {
                subject: call.subject,
                pattern: call.pattern,
                kind: call.kind,
                // The caller may be gone already.
                reply: Box::new(move |fields| drop(reply.send(fields))),
                body: call.body,
            });
        }
        Item::Permission(refused) => core.denied(refused.direction, &refused.subject),
        // Answers to events of sockets; a call of a method has its answer already.
        Item::Packet(_) | Item::Frames { .. } => {}
        // Only connections over sockets are told to go by id.
        Item::Disconnect => {}
    }
}
