//! `GET /<project_id>/files/<path>` (hub.md §6.1).

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Body,
    extract::{Request, State},
};
use http::{HeaderValue, Response, header::CACHE_CONTROL};
use percent_encoding::percent_decode_str;

use super::{Files, Refusal, folder};
use crate::{
    http::{
        disposition,
        page::{encoding::Coding, mime},
        query, reply,
        send::{self, Answer, Representation},
        stream,
    },
    project::files::Opened,
};

/// Files change: ask each time.
const CACHE: &str = "private, no-cache";

pub(super) async fn download(State(files): State<Arc<Files>>, request: Request) -> Response<Body> {
    answer(&files, request).await.unwrap_or_else(|refusal| refusal.response())
}

async fn answer(files: &Arc<Files>, request: Request) -> Result<Response<Body>, Refusal> {
    let (head, _) = request.into_parts();
    files.check_server(&head.uri, "id")?;
    let Some(path) = path(head.uri.path(), &files.project_id) else { return Ok(reply::not_found()) };
    let name = path.file_name().map_or_else(|| OsString::from("home"), OsStr::to_owned);
    let home = files.home.clone();
    let (file, metadata) = match files.threads.run(move || home.open(&path)).await? {
        Opened::File(file, metadata) => (file, metadata),
        Opened::Folder(folder) => return folder::archive(files, &head.method, folder, &name),
    };
    let name = name.to_string_lossy();
    let length = metadata.len();
    let modified = metadata.modified().ok();
    let about = Representation {
        mime: mime::of(&name),
        cache: CACHE,
        etag: format!("W/\"{length:x}-{:x}\"", nanos(modified)),
        modified,
        coding: Coding::Identity,
        varies: false,
        length,
    };
    let body = |start, length| stream::file(files.threads.clone(), file, start, length, ());
    let mut response = match send::decide(&head, &about) {
        Answer::Whole(builder) => send::finish(builder, body(0, length)),
        Answer::Part(builder, (start, end)) => send::finish(builder, body(start, end.saturating_sub(start) + 1)),
        Answer::Done(response) => response,
    };
    disposition::mark_file(response.headers_mut(), about.mime, &name, query::has(&head.uri, "download"));
    Ok(response)
}

/// The path of a file, decoded as a whole. Names need not be UTF-8. `None`: nothing can have it.
fn path(target: &str, project_id: &str) -> Option<PathBuf> {
    let rest = target.strip_prefix('/')?.strip_prefix(project_id)?.strip_prefix("/files")?;
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let bytes: Vec<u8> = percent_decode_str(rest).collect();
    (!bytes.contains(&0)).then(|| PathBuf::from(OsString::from_vec(bytes)))
}

fn nanos(time: Option<SystemTime>) -> u128 {
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_nanos())
}

/// The headers that all downloads have.
pub(super) fn uncached(response: &mut Response<Body>) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(CACHE));
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn paths_are_decoded_once_and_as_bytes() {
        let decoded = |target| path(target, "p").map(|path| path.as_os_str().as_bytes().to_vec());
        assert_eq!(decoded("/p/files/a%20b/%23%3F%25.txt").unwrap(), b"a b/#?%.txt");
        assert_eq!(decoded("/p/files/%2525").unwrap(), b"%25");
        assert_eq!(decoded("/p/files/%ff").unwrap(), b"\xff");
        assert_eq!(decoded("/p/files/x/files/y").unwrap(), b"x/files/y");
        assert_eq!(decoded("/p/files/").unwrap(), b"");
        assert_eq!(decoded("/p/files").unwrap(), b"");
        assert_eq!(decoded("/p/files/%00"), None);
        assert_eq!(decoded("/q/files/x"), None);
    }
}
