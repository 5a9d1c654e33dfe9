//! Works on requests, a bounded number at a time.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::Serialize;
use serde_json::json;

use super::{MAX_WAITING, Service, ServiceOptions};
use crate::{
    bus::{Client, Error, Message, SubscribeOptions, Subscription, link::BoxFuture, message::MSGPACK},
    wire::msgpack,
};

/// How a failure is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failures {
    /// Body nil, headers `error` and `error_attrs`.
    Headers,
    /// Body `{error: "Error: …"}`.
    Body,
}

/// Handles a request: the encoded result.
pub(super) type Handler = Arc<dyn Fn(Message) -> BoxFuture<Result<Bytes, Error>> + Send + Sync>;

#[derive(Serialize)]
struct BodyError {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<serde_json::Value>,
}

/// Serves requests whose body is any value. The handler's failure is told in the body; `"ping"` is answered before it.
///
/// # Errors
/// The subject is none, or the server refuses the subscription.
pub async fn serve_values<F, T>(
    client: &Client,
    subject: &str,
    options: ServiceOptions,
    handler: impl Fn(Message) -> F + Send + Sync + 'static,
) -> Result<Service, Error>
where
    F: Future<Output = Result<T, Error>> + Send + 'static,
    T: Serialize,
{
    let handler: Handler = Arc::new(move |message| {
        let result = handler(message);
        Box::pin(async move { Ok(msgpack::encode(&result.await?)?.into()) })
    });
    serve(client, subject, options, Failures::Body, handler).await
}

/// Starts a service; it can be reached when this returns.
pub(super) async fn serve(
    client: &Client,
    subject: &str,
    options: ServiceOptions,
    failures: Failures,
    handler: Handler,
) -> Result<Service, Error> {
    let mut service = Service::new();
    let subscribe = SubscribeOptions { queue: options.queue.clone(), ..SubscribeOptions::default() };
    let requests = client.subscribe_with(subject, subscribe.clone()).await?;
    let runner = Runner { failures, handler, concurrency: options.concurrency.max(1) };
    let (closing, core) = (service.closing.clone(), client.core().clone());
    let client = client.clone();
    service.tasks.push(core.tasks.spawn(async move {
        tokio::select! {
            () = runner.run(client, requests, subscribe) => {}
            () = closing.cancelled() => {}
        }
    }));
    Ok(service)
}

struct Runner {
    failures: Failures,
    handler: Handler,
    concurrency: usize,
}

impl Runner {
    async fn run(self, client: Client, mut requests: Subscription, options: SubscribeOptions) {
        let pattern = requests.pattern().to_owned();
        let mut working = FuturesUnordered::new();
        let mut waiting: VecDeque<Message> = VecDeque::new();
        loop {
            while working.len() < self.concurrency
                && let Some(request) = waiting.pop_front()
            {
                working.push(self.work(request));
            }
            tokio::select! {
                Some(()) = working.next(), if !working.is_empty() => {}
                request = requests.recv() => match request {
                    Ok(request) if waiting.len() < MAX_WAITING => waiting.push_back(request),
                    Ok(request) => self.busy(&request),
                    Err(Error::SlowReader(_)) => {
                        tracing::warn!(pattern, "a service was flooded with requests; some are lost");
                        match client.subscribe_with(&pattern, options.clone()).await {
                            Ok(again) => requests = again,
                            Err(error) => return tracing::warn!(pattern, %error, "a service has ended"),
                        }
                    }
                    Err(Error::Closed) => return,
                    Err(error) => return tracing::warn!(pattern, %error, "a service has ended"),
                },
            }
        }
    }

    fn work(&self, request: Message) -> impl Future<Output = ()> + Send + 'static {
        let (handler, failures) = (self.handler.clone(), self.failures);
        async move {
            // The subject, not the payload: this may go to a log.
            let (subject, started) = (request.subject().to_owned(), Instant::now());
            let answered = if failures == Failures::Body && is_ping(&request) {
                request.respond("pong").await
            } else {
                match handler(request.clone()).await {
                    Ok(result) => request.respond_bytes(MSGPACK, result).await,
                    Err(error) => fail(&request, failures, &error).await,
                }
            };
            if let Err(error) = answered {
                let ms = started.elapsed().as_millis() as u64;
                tracing::debug!(subject, ms, %error, "a request was not answered");
            }
        }
    }

    fn busy(&self, request: &Message) {
        let error = Error::failure(format!("service '{}' is busy", request.subject()), 503);
        let body = (self.failures == Failures::Body)
            .then(|| BodyError { error: format!("Error: {error}"), code: Some(json!(503)) });
        if let Err(error) = request.respond_sync_with(&body, Some(error.to_headers())) {
            tracing::debug!(%error, "a request was not answered");
        }
    }
}

async fn fail(request: &Message, failures: Failures, error: &Error) -> Result<crate::bus::Published, Error> {
    match failures {
        Failures::Headers => request.respond_result::<()>(Err(error.clone())).await,
        Failures::Body => {
            let code = error.code().map(|code| code.to_json());
            request.respond(&BodyError { error: format!("Error: {error}"), code }).await
        }
    }
}

fn is_ping(request: &Message) -> bool {
    // "ping" in MessagePack or JSON.
    matches!(&request.payload()[..], b"\xa4ping" | b"\"ping\"")
}
