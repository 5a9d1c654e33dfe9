//! `POST /upload` (hub.md §6.2): a file, whole or piece by piece.
//!
//! Pieces come strictly in order. One that was taken already is taken again without being written, so a client that did
//! not hear the answer may repeat it, and `GET /upload?dzuuid=…` tells where to go on.

use std::{
    ffi::{OsStr, OsString},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::{Request, State},
};
use bytes::BytesMut;
use http::{Response, StatusCode, Uri, request::Parts};

use super::{Files, Refusal};
use crate::{
    http::{
        form::{Form, Piece, Source},
        query, reply,
    },
    project::files::{Error, Partial},
};

/// How much is written at once.
const WRITE_BYTES: usize = 256 << 10;

/// An upload in several requests.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Folder and name of the file.
    target: (PathBuf, OsString),
    total: u64,
    /// Pieces that are written.
    pieces: u64,
    /// Their bytes.
    length: u64,
    /// `None` before the first piece and after the last.
    partial: Option<Partial>,
}

pub(super) async fn upload(State(files): State<Arc<Files>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let source = Source::new(body);
    match accept(&files, &head, source.clone()).await {
        Ok(()) => reply::json(StatusCode::OK, r#"{"status":"ok"}"#),
        Err(refusal) => {
            source.drain().await;
            refusal.response()
        }
    }
}

/// How far an upload has come.
pub(super) async fn progress(State(files): State<Arc<Files>>, request: Request) -> Response<Body> {
    let find = |name: String| files.transfers.get(&name).or_else(|| files.finished.get(&name));
    let transfer = query::get(request.uri(), "dzuuid").and_then(find);
    let Some(transfer) = transfer else { return reply::not_found() };
    let transfer = transfer.lock().await;
    let done = transfer.pieces == transfer.total;
    let progress = serde_json::json!({
        "chunks": transfer.pieces, "total": transfer.total, "bytes": transfer.length, "done": done,
    });
    reply::dynamic_json(request.headers(), progress.to_string().into())
}

async fn accept(files: &Files, head: &Parts, source: Source) -> Result<(), Refusal> {
    if query::get(&head.uri, "project_id").is_some_and(|id| !id.is_empty() && id != files.project_id) {
        return Err(Refusal::UnknownProject);
    }
    files.check_server(&head.uri, "compute_server_id")?;
    let _slot = files.slots.try_acquire().map_err(|_| Refusal::Busy)?;
    let mut form = Form::open(head, source).await?;
    let target = target(&head.uri, form.full_path.as_deref(), form.file_name.as_deref())?;
    match form.piece.take() {
        None => whole(files, &mut form, target).await,
        Some(piece) => part(files, &mut form, target, piece).await,
    }
}

/// Where the file goes: folder and name.
fn target(uri: &Uri, full_path: Option<&str>, file_name: Option<&str>) -> Result<(PathBuf, OsString), Error> {
    let folder = PathBuf::from(query::get(uri, "path").unwrap_or_default());
    let Some(full_path) = full_path else {
        return Ok((folder, file_name.map(OsString::from).ok_or(Error::BadPath)?));
    };
    // It is relative, and goes down.
    let down = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !Path::new(full_path).components().all(down) {
        return Err(Error::Outside);
    }
    let path = folder.join(full_path);
    let name = path.file_name().map(OsStr::to_owned).ok_or(Error::BadPath)?;
    Ok((path.parent().map(Path::to_owned).unwrap_or_default(), name))
}

async fn whole(files: &Files, form: &mut Form, target: (PathBuf, OsString)) -> Result<(), Refusal> {
    let partial = begin(files, target).await?;
    let length = write(files, form, &partial, 0).await?;
    Ok(files.threads.run(move || partial.commit(length)).await?)
}

async fn begin(files: &Files, (folder, name): (PathBuf, OsString)) -> Result<Partial, Error> {
    let (home, partials) = (files.home.clone(), files.partials.clone());
    files.threads.run(move || partials.begin(&home, &folder, &name)).await
}

/// Writes the file of a form at some place; gives the place of its end.
async fn write(files: &Files, form: &mut Form, partial: &Partial, start: u64) -> Result<u64, Refusal> {
    let mut at = start;
    let mut full = BytesMut::new();
    loop {
        let bytes = form.next().await?;
        let is_end = bytes.is_none();
        full.extend_from_slice(&bytes.unwrap_or_default());
        if full.len() >= WRITE_BYTES || (is_end && !full.is_empty()) {
            let (writer, piece) = (partial.writer(), full.split().freeze());
            let size = piece.len() as u64;
            files.threads.run(move || writer(&piece, at)).await?;
            at = at.saturating_add(size);
        }
        if is_end {
            return Ok(at);
        }
    }
}

async fn part(
    files: &Files,
    form: &mut Form,
    target: (PathBuf, OsString),
    Piece { transfer: name, index, total, offset }: Piece,
) -> Result<(), Refusal> {
    let start = || Transfer { target: target.clone(), total, pieces: 0, length: 0, partial: None };
    let known = if index == 0 {
        files.transfers.get_or_begin(&name, start).ok_or(Refusal::Busy)?
    } else {
        let known = files.transfers.get(&name).or_else(|| files.finished.get(&name));
        known.ok_or(Refusal::OutOfOrder { got: index, wanted: 0 })?
    };
    let mut transfer = known.lock().await;
    if transfer.target != target || transfer.total != total {
        return Err(Refusal::Mixed);
    }
    if index < transfer.pieces {
        form.skip().await;
        return Ok(());
    }
    if index > transfer.pieces || offset.is_some_and(|offset| offset != transfer.length) {
        return Err(Refusal::OutOfOrder { got: index, wanted: transfer.pieces });
    }
    let result = append(files, form, &mut transfer).await;
    if let Err(Refusal::File(_)) = &result {
        // Neither this nor the next piece can help.
        transfer.partial = None;
        files.transfers.remove(&name);
    } else if transfer.pieces == total {
        files.transfers.remove(&name);
        let finished = || Transfer { target, total, pieces: total, length: transfer.length, partial: None };
        files.finished.get_or_begin(&name, finished);
    } else {
        // A slow piece is no silence.
        files.transfers.get(&name);
    }
    result
}

async fn append(files: &Files, form: &mut Form, transfer: &mut Transfer) -> Result<(), Refusal> {
    if transfer.partial.is_none() {
        transfer.partial = Some(begin(files, transfer.target.clone()).await?);
    }
    let Some(partial) = &transfer.partial else { return Err(Error::NotFound.into()) };
    // Where it broke off, an earlier attempt at this piece is written over.
    let length = write(files, form, partial, transfer.length).await?;
    transfer.length = length;
    transfer.pieces += 1;
    if transfer.pieces == transfer.total
        && let Some(partial) = transfer.partial.take()
    {
        files.threads.run(move || partial.commit(length)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(query: &'static str, full_path: Option<&str>, name: &str) -> Result<String, Error> {
        let (folder, name) = target(&Uri::from_static(query), full_path, Some(name))?;
        Ok(folder.join(name).to_str().unwrap().to_owned())
    }

    #[test]
    fn the_full_path_wins_over_the_name() {
        assert_eq!(at("/upload?path=data%2Fraw", None, "run 7.csv").unwrap(), "data/raw/run 7.csv");
        assert_eq!(at("/upload?path=data", Some("a/b/x.csv"), "x.csv").unwrap(), "data/a/b/x.csv");
        assert_eq!(at("/upload", Some("x.csv"), "y").unwrap(), "x.csv");
        assert_eq!(at("/upload?path=.smc%2Froot%2Ftmp", None, "x").unwrap(), ".smc/root/tmp/x");
    }

    #[test]
    fn a_full_path_goes_down_only() {
        for path in ["../x", "a/../../x", "a/..", "/etc/x", ".."] {
            assert!(matches!(at("/upload", Some(path), "x"), Err(Error::Outside)), "{path}");
        }
        assert!(matches!(at("/upload", Some("."), "x"), Err(Error::BadPath)));
    }
}
