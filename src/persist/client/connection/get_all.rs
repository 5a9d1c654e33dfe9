//! Getting many messages (conat-persist.md §§6.5, 11.4, 17.3).

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Error, Result, Shared, socket::Live};
use crate::{
    bus::{self, RequestManyOptions, socket::SocketState},
    persist::client::{message::Message, records},
};

/// Which messages to get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetAll {
    /// The first number, inclusive.
    pub start_seq: Option<u64>,
    /// The last number, inclusive.
    pub end_seq: Option<u64>,
    /// A checkpoint to start at, if that is later (newer servers).
    pub start_checkpoint: Option<String>,
    /// Whether to turn the feed on before (newer servers).
    pub changefeed: bool,
    /// Whether to tell the configuration as well (newer servers).
    pub include_config: bool,
}

impl GetAll {
    fn headers(&self, timeout_ms: u64) -> Value {
        let mut headers = json!({"cmd": "getAll", "timeout": timeout_ms});
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                headers[name] = value;
            }
        };
        add("start_seq", self.start_seq.map(Value::from));
        add("end_seq", self.end_seq.map(Value::from));
        add("start_checkpoint", self.start_checkpoint.clone().map(Value::from));
        add("changefeed", self.changefeed.then_some(Value::Bool(true)));
        add("includeConfig", self.include_config.then_some(Value::Bool(true)));
        headers
    }
}

/// What `getAll` has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// The configuration, if the server tells.
    pub config: Option<Map<String, Value>>,
    /// Where the messages really start, if the server tells.
    pub effective_start: Option<u64>,
    /// The oldest message there is, if the server tells.
    pub oldest: Option<u64>,
    /// The newest message there is, if the server tells.
    pub newest: Option<u64>,
    /// The socket it came over.
    pub epoch: u64,
}

impl Snapshot {
    fn read_headers(&mut self, headers: &Value) {
        let number = |name: &str| headers.get(name).and_then(records::Number::of);
        self.effective_start = number("effective_start_seq");
        self.oldest = number("oldest_retained_seq");
        self.newest = number("newest_retained_seq");
        self.config = headers.get("config").and_then(Value::as_object).cloned();
    }
}

impl Shared {
    /// Gets messages over a socket. The counters of the frames have to be complete and the final frame has to come; silence
    /// is an error (408), loss as well (503).
    pub(super) async fn get_all(&self, live: &Live, query: &GetAll) -> Result<Snapshot> {
        let mut snapshot = Snapshot { epoch: live.epoch, ..Snapshot::default() };
        let mut query = query.clone();
        let (mut bytes, mut first) = (0, true);
        loop {
            let read = self.read(live, &query, &mut snapshot, &mut bytes, &mut first).await;
            match (read, snapshot.messages.last()) {
                // We could not keep up. What has come is good and in order, so the rest is asked for; the feed was on before.
                (Err(Error::Bus(bus::Error::SlowReader(_))), Some(last)) if query.start_seq <= Some(last.seq) => {
                    query.start_seq = Some(last.seq + 1);
                }
                (Ok(()), _) => return Ok(snapshot),
                (Err(error), _) => return Err(error),
            }
        }
    }

