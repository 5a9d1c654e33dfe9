//! Blobs that were asked for lately.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Identifier;

/// How long a blob is believed to be there: it may have a time to live, and others may delete it.
const BELIEVED: Duration = Duration::from_secs(1);
/// Bytes that are kept.
const KEPT_BYTES: usize = 8 << 20;
/// Larger blobs are not kept.
const LARGEST_BYTES: usize = 512 << 10;

/// Blobs in memory.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    blobs: HashMap<Identifier, (Bytes, Instant)>,
    bytes: usize,
}

impl Recent {
    pub(super) fn get(&self, id: &Identifier) -> Option<Bytes> {
        let mut kept = self.0.lock();
        let (content, read) = kept.blobs.get(id)?;
        if read.elapsed() < BELIEVED {
            return Some(content.clone());
        }
        kept.remove(id);
        None
    }

    /// `read` is when it was begun to be read, so that nothing is believed for longer.
    pub(super) fn put(&self, id: &Identifier, content: &Bytes, read: Instant) {
        if content.len() > LARGEST_BYTES {
            return;
        }
        let mut kept = self.0.lock();
        kept.remove(id);
        if kept.bytes + content.len() > KEPT_BYTES {
            kept.blobs.retain(|_, (_, read)| read.elapsed() < BELIEVED);
            kept.bytes = kept.blobs.values().map(|(content, _)| content.len()).sum();
        }
        // So much that is still believed was read within a second: memory is not what it would need.
        if kept.bytes + content.len() <= KEPT_BYTES {
            kept.bytes += content.len();
            kept.blobs.insert(id.clone(), (content.clone(), read));
        }
    }

    pub(super) fn remove(&self, id: &Identifier) {
        self.0.lock().remove(id);
    }
}

impl Kept {
    fn remove(&mut self, id: &Identifier) {
        if let Some((content, _)) = self.blobs.remove(id) {
            self.bytes -= content.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(byte: u8, size: usize) -> (Identifier, Bytes) {
        let content = Bytes::from(vec![byte; size]);
        (Identifier::of(&content), content)
    }

    #[tokio::test(start_paused = true)]
    async fn blobs_are_believed_for_a_moment() {
        let recent = Recent::default();
        let (id, content) = blob(1, 100);
        recent.put(&id, &content, Instant::now());
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(recent.get(&id), Some(content.clone()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(recent.get(&id), None);
        assert_eq!(recent.0.lock().bytes, 0);
        recent.put(&id, &content, Instant::now());
        recent.remove(&id);
        assert_eq!(recent.get(&id), None);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let recent = Recent::default();
        let (large, content) = blob(0, LARGEST_BYTES + 1);
        recent.put(&large, &content, Instant::now());
        assert_eq!(recent.get(&large), None);
        for byte in 0..100 {
            let (id, content) = blob(byte, LARGEST_BYTES);
            recent.put(&id, &content, Instant::now());
            recent.put(&id, &content, Instant::now());
        }
        assert_eq!(recent.0.lock().bytes, KEPT_BYTES);
        tokio::time::advance(BELIEVED).await;
        let (id, content) = blob(200, LARGEST_BYTES);
        recent.put(&id, &content, Instant::now());
        assert_eq!(recent.get(&id), Some(content));
        assert_eq!(recent.0.lock().bytes, LARGEST_BYTES);
    }
}
