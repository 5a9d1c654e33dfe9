//! What unit tests of this floor share.

use std::sync::Arc;

use crate::{
    broker::{self, Broker, policy::Open, sign_in::Anonymous},
    config::Limits,
};

/// A broker that allows everything to everybody.
pub(crate) fn broker() -> Arc<Broker> {
    Broker::new(broker::Options {
        server_id: "0".into(),
        cluster_name: None,
        address: "http://localhost:5000".into(),
        limits: Limits::default(),
        authenticator: Arc::new(Anonymous),
        policy: Arc::new(Open),
    })
}