    async fn read(
        &self,
        live: &Live,
        query: &GetAll,
        snapshot: &mut Snapshot,
        bytes: &mut usize,
        first: &mut bool,
    ) -> Result<()> {
        let options = &self.client.options;
        let silence = options.times.silence;
        let most = options.bounds.copy_bytes;
        let headers = query.headers(u64::try_from(silence.as_millis()).unwrap_or(u64::MAX));
        let request = RequestManyOptions {
            headers: Some(headers),
            max_wait: Some(silence),
            timeout: options.times.request,
            ..RequestManyOptions::default()
        };
        let subject = live.socket.peer_subject();
        let mut states = live.socket.states();
        let mut frames = self.client.client.request_many(&subject, &(), request).await.map_err(Error::of_request)?;
        let started = Instant::now();
        let mut expected = 0;
        loop {
            let frame = tokio::select! {
                biased;
                frame = frames.next() => frame?,
                // A peer that is gone will send nothing more.
                _ = states.wait_for(|state| *state != SocketState::Ready) => return Err(bus::Error::Closed.into()),
            };
            let late = || bus::Error::Timeout(format!("getAll of '{}' after {:?}", self.path, started.elapsed()));
            let frame = frame.ok_or_else(late)?;
            let headers = frame.headers().cloned().unwrap_or_default();
            let counter = headers.get("seq").and_then(records::Number::of);
            if counter.is_some_and(|counter| counter != expected) {
                return Err(Error::Incomplete(format!("frame {counter:?} came in place of {expected}")));
            }
            if let Some(error) = bus::Error::from_headers(&headers) {
                return Err(Error::of_request(error));
            }
            if counter.is_none() {
                return Err(Error::Incomplete("a frame has no number".into()));
            }
            if std::mem::take(first) {
                snapshot.read_headers(&headers);
            }
            if frame.payload().as_ref() == [0xc0] {
                return Ok(());
            }
            let messages = records::messages(frame.payload())?;
            *bytes += messages.iter().map(Message::bytes).sum::<usize>();
            if *bytes > most {
                return Err(Error::TooLarge(most));
            }
            snapshot.messages.extend(messages);
            expected += 1;
        }
    }

    /// A request whose answer may have any headers, if only it has a number.
    pub(super) async fn request_any(&self, live: &Live, headers: Value, time: Duration) -> Result<bus::Message> {
        let request = RequestManyOptions {
            headers: Some(headers),
            max_messages: Some(1),
            max_wait: Some(time),
            timeout: time,
            ..RequestManyOptions::default()
        };
        let subject = live.socket.peer_subject();
        let mut states = live.socket.states();
        let mut answers = self.client.client.request_many(&subject, &(), request).await.map_err(Error::of_request)?;
        let answer = tokio::select! {
            biased;
            answer = answers.next() => answer?,
            _ = states.wait_for(|state| *state != SocketState::Ready) => return Err(bus::Error::Closed.into()),
        };
        let answer = answer.ok_or_else(|| bus::Error::Timeout(format!("request to '{subject}'")))?;
        let headers = answer.headers();
        let has_number = headers.and_then(|headers| headers.get("seq")).is_some_and(Value::is_number);
        match headers.and_then(bus::Error::from_headers) {
            Some(error) if !has_number => Err(Error::of_request(error)),
            _ => Ok(answer),
        }
    }

    /// Turns the feed of a socket on.
    pub(super) async fn arm_on(&self, live: &Live) -> Result<()> {
        let headers = Some(json!({"cmd": "changefeed"}));
        let time = self.client.options.times.request;
        let asked = live.socket.request_bytes(bytes::Bytes::from_static(&[0xc0]), headers, time).await;
        asked.map(drop).map_err(Error::of_request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_left_out() {
        assert_eq!(GetAll::default().headers(5), json!({"cmd": "getAll", "timeout": 5}));
        let query = GetAll { start_seq: Some(0), changefeed: true, ..GetAll::default() };
        let headers = json!({"cmd": "getAll", "timeout": 5, "start_seq": 0, "changefeed": true});
        assert_eq!(query.headers(5), headers);
    }

    #[test]
    fn headers_of_the_first_frame_are_read() {
        // §19.6.
        let mut snapshot = Snapshot::default();
        snapshot.read_headers(&json!({
            "seq": 0, "config": {"max_msgs": -1}, "effective_start_seq": 2, "oldest_retained_seq": 1.0,
            "newest_retained_seq": 3
        }));
        assert_eq!((snapshot.effective_start, snapshot.oldest, snapshot.newest), (Some(2), Some(1), Some(3)));
        assert_eq!(snapshot.config.unwrap()["max_msgs"], -1);
    }
}
