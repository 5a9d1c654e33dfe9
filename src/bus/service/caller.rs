//! Calling services.

use std::time::Duration;

use rmpv::Value;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::direct::{MAX_BYTES, PING};
use crate::{
    bus::{Client, Code, Error, Message, RequestManyOptions, RequestOptions, request, socket::Backoff},
    wire::msgpack,
};

/// Shortest time a ping gets while waiting for a service.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// How to call.
#[derive(Clone, Copy, Debug)]
pub struct CallOptions {
    /// How long the answer may take.
    pub timeout: Duration,
    /// Whether to wait for the service when it is not there.
    pub wait: bool,
}

impl Default for CallOptions {
    fn default() -> Self {
        CallOptions { timeout: Duration::from_secs(10), wait: true }
    }
}

/// How to call all instances.
#[derive(Clone, Copy, Debug)]
pub struct CallManyOptions {
    /// Ends after so many results.
    pub max_messages: Option<usize>,
    /// Ends when no result came for so long.
    pub max_wait: Duration,
}

impl Default for CallManyOptions {
    fn default() -> Self {
        CallManyOptions { max_messages: None, max_wait: Duration::from_secs(30) }
    }
}

#[derive(Serialize)]
struct Named<'a, A: Serialize + ?Sized> {
    name: &'a str,
    args: &'a A,
}

impl Client {
    async fn ask<T: Serialize + ?Sized>(
        &self,
        subject: &str,
        body: &T,
        options: CallOptions,
    ) -> Result<Message, Error> {
        let CallOptions { timeout, wait } = options;
        let options = RequestOptions { headers: None, timeout, wait_for_interest: wait };
        request::request(self.core(), subject, msgpack::encode(body)?.into(), options).await
    }

    /// Calls a method of a method-array service (§15.1). `args` is a tuple or a slice.
    ///
    /// # Errors
    /// The service's error, or that of the request.
    pub async fn call<T: DeserializeOwned>(
        &self,
        subject: &str,
        method: &str,
        args: &(impl Serialize + ?Sized),
        options: CallOptions,
    ) -> Result<T, Error> {
        self.ask(subject, &(method, Args(args)), options).await?.decode()
    }

    /// Calls a method of all instances of a method-array service; one result or error for each.
    ///
    /// # Errors
    /// Nobody is there (503).
    pub async fn call_many<T: DeserializeOwned>(
        &self,
        subject: &str,
        method: &str,
        args: &(impl Serialize + ?Sized),
        options: CallManyOptions,
    ) -> Result<Vec<Result<T, Error>>, Error> {
        let CallManyOptions { max_messages, max_wait } = options;
        let options = RequestManyOptions { max_messages, max_wait: Some(max_wait), ..RequestManyOptions::default() };
        let responses = self.request_many(subject, &(method, Args(args)), options).await?.collect().await?;
        let result = |response: Message| match response.headers().and_then(Error::from_headers) {
            Some(error) => Err(error),
            None => response.decode(),
        };
        Ok(responses.into_iter().map(result).collect())
    }

    /// Calls a function of an API (§15.3): body `{name, args}`.
    ///
    /// # Errors
    /// The API's error, in headers or body, or that of the request.
    pub async fn call_api<T: DeserializeOwned>(
        &self,
        subject: &str,
        name: &str,
        args: &(impl Serialize + ?Sized),
        options: CallOptions,
    ) -> Result<T, Error> {
        read_body(&self.ask(subject, &Named { name, args: &Args(args) }, options).await?)
    }

    /// Sends any value to a named-call service (§15.2).
    ///
    /// # Errors
    /// The service's error, or that of the request.
    pub async fn call_value<T: DeserializeOwned>(
        &self,
        subject: &str,
        value: &(impl Serialize + ?Sized),
        options: CallOptions,
    ) -> Result<T, Error> {
        read_body(&self.ask(subject, value, options).await?)
    }

    /// Calls a method of a typed service: directly if that works, by request otherwise (§20.12).
    ///
    /// # Errors
    /// The service's error, or that of the request.
    pub async fn call_typed<T: DeserializeOwned>(
        &self,
        subject: &str,
        name: &str,
        args: &(impl Serialize + ?Sized),
        options: CallOptions,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + options.timeout;
        let body = Named { name, args: &Args(args) };
        let payload = msgpack::encode(&body)?;
        if payload.len() <= MAX_BYTES {
            match self.call_direct(subject, payload.into(), options.timeout).await {
                Ok(result) => return Ok(msgpack::decode(&result)?),
                Err(error) if !means_fall_back(&error) => return Err(error),
                Err(_) => {}
            }
        }
        let timeout = deadline.saturating_duration_since(Instant::now());
        read_body(&self.ask(subject, &body, CallOptions { timeout, ..options }).await?)
    }

    /// Waits until a named-call service answers `"ping"` (§15.2).
    ///
    /// # Errors
    /// It did not within `timeout`.
    pub async fn wait_for_service(&self, subject: &str, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        let mut pause = Backoff::new(Duration::from_millis(1300), Duration::from_secs(10));
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let options = CallOptions { timeout: left.min(PING_TIMEOUT), wait: true };
            match self.ask(subject, "ping", options).await {
                Ok(answer) if answer.decode::<String>().is_ok_and(|text| text == "pong") => return Ok(()),
                Err(Error::Closed) => return Err(Error::Closed),
                Ok(_) | Err(_) => {}
            }
            let next = Instant::now() + pause.step();
            if next >= deadline {
                return Err(Error::Timeout(format!("waiting for the service '{subject}'")));
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Whether a typed service answers direct calls.
    pub async fn ping_direct(&self, subject: &str, timeout: Duration) -> bool {
        let Ok(payload) = msgpack::encode(&Named { name: PING, args: &[(); 0] }) else { return false };
        self.call_direct(subject, payload.into(), timeout).await.is_ok()
    }
}

/// Whether an error of a direct call means that an ordinary request should be tried.
fn means_fall_back(error: &Error) -> bool {
    let text = error.to_string();
    error.is_code(413) || ["no services matching", "disconnected", "too large"].iter().any(|word| text.contains(word))
}

/// A body with a truthy `error` is a failure.
fn read_body<T: DeserializeOwned>(message: &Message) -> Result<T, Error> {
    let body: Value = message.decode()?;
    let field = |name: &str| {
        let fields = body.as_map()?;
        fields.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| msgpack::to_json(value))
    };
    if let Some(error) = field("error")
        && let Some(mut error) = Error::from_headers(&serde_json::json!({ "error": error }))
    {
        if let Error::Failure(failure) = &mut error {
            failure.code = field("code").as_ref().and_then(Code::from_json);
        }
        return Err(error);
    }
    Ok(msgpack::from_value(body)?)
}

/// Arguments as they go over the wire: always an array, also when they are `()`.
struct Args<'a, A: Serialize + ?Sized>(&'a A);

impl<A: Serialize + ?Sized> Serialize for Args<'_, A> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if std::mem::size_of_val(self.0) == 0 {
            let empty: [(); 0] = [];
            return empty.serialize(serializer);
        }
        self.0.serialize(serializer)
    }
}
