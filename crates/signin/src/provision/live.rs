//! What the servers of a deployment know of who is there: subscriptions, endpoints, publications.
//!
//! A user's part of it is read from the directory when somebody asks for it ([`Provision::loaded`]), changed here in one
//! go, and what has to outlive the endpoints is handed back to the directory before the change is acknowledged
//! ([`Provision::save`]). A user whom nobody watches and who is not there is forgotten again.

use super::presence::kept::KeptPresence;
use super::presence::presentity::{Endpoint, Presentity};
use super::server::{Caller, Notice, Provision};
use super::subscription::{Dialog, DialogId};
use crate::directory::DirectoryError;
use crate::io::{Now, Pending};
use crate::name::Aor;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Subscriptions and publications of a deployment. Servers that share users share one.
#[derive(Debug, Default)]
pub struct Live {
    state: Mutex<State>,
    /// Held while notifications are handed over, so that only one server does it at a time.
    delivering: Mutex<()>,
}

impl Live {
    /// Nothing subscribed, nothing published.
    pub fn new() -> Arc<Live> {
        Arc::new(Live::default())
    }

    /// The state. A thread that panicked with it left it whole: every change is made of complete steps.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`Live`] holds.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) dialogs: BTreeMap<DialogId, Dialog>,
    pub(super) presentities: BTreeMap<Arc<Aor>, Presentity>,
    /// Users somebody is waiting for while others are read, and how many do: they are not forgotten meanwhile, because
    /// what was read of them may be older than what is written since.
    loading: BTreeMap<Aor, usize>,
    /// When what ends: looked at by every sweep, so a sweep costs what has ended and not what there is.
    pub(super) deadlines: BTreeSet<(Duration, Deadline)>,
    pub(super) last_dialog: u64,
    /// What the directory said of changes made elsewhere when their users were last told.
    pub(super) changes_elsewhere: u64,
    /// Notifications to be delivered, in order.
    pub(super) outbox: Vec<Notice>,
}

/// Something that ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// A subscription that is not refreshed.
    Dialog(DialogId),
    /// The first publication of a user to expire.
    Publications(Arc<Aor>),
}

/// Changes of a user's presence on their way to where they are kept.
#[must_use = "a change is not durable before it was awaited"]
pub(super) struct Saving<'a> {
    aor: Aor,
    written: Pending<'a, Result<(), DirectoryError>>,
}

impl Provision {
    /// The state, with these users in it.
    pub(super) async fn loaded(
        &self,
        people: impl IntoIterator<Item = &Aor>,
    ) -> Result<MutexGuard<'_, State>, DirectoryError> {
        let (people, missing) = {
            let mut live = self.live.lock();
            let people: BTreeSet<&Aor> = people.into_iter().collect();
            let missing: Vec<Aor> =
                people.iter().filter(|aor| !live.presentities.contains_key(**aor)).map(|a| (*a).clone()).collect();
            if missing.is_empty() {
                return Ok(live);
            }
            // Also those who are here: they must not be forgotten before the rest is.
            live.begin_loading(&people);
            (people, missing)
        };
        let read = self.read_presence(&missing).await;
        let now = self.surroundings.now();
        let mut live = self.live.lock();
        live.end_loading(&people);
        match read {
            Ok(read) => {
                for (aor, kept) in missing.iter().zip(read) {
                    live.install(aor, kept, now);
                }
                Ok(live)
            }
            Err(error) => {
                people.iter().for_each(|aor| live.forget_if_idle(aor));
                Err(error)
            }
        }
    }

    async fn read_presence(&self, people: &[Aor]) -> Result<Vec<KeptPresence>, DirectoryError> {
        let mut read = Vec::with_capacity(people.len());
        for aor in people {
            read.push(self.directory.presence(aor).await?);
        }
        Ok(read)
    }

    /// Hands what changed of a user to the directory; to be called before the state is unlocked, so that the order of
    /// the writes is that of the changes. The change may be acknowledged after [`Provision::saved`].
    pub(super) fn save(&self, live: &mut State, aor: &Aor) -> Option<Saving<'_>> {
        let presentity = live.presentities.get_mut(aor)?;
        let changes = presentity.take_unsaved();
        if changes.is_empty() {
            return None;
        }
        presentity.saving += 1;
        Some(Saving { aor: aor.clone(), written: self.directory.keep_presence(aor, changes) })
    }

    /// Waits until what was handed over is durable. An error says that something is not; in memory it stays, until it
    /// is changed again or forgotten.
    pub(super) async fn saved(&self, saving: impl IntoIterator<Item = Saving<'_>>) -> Result<(), DirectoryError> {
        let mut outcome = Ok(());
        for Saving { aor, written } in saving {
            outcome = outcome.and(written.await);
            let mut live = self.live.lock();
            if let Some(presentity) = live.presentities.get_mut(&aor) {
                presentity.saving = presentity.saving.saturating_sub(1);
            }
            live.forget_if_idle(&aor);
        }
        outcome
    }

    /// Hands over every notification that waits, whoever caused it, in order. To be called after each answer,
    /// [`Provision::endpoint_gone`] and [`Provision::sweep`]. `send` must not wait.
    pub fn deliver(&self, mut send: impl FnMut(&Notice)) {
        let _in_order = self.live.delivering.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut self.live.lock().outbox);
        waiting.iter().for_each(&mut send);
    }
}

