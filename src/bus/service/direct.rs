//! The direct calls of typed services (conat-wire.md §§20.5, 20.12): `fast-rpc` as typed calls, `rpc` and `rpc-raw` in the
//! convention of method arrays.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};

use super::{
    Service, ServiceOptions,
    methods::{Call, Convention, Methods},
};
use crate::{
    broker::rpc::CallKind,
    bus::{Client, Error, calls::IncomingCall, core::Core, id::random_id, link::Subscribing, message, queue::Queue},
    wire::msgpack,
};

/// Largest result of a direct call, and largest request that is worth trying directly.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// The method that says whether a service is there.
pub(super) const PING: &str = "__conat_ping";

/// Registers a service for direct calls beside its subscription.
pub(super) async fn serve(
    service: &mut Service,
    client: &Client,
    pattern: &str,
    options: ServiceOptions,
    methods: Arc<Methods>,
) -> Result<(), Error> {
    let core = client.core().clone();
    // The service itself refuses what is too much; the queue never gets full.
    let calls = Arc::new(Queue::new(pattern, usize::MAX, usize::MAX));
    let group = options.queue.unwrap_or_else(random_id);
    core.calls.insert(pattern, &group, calls.clone())?;
    let registered = Registered { core: core.clone(), pattern: pattern.to_owned() };
    match core.link().register_service(pattern, &group) {
        Subscribing::Done(result) => result?,
        Subscribing::Pending(answer) => answer.await?,
    }
    let closing = service.closing.clone();
    let (client, concurrency) = (client.clone(), options.concurrency.max(1));
    service.tasks.push(core.tasks.spawn(async move {
        // The service keeps its client open, as its subscription does.
        let _client = client;
        tokio::select! {
            () = run(&calls, concurrency, methods) => {}
            () = closing.cancelled() => {}
        }
        drop(registered);
    }));
    Ok(())
}

struct Registered {
    core: Arc<Core>,
    pattern: String,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.core.calls.remove(&self.pattern);
        self.core.link().close_service(&self.pattern);
    }
}

async fn run(calls: &Queue<IncomingCall>, concurrency: usize, methods: Arc<Methods>) {
    let mut working = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = working.next(), if !working.is_empty() => {}
            call = calls.pop() => match call {
                Ok(call) if working.len() >= concurrency => {
                    let busy = format!("service '{}' is busy", call.pattern);
                    call.fail(&Error::failure(busy, 503));
                }
                Ok(call) => working.push(work(call, methods.clone())),
                Err(_) => return,
            },
        }
    }
}

async fn work(incoming: IncomingCall, methods: Arc<Methods>) {
    let started = Instant::now();
    if incoming.kind != CallKind::FastRpc {
        let result = answer_untyped(&incoming, &methods).await;
        return incoming.respond_untyped(result);
    }
    let result = answer(&incoming, &methods).await;
    let ms = started.elapsed().as_millis() as u64;
    match result {
        Ok(result) => incoming.respond(result, ms),
        Err(error) => incoming.fail_after(&error, ms),
    }
}

async fn answer_untyped(incoming: &IncomingCall, methods: &Methods) -> Result<Bytes, Error> {
    let malformed = || Error::failure("malformed call", 400);
    let (encoding, payload) = incoming.body().ok_or_else(malformed)?;
    let body = message::decode(encoding, payload)?;
    let call = Call::read(Convention::MethodArray, &incoming.subject, body).ok_or_else(malformed)?;
    methods.call(call).await
}

async fn answer(incoming: &IncomingCall, methods: &Methods) -> Result<Bytes, Error> {
    let malformed = || Error::failure("malformed call", 400);
    let payload = incoming.payload().ok_or_else(malformed)?;
    let body = msgpack::decode_value(payload)?;
    let call = Call::read(Convention::Typed, &incoming.subject, body).ok_or_else(malformed)?;
    if call.name() == PING {
        return Ok(msgpack::encode("pong")?.into());
    }
    let result = methods.call(call).await?;
    if result.len() > MAX_BYTES {
        return Err(Error::failure(format!("the result is too large: {} bytes", result.len()), 413));
    }
    Ok(result)
}
