//! `POST /blobs` (hub.md §5.2): a blob, whole or piece by piece.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
};
use bytes::BytesMut;
use http::{Response, StatusCode, Uri, request::Parts};
use sha1::{Digest as _, Sha1};

use super::{BlobRoutes, Refusal, Spool, kib};
use crate::{
    http::{
        form::{Form, Piece, Source},
        query, reply,
    },
    hub::blobs::{Identifier, LARGEST_BYTES},
};

/// How much is taken at once.
const WRITE_BYTES: usize = 256 << 10;

/// Content that comes in.
#[derive(Debug)]
pub(super) struct Transfer {
    spool: Spool,
    hash: Sha1,
    length: usize,
    /// Pieces that came.
    pieces: u64,
    total: u64,
    /// Set at the end.
    id: Option<Identifier>,
}

impl Transfer {
    fn new(total: u64) -> Transfer {
        Transfer { spool: Spool::new(), hash: Sha1::new(), length: 0, pieces: 0, total, id: None }
    }
}

pub(super) async fn upload(State(routes): State<Arc<BlobRoutes>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let source = Source::new(body);
    match accept(&routes, &head, source.clone()).await {
        Ok(Some(id)) => reply::json(StatusCode::OK, format!(r#"{{"uuid":"{id}"}}"#)),
        Ok(None) => reply::json(StatusCode::OK, r#"{"status":"ok"}"#),
        Err(refusal) => {
            source.drain().await;
            refusal.response()
        }
    }
}

/// `None`: there are more pieces to come.
async fn accept(routes: &BlobRoutes, head: &Parts, source: Source) -> Result<Option<Identifier>, Refusal> {
    let ttl = ttl(&head.uri)?;
    let _slot = routes.slots.try_acquire().map_err(|_| Refusal::Busy)?;
    let mut form = Form::open(head, source).await?;
    match form.piece.take() {
        None => {
            let mut transfer = Transfer::new(1);
            take(routes, &mut form, &mut transfer).await?;
            store(routes, &mut transfer, ttl).await.map(Some)
        }
        Some(piece) => part(routes, &mut form, piece, ttl).await,
    }
}

fn ttl(uri: &Uri) -> Result<Option<u64>, Refusal> {
    match query::get(uri, "ttl").filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(ttl) if ttl > 0 => Ok(Some(ttl)),
            _ => Err(Refusal::BadTtl),
        },
    }
}

async fn part(
    routes: &BlobRoutes,
    form: &mut Form,
    Piece { transfer: name, index, total, offset }: Piece,
    ttl: Option<u64>,
) -> Result<Option<Identifier>, Refusal> {
    let known = if index == 0 {
        routes.transfers.get_or_begin(&name, || Transfer::new(total)).ok_or(Refusal::Busy)?
    } else {
        let known = routes.transfers.get(&name).or_else(|| routes.finished.get(&name));
        known.ok_or(Refusal::OutOfOrder)?
    };
    let mut transfer = known.lock().await;
    if index < transfer.pieces {
        // The answer was lost.
        form.skip().await;
        return Ok(transfer.id.clone().filter(|_| index + 1 == total));
    }
    let here = index == transfer.pieces && transfer.total == total;
    if !here || offset.is_some_and(|offset| offset != transfer.length as u64) {
        return Err(Refusal::OutOfOrder);
    }
    let result = append(routes, form, &mut transfer, ttl).await;
    match &result {
        // What was broken off may be sent again.
        Ok(None) | Err(Refusal::Form(_)) => {}
        Ok(Some(id)) => {
            routes.transfers.remove(&name);
            let id = Some(id.clone());
            routes.finished.get_or_begin(&name, || Transfer { pieces: total, id, ..Transfer::new(total) });
        }
        Err(_) => routes.transfers.remove(&name),
    }
    result
}

async fn append(
    routes: &BlobRoutes,
    form: &mut Form,
    transfer: &mut Transfer,
    ttl: Option<u64>,
) -> Result<Option<Identifier>, Refusal> {
    take(routes, form, transfer).await?;
    if transfer.pieces < transfer.total {
        return Ok(None);
    }
    store(routes, transfer, ttl).await.map(Some)
}

/// Takes the file of a form as the next piece.
async fn take(routes: &BlobRoutes, form: &mut Form, transfer: &mut Transfer) -> Result<(), Refusal> {
    let (mut hash, mut length) = (transfer.hash.clone(), transfer.length);
    let mut full = BytesMut::new();
    loop {
        let bytes = form.next().await?;
        let is_end = bytes.is_none();
        full.extend_from_slice(&bytes.unwrap_or_default());
        if length.saturating_add(full.len()) > LARGEST_BYTES {
            return Err(Refusal::TooLarge);
        }
        if full.len() >= WRITE_BYTES || (is_end && !full.is_empty()) {
            let piece = full.split().freeze();
            hash.update(&piece);
            let at = length;
            length = length.saturating_add(piece.len());
            transfer.spool.write(&routes.threads, &routes.spools, at, piece).await?;
        }
        if is_end {
            break;
        }
    }
    (transfer.hash, transfer.length) = (hash, length);
    transfer.pieces += 1;
    Ok(())
}

async fn store(routes: &BlobRoutes, transfer: &mut Transfer, ttl: Option<u64>) -> Result<Identifier, Refusal> {
    if transfer.length == 0 {
        return Err(Refusal::Empty);
    }
    let _memory = routes.storing.acquire_many(kib(transfer.length)).await.map_err(|_| Refusal::Busy)?;
    let draft = transfer.spool.read(&routes.threads, transfer.length).await?;
    let id = Identifier::from_sha1(transfer.hash.clone().finalize().into());
    routes.blobs.put(&id, draft, ttl).await?;
    Ok(id)
}
