//! The frames of `getAll` (conat-persist.md §§6.5, 17.3).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Shared, records, refusal::Refusal, request::GetAll};
use crate::{
    bus::{MSGPACK, PublishOptions},
    persist::store::{self, Pages, Stream},
};

/// Payload bytes of a frame. Reference servers send up to 20 MB; smaller frames let others through in between.
const FRAME_BYTES: usize = 1 << 20;

/// Messages of a range, with what the first frame tells beside them.
pub(super) struct Replay {
    pages: Pages,
    first: Map<String, Value>,
}

impl Replay {
    /// Takes the snapshot.
    pub async fn begin(stream: &Stream, wanted: &GetAll) -> Result<Replay, Refusal> {
        let mut first = Map::new();
        if wanted.config {
            // Telling the configuration enforces it. A disk that refuses that must not keep anybody from reading; clients take
            // its absence for an older server, and ask again.
            match stream.configure(Map::new()).await?.await {
                Ok(config) => drop(first.insert("config".into(), config.into())),
                Err(store::Error::Storage { code, .. }) => tracing::debug!(code, "the configuration was not enforced"),
                Err(error) => return Err(error.into()),
            }
        }
        let pages = stream.range(wanted.range()).await?;
        let numbers = [
            ("effective_start_seq", pages.effective_start),
            ("oldest_retained_seq", pages.oldest),
            ("newest_retained_seq", pages.newest),
        ];
        first.extend(numbers.into_iter().filter_map(|(name, seq)| Some((name.to_owned(), seq?.into()))));
        if wanted.metadata
            && let Some(metadata) = &pages.metadata
        {
            first.insert("metadata".into(), metadata.clone());
        }
        if wanted.checkpoints {
            first.insert("checkpoints".into(), records::checkpoints_json(&pages.checkpoints));
        }
        Ok(Replay { pages, first })
    }

    /// Sends all frames, each when there is room for it. Ends early when nobody listens any more.
    pub async fn send(mut self, shared: Arc<Shared>, reply: Box<str>) {
        for number in 0u64.. {
            // A page is read when there is room for it, or many that wait would fill the memory.
            let mut room = shared.windows.enter(&reply, FRAME_BYTES).await;
            let page = self.pages.next(FRAME_BYTES).await;
            let mut headers = std::mem::take(&mut self.first);
            headers.insert("seq".into(), number.into());
            let (payload, last) = match page {
                Ok(messages) if messages.is_empty() => (records::nil(), true),
                Ok(messages) => (records::page(&messages), false),
                Err(error) => {
                    if let Value::Object(error) = Refusal::from(error).to_headers() {
                        headers.extend(error);
                    }
                    (records::nil(), true)
                }
            };
            if payload.len() > 2 * FRAME_BYTES {
                drop(room);
                room = shared.windows.enter(&reply, payload.len()).await;
            }
            let options = PublishOptions { headers: Some(headers.into()), ..PublishOptions::default() };
            let sent = shared.client.publish_bytes(&reply, MSGPACK, payload, options).await;
            drop(room);
            match sent {
                Ok(published) if published.count > 0 && !last => {}
                Ok(_) => return,
                Err(error) => return tracing::debug!(%error, "an answer was not sent to its end"),
            }
        }
    }
}

/// An answer that failed before its first frame.
pub(super) fn failure(refusal: &Refusal) -> Value {
    let mut headers = refusal.to_headers();
    if let Value::Object(map) = &mut headers {
        map.insert("seq".into(), json!(0));
    }
    headers
}
