//! The sessions by their ids.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Semaphore;

use super::{
    error::Error,
    peer::Link,
    request::{Listed, Request, count},
    session::{Attached, Command, Ended, Session, Surroundings},
};

/// The session of one id. Locked while it starts, so that two clients who want it at once get the same one.
type Slot = Arc<tokio::sync::Mutex<Option<Session>>>;

/// All sessions.
pub(super) struct Registry {
    surroundings: Arc<Surroundings>,
    slots: Mutex<HashMap<String, Slot>>,
    permits: Arc<Semaphore>,
}

impl Registry {
    pub(super) fn new(surroundings: Arc<Surroundings>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(surroundings.limits.sessions));
        Arc::new(Registry { surroundings, slots: Mutex::new(HashMap::new()), permits })
    }

    /// What all sessions share.
    pub(super) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// How many sessions run now.
    pub(super) fn running(&self) -> usize {
        self.surroundings.limits.sessions.saturating_sub(self.permits.available_permits())
    }

    /// Attaches a socket to the session of a `spawn` request, which is started if it doesn't run.
    pub(super) async fn spawn(self: &Arc<Self>, request: Request, link: Link) -> Result<(Session, Attached), Error> {
        let options = request.options.as_ref();
        let limit = options.and_then(|options| options.history_limit).map_or(usize::MAX, count);
        let Some(id) = options.and_then(|options| options.id.clone()) else {
            return self.start(request, link, limit).await;
        };
        let slot = self.slots().entry(id.clone()).or_default().clone();
        let mut session = slot.lock().await;
        if let Some(running) = session.as_ref()
            && let Ok(attached) = running.attach(link.clone(), limit).await
        {
            return Ok((running.clone(), attached?));
        }
        let result = self.start(request, link, limit).await;
        *session = result.as_ref().ok().map(|(session, _)| session.clone());
        drop(session);
        match &result {
            Ok((session, _)) => {
                let (registry, session) = (self.clone(), session.clone());
                self.surroundings.tasks.spawn(async move {
                    session.ended().await;
                    registry.tidy(&id, slot);
                });
            }
            Err(_) => self.tidy(&id, slot),
        }
        result
    }

    async fn start(&self, request: Request, link: Link, limit: usize) -> Result<(Session, Attached), Error> {
        if self.surroundings.shutdown.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        let permit = self.permits.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Error::TooManySessions(self.surroundings.limits.sessions))?;
        let session = Session::start(request, self.surroundings.clone(), permit).await?;
        match session.attach(link, limit).await {
            Ok(attached) => Ok((session, attached?)),
            Err(Ended) => Err(Error::ShuttingDown),
        }
    }

    /// Forgets an id whose session has ended, unless somebody is about to start it again.
    fn tidy(&self, id: &str, slot: Slot) {
        let mut slots = self.slots();
        let over = slot.try_lock().is_ok_and(|session| session.as_ref().is_none_or(Session::has_ended));
        // Ours and the map's; everyone else gets theirs under the lock that we hold.
        if over && Arc::strong_count(&slot) == 2 && slots.get(id).is_some_and(|other| Arc::ptr_eq(other, &slot)) {
            slots.remove(id);
        }
    }

    /// The session of an id, if it runs.
    pub(super) async fn get(&self, id: &str) -> Option<Session> {
        let slot = self.slots().get(id).cloned()?;
        let session = slot.lock().await.clone();
        session.filter(|session| !session.has_ended())
    }

    /// All sessions that have an id, in order.
    pub(super) async fn list(&self) -> Vec<Listed> {
        let slots: Vec<Slot> = self.slots().values().cloned().collect();
        let mut list = Vec::new();
        for slot in slots {
            let session = slot.lock().await.clone();
            if let Some(session) = session
                && let Ok(listed) = session.ask(Command::Describe).await
            {
                list.push(listed);
            }
        }
        list.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        list
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
