//! What of the settings may change while the server runs.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use super::places::Places;
use crate::config::{Limits, Secret};

/// Settings that a reload replaces. Connections that are open keep the times and the size of heads that they began with; all
/// else holds for the next request.
#[derive(Debug)]
pub struct Live {
    limits: ArcSwap<Limits>,
    metrics_token: ArcSwapOption<Secret>,
    places: Arc<Places>,
}

impl Live {
    pub(super) fn new(limits: Limits, metrics_token: Option<Secret>) -> Live {
        Live {
            places: Places::new(limits.http_connections),
            limits: ArcSwap::from_pointee(limits),
            metrics_token: ArcSwapOption::from_pointee(metrics_token),
        }
    }

    /// Changes limits and times. No connection ends because there may be fewer of them now.
    pub fn set_limits(&self, limits: Limits) {
        self.places.set_limit(limits.http_connections);
        self.limits.store(Arc::new(limits));
    }

    /// Changes the token that opens `/metrics`.
    pub fn set_metrics_token(&self, token: Option<Secret>) {
        self.metrics_token.store(token.map(Arc::new));
    }

    pub(super) fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    pub(super) fn metrics_token(&self) -> Guard<Option<Arc<Secret>>> {
        self.metrics_token.load()
    }

    pub(super) fn places(&self) -> &Arc<Places> {
        &self.places
    }
}
