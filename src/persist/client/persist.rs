//! What opens streams and stores.

use std::sync::Arc;

use super::{
    AStream, Akv, Connection, CoreStream, DStream, Dko, Dkv, DkvOptions, Options, Owner, Result, Storage,
    StreamOptions, locator::Locator,
};
use crate::bus::Client;

/// The client of a persist service. Cloning it makes another handle.
#[derive(Clone, Debug)]
pub struct Persist {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub client: Client,
    pub options: Options,
    pub locator: Locator,
}

impl Persist {
    /// A client of the usual service.
    pub fn new(client: &Client) -> Persist {
        Persist::with(client, Options::default())
    }

    /// A client with settings.
    pub fn with(client: &Client, options: Options) -> Persist {
        let inner = Inner { client: client.clone(), options, locator: Locator::default() };
        Persist { inner: Arc::new(inner) }
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// The client of the bus.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// A connection to a stream, which is made in the background.
    ///
    /// # Errors
    /// The owner does not own such a path.
    pub fn connection(&self, owner: &Owner, name: &str, storage: Storage) -> Result<Connection> {
        Connection::open(self, owner, name, storage)
    }

    /// A copy of a stream. Returns when it is loaded, however long the server is away.
    ///
    /// # Errors
    /// The path may not be opened, there are too many sockets, or the stream is too large.
    pub async fn stream(&self, owner: &Owner, name: &str, options: StreamOptions) -> Result<CoreStream> {
        CoreStream::open(self, owner, name, options).await
    }

    /// A stream to append to.
    ///
    /// # Errors
    /// See [`Persist::stream`].
    pub async fn dstream(&self, owner: &Owner, name: &str, options: StreamOptions) -> Result<DStream> {
        DStream::open(self, owner, name, options).await
    }

    /// A key-value store.
    ///
    /// # Errors
    /// See [`Persist::stream`].
    pub async fn dkv(&self, owner: &Owner, name: &str, options: DkvOptions) -> Result<Dkv> {
        Dkv::open(self, owner, name, options).await
    }

    /// A store of objects.
    ///
    /// # Errors
    /// See [`Persist::stream`].
    pub async fn dko(&self, owner: &Owner, name: &str, options: DkvOptions) -> Result<Dko> {
        Dko::open(self, owner, name, options).await
    }

    /// A key-value store without a copy.
    ///
    /// # Errors
    /// The owner does not own such a path.
    pub fn akv(&self, owner: &Owner, name: &str, storage: Storage) -> Result<Akv> {
        Ok(Akv::new(self.connection(owner, name, storage)?))
    }

    /// A stream without a copy.
    ///
    /// # Errors
    /// The owner does not own such a path.
    pub fn astream(&self, owner: &Owner, name: &str, storage: Storage) -> Result<AStream> {
        Ok(AStream::new(self.connection(owner, name, storage)?))
    }
}
