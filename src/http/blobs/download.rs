//! `GET /blobs/<name>?uuid=<identifier>[&download]` (hub.md §5.3).

use std::{borrow::Cow, convert::Infallible, fs::File, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH},
    request::Parts,
};
use percent_encoding::percent_decode_str;
use tokio::sync::OwnedSemaphorePermit;

use super::{BlobRoutes, Refusal, kib, spool};
use crate::{
    http::{
        disposition,
        page::{encoding::Coding, mime},
        query, reply,
        send::{self, Answer, Representation},
        stream,
    },
    hub::blobs::Identifier,
};

/// A blob never changes.
const CACHE: &str = "public, max-age=31536000";
/// Larger blobs count while they are sent.
const SMALL_BYTES: usize = 512 << 10;
/// How much of a large blob is sent at once.
const PIECE_BYTES: usize = 128 << 10;

pub(super) async fn download(State(routes): State<Arc<BlobRoutes>>, request: Request) -> Response<Body> {
    answer(&routes, request).await.unwrap_or_else(|refusal| refusal.response())
}

async fn answer(routes: &BlobRoutes, request: Request) -> Result<Response<Body>, Refusal> {
    let (head, _) = request.into_parts();
    // What was asked for is not repeated: it may be anything.
    let missing = || Ok(reply::text(StatusCode::NOT_FOUND, "there is no such blob"));
    let Some(id) = query::get(&head.uri, "uuid").and_then(|uuid| Identifier::parse(&uuid)) else { return missing() };
    if is_known(&head, &id) {
        return Ok(unchanged(&id));
    }
    let Some(found) = find(routes, &id).await? else { return missing() };
    let name = name(head.uri.path());
    let about = Representation {
        mime: mime::of(&name),
        cache: CACHE,
        etag: id.to_string(),
        modified: None,
        coding: Coding::Identity,
        varies: false,
        length: found.length(),
    };
    let mut response = match send::decide(&head, &about) {
        Answer::Whole(builder) => send::finish(builder, found.body(routes, None)),
        Answer::Part(builder, range) => send::finish(builder, found.body(routes, Some(range))),
        Answer::Done(response) => response,
    };
    disposition::mark_blob(response.headers_mut(), about.mime, &name, query::has(&head.uri, "download"));
    Ok(response)
}

/// Whether the client has it already, which can be told without looking.
fn is_known(head: &Parts, id: &Identifier) -> bool {
    head.headers.get(IF_NONE_MATCH).is_some_and(|value| value != "*")
        && send::names(&head.headers, id.as_str()) == Some(true)
}

fn unchanged(id: &Identifier) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(CACHE));
    if let Ok(tag) = HeaderValue::try_from(id.as_str()) {
        headers.insert(ETAG, tag);
    }
    response
}

/// The last part of the path, which tells type and name.
fn name(path: &str) -> Cow<'_, str> {
    percent_decode_str(path.rsplit('/').next().unwrap_or_default()).decode_utf8_lossy()
}

/// A blob that is about to be sent.
enum Found {
    /// Of those there may be many.
    Small(Bytes),
    /// With its share of memory.
    Large(Bytes, OwnedSemaphorePermit),
    /// On the disk, for there was no memory.
    Spooled(File, u64, OwnedSemaphorePermit),
}

/// Finds a blob. However slow those are to whom large ones are sent, the next gets his.
async fn find(routes: &BlobRoutes, id: &Identifier) -> Result<Option<Found>, Refusal> {
    let Some(content) = routes.blobs.get(id).await? else { return Ok(None) };
    if content.len() <= SMALL_BYTES {
        return Ok(Some(Found::Small(content)));
    }
    if let Ok(memory) = routes.sending.clone().try_acquire_many_owned(kib(content.len())) {
        return Ok(Some(Found::Large(content, memory)));
    }
    // What waits is not in memory.
    drop(content);
    let place = routes.spooled.clone().try_acquire_owned().map_err(|_| Refusal::Busy)?;
    let _turn = routes.spooling.acquire().await.map_err(|_| Refusal::Busy)?;
    let Some(content) = routes.blobs.get(id).await? else { return Ok(None) };
    let (folder, length) = (routes.spools.clone(), content.len() as u64);
    let file = routes.threads.run(move || spool::file(&folder, &content)).await?;
    Ok(Some(Found::Spooled(file, length, place)))
}

impl Found {
    fn length(&self) -> u64 {
        match self {
            Found::Small(content) | Found::Large(content, _) => content.len() as u64,
            Found::Spooled(_, length, _) => *length,
        }
    }

    /// All of it, or a part, both ends included.
    fn body(self, routes: &BlobRoutes, range: Option<(u64, u64)>) -> Body {
        let length = self.length();
        let (start, end) = range.map_or((0, length), |(start, end)| (start, end.saturating_add(1).min(length)));
        let cut = |content: Bytes| {
            let place = |at: u64| usize::try_from(at).unwrap_or(content.len()).min(content.len());
            content.slice(place(start).min(place(end))..place(end))
        };
        match self {
            Found::Small(content) => Body::from(cut(content)),
            Found::Large(content, memory) => pieces(cut(content), memory),
            Found::Spooled(file, _, place) => {
                stream::file(routes.threads.clone(), file, start, end.saturating_sub(start), place)
            }
        }
    }
}

/// Content that keeps its share of memory until it is sent.
fn pieces(content: Bytes, memory: OwnedSemaphorePermit) -> Body {
    Body::from_stream(unfold((content, memory), |(mut content, memory)| async move {
        let size = content.len().min(PIECE_BYTES);
        let piece = content.split_to(size);
        (size > 0).then_some((Ok::<_, Infallible>(piece), (content, memory)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_the_path_is_the_name() {
        assert_eq!(name("/blobs/a%20b.png"), "a b.png");
        assert_eq!(name("/blobs/x/y.svg"), "y.svg");
        assert_eq!(name("/blobs/a%2Fb.html"), "a/b.html");
        assert_eq!(name("/blobs/%ff.png"), "\u{fffd}.png");
    }
}
