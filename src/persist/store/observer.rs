//! Whoever wants to know which streams change.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

use super::Stream;

/// Hears of the life of streams that are kept on the disk.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A stream is about to be opened, and nobody has it yet. Its limits were not yet enforced.
    fn opening<'a>(&'a self, stream: &'a Stream) -> BoxFuture<'a, ()>;

    /// A change was committed. Called by the writer: must not wait.
    fn changed(&self, path: &Arc<str>);

    /// Nobody has had the stream open for a while. Called by the writer: must not wait.
    fn released(&self, path: &Arc<str>);
}