impl State {
    fn begin_loading(&mut self, people: &BTreeSet<&Aor>) {
        for aor in people {
            *self.loading.entry((*aor).clone()).or_insert(0) += 1;
        }
    }

    fn end_loading(&mut self, people: &BTreeSet<&Aor>) {
        for aor in people {
            if let Some(count) = self.loading.get_mut(*aor) {
                *count -= 1;
                if *count == 0 {
                    self.loading.remove(*aor);
                }
            }
        }
    }

    /// Takes a user in as kept, unless somebody else was faster.
    fn install(&mut self, aor: &Aor, kept: KeptPresence, now: Now) {
        if !self.presentities.contains_key(aor) {
            self.presentities.insert(Arc::new(aor.clone()), Presentity::of(aor.clone(), kept, now));
            self.note_expiry(aor);
        }
    }

    /// Notes that an endpoint asks at `server`. One that moved there from another server has left its subscriptions
    /// behind. `None`: the user was not [`loaded`](Provision::loaded).
    pub(super) fn arrive(&mut self, caller: &Caller, server: &Arc<str>) -> Option<Arc<Aor>> {
        let owner = Arc::clone(self.presentities.get_key_value(&caller.aor)?.0);
        let presentity = self.presentities.get_mut(&caller.aor)?;
        let left_behind = match presentity.endpoints.get_mut(caller.epid.as_str()) {
            Some(endpoint) if endpoint.server == *server => BTreeSet::new(),
            Some(endpoint) => {
                endpoint.server = Arc::clone(server);
                endpoint.dialogs.clone()
            }
            None => {
                presentity.endpoints.insert(caller.epid.as_str().into(), Endpoint::at(Arc::clone(server)));
                BTreeSet::new()
            }
        };
        for id in left_behind {
            self.end_dialog(id);
        }
        Some(owner)
    }

    /// Looks again when the next publication of a user expires.
    pub(super) fn note_expiry(&mut self, aor: &Aor) {
        let Some((shared, presentity)) = self.presentities.get_key_value(aor) else { return };
        let (shared, next) = (Arc::clone(shared), presentity.next_expiry());
        let Some(presentity) = self.presentities.get_mut(aor) else { return };
        let noted = std::mem::replace(&mut presentity.noted_expiry, next);
        if noted != next {
            if let Some(at) = noted {
                self.deadlines.remove(&(at, Deadline::Publications(Arc::clone(&shared))));
            }
            if let Some(at) = next {
                self.deadlines.insert((at, Deadline::Publications(shared)));
            }
        }
    }

    /// Takes out what has ended by now.
    pub(super) fn take_ended(&mut self, now: Duration) -> Vec<Deadline> {
        let mut ended = Vec::new();
        while let Some((at, _)) = self.deadlines.first()
            && *at <= now
        {
            ended.extend(self.deadlines.pop_first().map(|(_, deadline)| deadline));
        }
        ended
    }

    /// Drops the record of a user who is not there and whom nobody watches: what is kept can be read again.
    pub(super) fn forget_if_idle(&mut self, aor: &Aor) {
        if self.loading.contains_key(aor) || !self.presentities.get(aor).is_some_and(Presentity::is_idle) {
            return;
        }
        if let Some((shared, presentity)) = self.presentities.remove_entry(aor)
            && let Some(at) = presentity.noted_expiry
        {
            self.deadlines.remove(&(at, Deadline::Publications(shared)));
        }
    }
}
