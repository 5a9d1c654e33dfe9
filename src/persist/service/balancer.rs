//! Which server serves a scope (conat-persist.md §2.4).

use std::{sync::Arc, time::Duration};

use super::Shared;
use crate::bus::{self, Subscription};

/// Pause after the subscription was lost.
const PAUSE: Duration = Duration::from_secs(3);

/// The 32-bit hash by which scopes are spread.
pub fn hash(scope: &str) -> i32 {
    scope.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The server for a scope, of several.
pub fn choose<'a>(ids: &[&'a str], scope: &str) -> Option<&'a str> {
    let index = hash(scope).unsigned_abs() as usize % ids.len().max(1);
    ids.get(index).copied()
}

/// Subscribes; clients find the balancer when this returns.
pub(super) async fn listen(shared: &Shared) -> bus::Result<Subscription> {
    shared.client.subscribe(&format!("{}.*.id", shared.options.name)).await
}

/// Answers until the service ends.
pub(super) async fn serve(shared: Arc<Shared>, mut asked: Subscription) {
    loop {
        match answer(&shared, &mut asked).await {
            None => return,
            Some(error) => tracing::warn!(%error, "the balancer lost its subscription"),
        }
        asked = loop {
            if shared.until.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                return;
            }
            match listen(&shared).await {
                Ok(again) => break again,
                Err(bus::Error::Closed) => return,
                Err(error) => tracing::debug!(%error, "the balancer can't subscribe"),
            }
        };
    }
}

/// Answers as long as the subscription lasts; gives why it ended before the service did.
async fn answer(shared: &Shared, asked: &mut Subscription) -> Option<bus::Error> {
    let ids = [shared.options.server_id.as_str()];
    loop {
        let message = match shared.until.run_until_cancelled(asked.recv()).await? {
            Ok(message) => message,
            Err(error) => return Some(error),
        };
        let scope = message.subject().split('.').nth(1).unwrap_or_default();
        if let Some(id) = choose(&ids, scope)
            && let Err(error) = message.respond_sync(id)
        {
            tracing::debug!(%error, "the balancer's answer is lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persist_005_the_hash_gives_the_numbers_of_the_specification() {
        for (scope, expected) in [
            ("hub", 103_669),
            ("project-00000000-0000-4000-8000-000000000000", 1_786_132_728),
            ("account-00000000-0000-4000-8000-000000000001", 185_767_525),
            ("host-00000000-0000-4000-8000-000000000002", -1_258_468_405),
        ] {
            assert_eq!(hash(scope), expected, "{scope}");
        }
    }

    #[test]
    fn persist_005_a_scope_has_the_server_at_its_hash() {
        let ids = ["0", "1", "2"];
        assert_eq!(choose(&ids, "hub"), Some("1"));
        assert_eq!(choose(&ids, "host-00000000-0000-4000-8000-000000000002"), Some("1"));
        assert_eq!(choose(&["0"], "anything"), Some("0"));
        assert_eq!(choose(&[], "hub"), None);
    }
}
