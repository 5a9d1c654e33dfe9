//! The configuration document of `GET /customize`, made from the hub's settings.

use bytes::Bytes;

use crate::{
    config::Identity,
    http::Customize,
    hub::settings::{Live, customize},
};

/// Makes the document from the settings of the moment.
pub(super) struct Configuration {
    pub(super) settings: Live,
    pub(super) identity: Identity,
}

impl Customize for Configuration {
    fn document(&self) -> Bytes {
        customize::document(&self.settings.get(), &self.identity).to_string().into()
    }
}
